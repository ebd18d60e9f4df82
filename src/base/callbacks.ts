// The caller's functions, called in the middle of this library's own work.

import { queueMicrotask } from "./timers.ts";

/** Throw in a microtask, outside of this library's calls: an uncaught exception of the process. */
export function throwAlone(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}

/**
 * Call one. What it throws becomes an uncaught exception of the process, as from an event listener.
 * False if it threw.
 */
export function callAlone(callback: () => unknown): boolean {
  try {
    callback();
    return true;
  } catch (error) {
    throwAlone(error);
    return false;
  }
}

/** What was thrown, as text: `String` fails for some values. */
export function textOf(thrown: unknown): string {
  try {
    return String(thrown);
  } catch {
    return typeof thrown;
  }
}

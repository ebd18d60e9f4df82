// Functions of the caller's that are called in the middle of something of ours.

/** Throw where nothing of ours is around it: an uncaught exception of the process. */
export function throwAlone(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}

/**
 * Call one. What it throws is nobody's to catch here: it is an uncaught exception of the process,
 * as from a listener of an event. False where it threw.
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

/** Whatever was thrown, as text: not everything that can be thrown becomes text by itself. */
export function textOf(thrown: unknown): string {
  try {
    return String(thrown);
  } catch {
    return typeof thrown;
  }
}

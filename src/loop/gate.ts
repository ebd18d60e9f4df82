// What is known at once is told at once, within a budget: now and then Bun's loop gets its turn
// first. Calls made meanwhile are told after that, values, errors and the end alike: outcomes come
// in the order of the calls.

import { queueMicrotask, setImmediate } from "../base/timers.ts";
import { overdue, turnBegins } from "./turn.ts";

/** Tries that succeed at once, in a row, before the clock is looked at. */
const SYNC_BUDGET = 128;
let budget = SYNC_BUDGET;

function turnIsOver(): boolean {
  budget = SYNC_BUDGET;
  return overdue();
}

const NOTHING = Promise.resolve();

/** Opens when Bun's loop has had its turn; null while it is open. */
let gate: Promise<void> | null = null;

/** A promise of what is known already. */
export function settled<T>(value: T): Promise<T> {
  if (gate === null && (--budget > 0 || !turnIsOver())) {
    return value === undefined ? (NOTHING as Promise<T>) : Promise.resolve(value);
  }
  gate ??= new Promise((open) => {
    setImmediate(() => {
      gate = null;
      turnBegins();
      open();
    });
  });
  return gate.then(() => value);
}

/** The same of an error: behind the values that wait at the gate. */
export function rejected(reason: unknown): Promise<never> {
  if (gate === null) return Promise.reject(reason);
  return gate.then(() => {
    throw reason;
  });
}

/** Tell an outcome: now, or after those that wait at the gate. */
export function inOrder<T>(tell: (what: T) => void, what: T): void {
  if (gate === null) tell(what);
  else void gate.then(() => tell(what));
}

/** Whether outcomes wait at the gate; if so `then` is called when they have been told. */
export function behindGate(then: () => void): boolean {
  if (gate === null) return false;
  void gate.then(() => queueMicrotask(then)); // what they are told is a microtask
  return true;
}

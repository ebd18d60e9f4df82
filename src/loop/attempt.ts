// The one way to wait: try; if it would block, wait until the kernel says otherwise; try again.

import type { Direction, Outcome, Waiter, Watch } from "./poller.ts";
import { overdue, turnBegins } from "./turn.ts";

/** Something that can be tried until it works. */
export interface Operation<T> {
  /** One try. undefined: would block. An error ends the operation. */
  once(): T | undefined;
  /** Called once, when it has ended in whatever way: let go of what it held. */
  done?(): void;
  /**
   * The caller gives up. True: part of it is out already, so `once` goes on being called until
   * the rest is out too, although the caller has been told.
   */
  committed?(): boolean;
}

export interface Wait {
  readonly watch: Watch;
  readonly direction: Direction;
  readonly signal?: AbortSignal | undefined;
}

/** Tries that succeed at once, in a row, before the clock is looked at. */
const SPREE = 128;
let left = SPREE;

function turnIsOver(): boolean {
  left = SPREE;
  return overdue();
}

/** Do `operation`; whoever already waits in its direction goes first. */
export function attempt<T>(wait: Wait, operation: Operation<T>): Promise<T> {
  const { watch, direction, signal } = wait;
  if (signal?.aborted === true) return failed(operation, signal.reason);
  const reading = direction === "read";
  const first = (reading ? watch.readers : watch.writers).length === 0;
  if (first && (reading ? watch.readable : watch.writable)) {
    try {
      const value = operation.once();
      if (value !== undefined) {
        operation.done?.();
        return settled(value);
      }
    } catch (error) {
      return failed(operation, error);
    }
    if (signal?.aborted) return failed(operation, signal.reason); // from inside `once`
    noteBlocked(watch, direction);
  }
  return new Promise((resolve, reject) => new Pending(wait, { operation, resolve, reject }));
}

function noteBlocked(watch: Watch, direction: Direction): void {
  if (direction === "read") watch.readable = false;
  else watch.writable = false;
}

function failed<T>(operation: Operation<T>, reason: unknown): Promise<T> {
  operation.done?.();
  return Promise.reject(reason);
}

const NOTHING = Promise.resolve();

/** Opens when Bun's loop has had its turn; who comes meanwhile waits too, so that order is kept. */
let gate: Promise<void> | null = null;

/** A promise of what is known already; now and then Bun's loop gets its turn before it. */
export function settled<T>(value: T): Promise<T> {
  if (gate === null && (--left > 0 || !turnIsOver())) {
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

interface Caller<T> {
  readonly operation: Operation<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (reason: unknown) => void;
}

class Pending<T> implements Waiter {
  readonly #wait: Wait;
  readonly #caller: Caller<T>;
  #onAbort: (() => void) | null = null;
  /** `once` is at it; an abort from inside it must not lose what it gets. */
  #trying = false;
  #aborted = false;

  constructor(wait: Wait, caller: Caller<T>) {
    this.#wait = wait;
    this.#caller = caller;
    try {
      wait.watch.wait(wait.direction, this);
    } catch (error) {
      this.stop(error);
      return;
    }
    if (wait.signal !== undefined) this.#listen(wait.signal);
  }

  #listen(signal: AbortSignal): void {
    this.#onAbort = () => this.#abort(signal.reason);
    signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  run(): Outcome {
    const { operation, resolve } = this.#caller;
    this.#trying = true;
    try {
      const value = operation.once();
      if (value === undefined) {
        if (this.#aborted) throw this.#wait.signal?.reason;
        this.#trying = false;
        noteBlocked(this.#wait.watch, this.#wait.direction);
        return "nothing";
      }
      this.#finish();
      if (gate === null) resolve(value);
      else gate.then(() => resolve(value)); // those at the gate were first
    } catch (error) {
      this.stop(error);
    }
    return "done";
  }

  stop(reason: unknown): void {
    this.#finish();
    this.#caller.reject(reason);
  }

  #finish(): void {
    if (this.#onAbort !== null) this.#wait.signal?.removeEventListener("abort", this.#onAbort);
    this.#caller.operation.done?.();
  }

  #abort(reason: unknown): void {
    const { operation, reject } = this.#caller;
    this.#aborted = this.#trying;
    if (this.#trying) return;
    if (operation.committed?.() !== true) {
      this.#wait.watch.leave(this);
      operation.done?.();
    }
    reject(reason);
  }
}

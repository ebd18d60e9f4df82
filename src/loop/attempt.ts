// The one way to wait: try; if it would block, wait until the kernel says otherwise; try again.

import type { Direction, Waiter, Watch } from "./poller.ts";

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

/** Tries that succeed at once, in a row, before the rest of Bun's loop gets its turn. */
const SPREE = 128;
let left = SPREE;

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
    noteBlocked(watch, direction);
  }
  return new Promise((resolve, reject) => new Pending({ ...wait, operation, resolve, reject }));
}

function noteBlocked(watch: Watch, direction: Direction): void {
  if (direction === "read") watch.readable = false;
  else watch.writable = false;
}

function failed<T>(operation: Operation<T>, reason: unknown): Promise<T> {
  operation.done?.();
  return Promise.reject(reason);
}

/** A promise of what is known already; now and then Bun's loop gets its turn before it. */
export function settled<T>(value: T): Promise<T> {
  if (--left > 0) return Promise.resolve(value);
  return new Promise((resolve) => {
    setImmediate(() => {
      left = SPREE;
      resolve(value);
    });
  });
}

interface Start<T> extends Wait {
  readonly operation: Operation<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (reason: unknown) => void;
}

class Pending<T> implements Waiter {
  readonly #start: Start<T>;
  #told = false;

  constructor(start: Start<T>) {
    this.#start = start;
    try {
      start.watch.wait(start.direction, this);
    } catch (error) {
      this.stop(error);
      return;
    }
    start.signal?.addEventListener("abort", this.#abort, { once: true });
  }

  run(): boolean {
    const { operation, watch, direction } = this.#start;
    try {
      const value = operation.once();
      if (value === undefined) {
        noteBlocked(watch, direction);
        return false;
      }
      this.#finish();
      this.#start.resolve(value);
    } catch (error) {
      this.stop(error);
    }
    return true;
  }

  stop(reason: unknown): void {
    this.#finish();
    this.#start.reject(reason);
  }

  #finish(): void {
    this.#start.signal?.removeEventListener("abort", this.#abort);
    this.#start.operation.done?.();
  }

  readonly #abort = (): void => {
    const { operation, watch, signal, reject } = this.#start;
    if (this.#told) return;
    this.#told = true;
    if (operation.committed?.() !== true) {
      watch.leave(this);
      operation.done?.();
    }
    reject(signal?.reason);
  };
}

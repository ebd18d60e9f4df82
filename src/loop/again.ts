// The same operation awaited again and again, without an AbortSignal: a loop around `receive()` or
// `accept()`. One object serves all waits, one at a time.

import { type Operation, tried } from "./attempt.ts";
import { inOrder } from "./gate.ts";
import type { Outcome, Waiter, Watch } from "./poller.ts";

type Resolve = (value: unknown) => void;
type Reject = (reason: unknown) => void;

/** Of the promise that was made last: one function for all, in the place of one for each. */
let resolveLast: Resolve | null = null;
let rejectLast: Reject | null = null;
function capture(resolve: Resolve, reject: Reject): void {
  resolveLast = resolve;
  rejectLast = reject;
}

/** An operation in the direction "read", and its waiter. */
export class Again<T> implements Waiter {
  next: Waiter | null = null;
  readonly #operation: Operation<T>;
  #watch: Watch | null = null;
  /** Settles the promise of the waiter; null if there is none. */
  #resolve: Resolve | null = null;
  #reject: Reject | null = null;

  constructor(operation: Operation<T>) {
    this.#operation = operation;
  }

  /** The next value, as `attempt` would get it; null: a waiter uses this object already. */
  once(watch: Watch): Promise<T> | null {
    if (this.#resolve !== null) return null;
    const now = tried(watch, "read", this.#operation);
    if (now !== null) return now;
    const promise = new Promise<T>(
      capture as (resolve: (value: T) => void, reject: Reject) => void,
    );
    this.#resolve = resolveLast;
    this.#reject = rejectLast;
    resolveLast = rejectLast = null;
    this.#watch = watch;
    try {
      watch.wait("read", this);
    } catch (error) {
      this.stop(error);
    }
    return promise;
  }

  run(): Outcome {
    let value: T | undefined;
    try {
      value = this.#operation.tryOnce();
    } catch (error) {
      this.stop(error);
      return "finished";
    }
    if (value === undefined) {
      this.#watch!.readable = false;
      return "blocked";
    }
    const resolve = this.#resolve!;
    this.#ended();
    inOrder(resolve, value);
    return "finished";
  }

  stop(reason: unknown): void {
    const reject = this.#reject!;
    this.#ended();
    inOrder(reject, reason);
  }

  #ended(): void {
    this.#resolve = null;
    this.#reject = null;
  }
}

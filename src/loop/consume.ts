// Everything that comes, handed to a function in the moment it is there: no promise for each.

import type { Outcome, Waiter, Watch } from "./poller.ts";
import { overdue, turnBegins } from "./turn.ts";

/** Values as they come. */
export interface Feed<T> {
  /** One try. undefined: nothing now; null: that was all. */
  once(): T | null | undefined;
  /** What is done with each; the next one comes when a promise that it returns is settled. */
  take(value: T): unknown;
}

/** Values handed over in a row before the clock is looked at. */
const SPREE = 64;

/** A promise of ours or of others: anything with a `then`. */
export const isPromise = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === "object" && value !== null && "then" in value;

/** Resolves when the feed has ended or the descriptor is closed here. */
export function consume<T>(
  { watch, signal }: { readonly watch: Watch; readonly signal: AbortSignal | undefined },
  feed: Feed<T>,
): Promise<void> {
  if (signal?.aborted === true) return Promise.reject(signal.reason);
  return new Promise((resolve, reject) => {
    const consumer = new Consumer(watch, feed, (error) => {
      signal?.removeEventListener("abort", onAbort);
      if (error === undefined) resolve();
      else reject(error.reason);
    });
    const onAbort = (): void => consumer.abort(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    consumer.go();
  });
}

type End = (error?: { readonly reason: unknown }) => void;

class Consumer<T> implements Waiter {
  readonly #watch: Watch;
  readonly #feed: Feed<T>;
  readonly #end: End;
  #ended = false;

  constructor(watch: Watch, feed: Feed<T>, end: End) {
    this.#watch = watch;
    this.#feed = feed;
    this.#end = end;
  }

  /** Begin, or go on after a pause: what is there already brings no event. */
  go(): void {
    if (this.#ended || this.run() === "done") return;
    try {
      this.#watch.wait("read", this);
    } catch (reason) {
      this.#finish({ reason });
    }
  }

  run(): Outcome {
    let left = SPREE;
    let outcome: Outcome = "nothing";
    try {
      do {
        const value = this.#feed.once();
        if (value === undefined) {
          this.#watch.readable = false;
          return outcome;
        }
        if (value === null) return this.#finish();
        outcome = "more";
        const later = this.#feed.take(value);
        if (this.#ended || this.#watch.closed) return this.#finish();
        if (isPromise(later)) return this.#after(later);
        if (--left > 0) continue;
        if (overdue()) return this.#pause();
        left = SPREE;
      } while (this.#watch.readable);
    } catch (reason) {
      return this.#finish(this.#watch.closed ? undefined : { reason });
    }
    return outcome;
  }

  #after(promise: PromiseLike<unknown>): "done" {
    const failed = (reason: unknown): unknown => this.#finish({ reason });
    promise.then(() => (this.#watch.closed ? this.#finish() : this.go()), failed);
    return "done";
  }

  /** The rest of Bun's loop gets its turn. */
  #pause(): "done" {
    setImmediate(() => {
      turnBegins();
      if (this.#watch.closed) this.#finish();
      else this.go();
    });
    return "done";
  }

  #finish(error?: { readonly reason: unknown }): "done" {
    if (!this.#ended) {
      this.#ended = true;
      this.#end(error);
    }
    return "done";
  }

  abort(reason: unknown): void {
    this.#watch.leave(this);
    this.#finish({ reason });
  }

  /** The descriptor is closed here, which is an end. */
  stop(): void {
    this.#finish();
  }
}

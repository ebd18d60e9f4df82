// Each value is handed to a function as soon as it is there: no promise for each.

import { queueMicrotask, setImmediate } from "../base/timers.ts";
import { behindGate, inOrder, rejected } from "./gate.ts";
import type { Outcome, Waiter, Watch } from "./poller.ts";
import { overdue, turnBegins } from "./turn.ts";

/** Values as they come. */
export interface Feed<T> {
  /** One try. undefined: nothing now; null: that was all. */
  tryOnce(): T | null | undefined;
}

/** Where values go to; the next one comes when a promise that it returns is settled. */
export type Handler<T> = (value: T) => unknown;

/** Values handed over in a row before the clock is looked at. */
const SYNC_BUDGET = 64;

/** A promise of ours or of others: anything with a `then`. */
export const isPromise = (value: unknown): value is PromiseLike<unknown> =>
  typeof value === "object" && value !== null && "then" in value;

/** Hands values over until the feed has ended or the descriptor is closed here. */
export class Consumer<T> implements Waiter {
  next: Waiter | null = null;
  readonly #watch: Watch;
  readonly #feed: Feed<T>;
  readonly #handler: Handler<T>;
  /** Settles the caller's promise; null once settled. */
  #resolve: (() => void) | null = null;
  #reject: ((reason: unknown) => void) | null = null;
  /** Other work has its turn; this waiter keeps its place in the queue. */
  #resting = false;
  #waits = 0;

  constructor(watch: Watch, feed: Feed<T>, handler: Handler<T>) {
    this.#watch = watch;
    this.#feed = feed;
    this.#handler = handler;
  }

  /** Resolves at the end. */
  start(signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted === true) return rejected(signal.reason);
    const promise = new Promise<void>((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    const watched = signal === undefined ? promise : this.#listen(signal, promise);
    this.#begin();
    return watched;
  }

  #listen(signal: AbortSignal, promise: Promise<void>): Promise<void> {
    const onAbort = (): void => {
      this.#watch.cancel("read", this);
      this.#fail(signal.reason);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    return promise.finally(() => signal.removeEventListener("abort", onAbort));
  }

  /** Hand one over. */
  protected hand(value: T, handler: Handler<T>): unknown {
    return handler(value);
  }

  /** In its order, but after outcomes that were told just before. */
  #begin(): void {
    this.wait();
    this.#enter();
  }

  wait(): void {
    this.#resting = true;
    const wait = ++this.#waits;
    queueMicrotask(() => {
      if (wait === this.#waits) this.#goOn();
    });
  }

  /** Go on after a promise: what is there already brings no event. */
  #go(): void {
    if (this.#resolve === null) return;
    if (!this.#watch.hasWaiters("read") && this.run() === "finished") return; // else behind those
    this.#enter();
  }

  #enter(): void {
    try {
      this.#watch.wait("read", this);
    } catch (reason) {
      this.#fail(reason);
    }
  }

  run(): Outcome {
    this.#resting ||= behindGate(this.#goOn); // receives that were asked for before
    if (this.#resting) return "blocked";
    let left = SYNC_BUDGET;
    let outcome: Outcome = "blocked";
    try {
      do {
        const value = this.#feed.tryOnce();
        if (value === undefined) {
          this.#watch.readable = false;
          return outcome;
        }
        if (value === null) return this.#finish();
        outcome = "progress";
        const later = this.hand(value, this.#handler);
        if (this.#resolve === null || this.#watch.closed) return this.#finish();
        if (later !== undefined && isPromise(later)) return this.#after(later);
        if (--left > 0) continue;
        if (overdue()) return this.#pause();
        left = SYNC_BUDGET;
      } while (this.#watch.readable);
    } catch (reason) {
      return this.#watch.closed ? this.#finish() : this.#fail(reason);
    }
    return outcome;
  }

  #after(promise: PromiseLike<unknown>): "finished" {
    const failed = (reason: unknown): unknown => this.#fail(reason);
    promise.then(() => (this.#watch.closed ? this.#finish() : this.#go()), failed);
    return "finished";
  }

  /** The rest of Bun's loop gets its turn. */
  #pause(): "progress" {
    this.#resting = true;
    setImmediate(() => {
      turnBegins();
      this.#goOn();
    });
    return "progress";
  }

  readonly #goOn = (): void => {
    this.#resting = false;
    this.#watch.retry("read");
  };

  #finish(): "finished" {
    const resolve = this.#resolve;
    this.#ended();
    if (resolve !== null) inOrder(resolve, undefined);
    return "finished";
  }

  #fail(reason: unknown): "finished" {
    const reject = this.#reject;
    this.#ended();
    if (reject !== null) inOrder(reject, reason);
    return "finished";
  }

  #ended(): void {
    this.#resolve = null;
    this.#reject = null;
  }

  /** The descriptor is closed here, which is an end. */
  stop(): void {
    this.#finish();
  }
}

// The one way to wait: try; if it would block, wait until the kernel says otherwise; try again.

import { queueMicrotask } from "../base/timers.ts";
import { inOrder, rejected, settled } from "./gate.ts";
import type { Direction, Outcome, Waiter, Watch } from "./poller.ts";

/** Something that can be tried until it works. */
export interface Operation<T> {
  /** One try. undefined: would block. An error ends the operation. */
  tryOnce(): T | undefined;
  /** Called once, when the operation has ended, for any reason: releases what it held. */
  cleanup?(): void;
  /**
   * The caller cancels. True: part of the data is out already, so `tryOnce` is called until the
   * rest is out too, even though the caller has been told.
   */
  partlyDone?(): boolean;
  /** Told what becomes of the rest then, if the caller asked for it. */
  readonly onRest?: ((rest: Promise<void>) => void) | undefined;
}

export interface Wait {
  readonly watch: Watch;
  readonly direction: Direction;
  readonly signal?: AbortSignal | undefined;
}

/** Run `operation`; waiters that are already queued in its direction go first. */
export function attempt<T>(wait: Wait, operation: Operation<T>): Promise<T> {
  const { watch, direction, signal } = wait;
  if (signal?.aborted === true) return failed(operation, signal.reason);
  const now = tried(watch, direction, operation, signal);
  if (now !== null) return now;
  return new Promise((resolve, reject) => {
    new Pending(operation, resolve, reject).begin(wait);
  });
}

/** The result of one try, if it may be made at once and has one; null: wait. */
export function tried<T>(
  watch: Watch,
  direction: Direction,
  operation: Operation<T>,
  signal?: AbortSignal | undefined,
): Promise<T> | null {
  const ready = direction === "read" ? watch.readable : watch.writable;
  if (!ready || watch.hasWaiters(direction)) return null;
  try {
    const value = operation.tryOnce();
    if (value !== undefined) {
      operation.cleanup?.();
      return settled(value);
    }
  } catch (error) {
    return failed(operation, error);
  }
  if (signal?.aborted) return failed(operation, signal.reason); // from inside `tryOnce`
  noteBlocked(watch, direction);
  return null;
}

function noteBlocked(watch: Watch, direction: Direction): void {
  if (direction === "read") watch.readable = false;
  else watch.writable = false;
}

function failed<T>(operation: Operation<T>, reason: unknown): Promise<T> {
  operation.cleanup?.();
  return rejected(reason);
}

class Pending<T> implements Waiter {
  next: Waiter | null = null;
  readonly #operation: Operation<T>;
  #resolve: (value: T) => void;
  #reject: (reason: unknown) => void;
  #watch: Watch | null = null;
  #direction: Direction = "read";
  /** If there is a signal. */
  #abortion: Abortion | null = null;

  constructor(
    operation: Operation<T>,
    resolve: (value: T) => void,
    reject: (reason: unknown) => void,
  ) {
    this.#operation = operation;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  begin({ watch, direction, signal }: Wait): void {
    this.#watch = watch;
    this.#direction = direction;
    try {
      watch.wait(direction, this);
    } catch (error) {
      this.stop(error);
      return;
    }
    if (signal !== undefined) this.#abortion = new Abortion(signal, () => this.#abort(signal));
  }

  run(): Outcome {
    const abortion = this.#abortion;
    if (abortion !== null) abortion.trying = true;
    try {
      const value = this.#operation.tryOnce();
      if (value === undefined) {
        if (abortion !== null) abortion.tried();
        noteBlocked(this.#watch!, this.#direction);
        return "blocked";
      }
      this.#finish();
      inOrder(this.#resolve, value);
    } catch (error) {
      this.stop(error);
    }
    return "finished";
  }

  stop(reason: unknown): void {
    this.#finish();
    inOrder(this.#reject, reason);
  }

  #finish(): void {
    this.#abortion?.end();
    this.#operation.cleanup?.();
  }

  #abort(signal: AbortSignal): void {
    const operation = this.#operation;
    const reject = this.#reject;
    if (operation.partlyDone?.() !== true) {
      this.#watch?.cancel(this.#direction, this);
      operation.cleanup?.();
    } else if (operation.onRest !== undefined) this.#promiseRest(operation.onRest);
    inOrder(reject, signal.reason);
  }

  #promiseRest(tell: (rest: Promise<void>) => void): void {
    const rest = new Promise<void>((resolve, reject) => {
      this.#resolve = () => resolve();
      this.#reject = reject;
    });
    rest.catch(() => {}); // the caller may not care
    queueMicrotask(() => tell(rest)); // what it throws is uncaught; before the caller is told
  }
}

/** A signal that may end a wait; while a try is running the abort is deferred. */
class Abortion {
  readonly #signal: AbortSignal;
  readonly #abort: () => void;
  /** `tryOnce` is running; an abort from inside it must not lose its result. */
  trying = false;
  #meanwhile = false;

  constructor(signal: AbortSignal, abort: () => void) {
    this.#signal = signal;
    this.#abort = (): void => {
      this.#meanwhile = this.trying;
      if (!this.trying) abort();
    };
    signal.addEventListener("abort", this.#abort, { once: true });
  }

  /** The try had no result. @throws the signal's reason, if it was aborted meanwhile */
  tried(): void {
    this.trying = false;
    if (this.#meanwhile) throw this.#signal.reason;
  }

  end(): void {
    this.#signal.removeEventListener("abort", this.#abort);
  }
}

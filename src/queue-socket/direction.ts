// Waiting on a queue: for a message or for room, or until the process at the other end is gone.

import { errno } from "../../native/errno.ts";
import { poll as events } from "../../native/poll.ts";
import type { SyncOptions } from "../base/deadline.ts";
import { UnixError } from "../base/errors.ts";
import { setImmediate } from "../base/timers.ts";
import type { Fd } from "../fd/fd.ts";
import { attempt, type Operation } from "../loop/attempt.ts";
import { LazyWatch } from "../loop/lazy-watch.ts";
import type { Direction, Watch } from "../loop/poller.ts";
import { remaining } from "../syscalls/clock.ts";
import { poll } from "../syscalls/fd.ts";
import type { ReaderLiveness } from "./reader-liveness.ts";

/** How often a blocked thread looks whether the other end has died. */
const SLICE_MS = 50;

/** One direction of a socket: its descriptor, and whose disappearance ends the waiting. */
export class QueueDirection {
  readonly #handle: Fd;
  readonly #holder: ReaderLiveness | null;
  readonly #direction: Direction;
  readonly #watch = new LazyWatch();

  constructor(handle: Fd, direction: Direction, holder: ReaderLiveness | null) {
    this.#handle = handle;
    this.#direction = direction;
    this.#holder = holder;
  }

  get #watching(): Watch {
    return this.#watch.of(this.#handle.fd);
  }

  /** There are no waiters. */
  get idle(): boolean {
    return this.#watch.current?.hasWaiters(this.#direction) !== true;
  }

  get referenced(): boolean {
    return this.#watch.referenced;
  }
  set referenced(on: boolean) {
    this.#watch.referenced = on;
  }

  /** What `operation` gives when it need not wait any more; those who came before go first. */
  wait<T>(operation: Operation<T>, signal: AbortSignal | undefined): Promise<T> {
    const holder = this.#holder;
    const watch = this.#watching;
    if (this.#direction === "read") watch.readable = true;
    else watch.writable = true; // so that it is tried, and `onGone` asked for
    if (holder === null) return attempt({ watch, direction: this.#direction, signal }, operation);
    const wake = (): void => void watch.retry(this.#direction);
    const guarded: Operation<T> = {
      tryOnce: () => {
        const value = operation.tryOnce();
        if (value !== undefined) return value;
        holder.onGone(wake);
        // gone before that: nothing would tell
        return holder.alive() ? undefined : operation.tryOnce();
      },
      cleanup: () => {
        holder.forget(wake);
        operation.cleanup?.();
      },
      partlyDone: () => operation.partlyDone?.() === true,
    };
    return attempt({ watch, direction: this.#direction, signal }, guarded);
  }

  /** Let the waiters try again, once Bun's loop has had its turn. */
  later(): void {
    setImmediate(() => {
      if (!this.#handle.closed) this.#watch.current?.retry(this.#direction);
    });
  }

  /** Try until it works or the time is up, blocking the thread. */
  block<T>(syscall: string, options: SyncOptions | undefined, once: () => T | undefined): T {
    const left = remaining(options?.timeoutMs);
    const event = this.#direction === "read" ? events.POLLIN : events.POLLOUT;
    for (;;) {
      const value = once();
      if (value !== undefined) return value;
      const wait = left();
      if (wait === 0) throw new UnixError(syscall, -errno.ETIMEDOUT);
      const slice = this.#holder === null ? wait : wait < 0 ? SLICE_MS : Math.min(wait, SLICE_MS);
      poll(this.#handle.fd, event, slice);
    }
  }
}

// Whether a process reads from a queue, and being woken when none does any more.
//
// The truth is the lock that the reading descriptor holds, whichever process has that descriptor.
// What wakes is the end of the process (pidfd); if that is not known, or the descriptor has been
// inherited or forgotten, the lock is looked at again every second while something waits.

import { errno } from "../../native/errno.ts";
import { clearInterval, setInterval } from "../base/timers.ts";
import type { Fd } from "../fd/fd.ts";
import { LazyWatch } from "../loop/lazy-watch.ts";
import type { Waiter } from "../loop/poller.ts";
import { tryShareLock, unlock } from "../syscalls/fd.ts";

/** Other code closed the queue's descriptor. */
const CLOSED = -errno.EBADF;

const RECHECK_MS = 1000;
const waited = new Set<ReaderLiveness>();
let timer: ReturnType<typeof setInterval> | null = null;

function recheck(): void {
  for (const holder of [...waited]) holder.look();
}

function watchAlso(holder: ReaderLiveness): void {
  waited.add(holder);
  timer ??= setInterval(recheck, RECHECK_MS).unref();
}

function watchNoLonger(holder: ReaderLiveness): void {
  waited.delete(holder);
  if (waited.size > 0 || timer === null) return;
  clearInterval(timer);
  timer = null;
}

type Wake = () => void;

export class ReaderLiveness {
  readonly #queue: Fd;
  #pidfd: Fd | null;
  #watch = new LazyWatch();
  #waiter: Waiter | null = null;
  readonly #wakes = new Set<Wake>();
  #referenced = true;
  #gone = false;

  /** Owns `pidfd`; the queue's descriptor is borrowed. */
  constructor(queue: Fd, pidfd: Fd | null) {
    this.#queue = queue;
    this.#pidfd = pidfd;
  }

  /** Its process's pidfd, borrowed; null if it is not known. */
  get pidfd(): Fd | null {
    return this.#pidfd;
  }

  /** Whether a process still reads from it. */
  alive(): boolean {
    if (this.#gone || this.#queue.closed) return false;
    const { fd } = this.#queue;
    const shared = tryShareLock(fd);
    if (shared < 0 && shared !== CLOSED) return true; // locked, or unknown (ENOLCK)
    if (shared === 0) unlock(fd);
    this.#gone = true;
    return false;
  }

  /** Another process has it now. */
  heldBy(pidfd: Fd): void {
    this.#leave();
    this.#pidfd?.close();
    this.#pidfd = pidfd;
    this.#watch = new LazyWatch();
    this.#watch.referenced = this.#referenced;
    if (this.#wakes.size > 0) this.#wait();
  }

  /** Have `wake` called when no process reads from it, until `forget`. */
  onGone(wake: Wake): void {
    this.#wakes.add(wake);
    if (this.#wakes.size > 1) return;
    watchAlso(this);
    this.#wait();
  }

  forget(wake: Wake): void {
    if (!this.#wakes.delete(wake) || this.#wakes.size > 0) return;
    watchNoLonger(this);
    this.#leave();
  }

  /** Look at the lock, and wake those who wait if it is free. */
  look(): void {
    if (this.alive()) return;
    for (const wake of [...this.#wakes]) wake();
  }

  #wait(): void {
    if (this.#pidfd === null || this.#waiter !== null) return;
    const waiter: Waiter = {
      next: null,
      run: () => {
        // another process may have inherited it: a frame says so, or the lock is looked at now and
        // then
        this.look();
        return "finished";
      },
      stop: () => {},
    };
    this.#waiter = waiter;
    this.#watch.of(this.#pidfd.fd).wait("read", waiter);
  }

  #leave(): void {
    const waiter = this.#waiter;
    this.#waiter = null;
    if (waiter !== null) this.#watch.current?.cancel("read", waiter);
  }

  set referenced(on: boolean) {
    this.#referenced = on;
    this.#watch.referenced = on;
  }

  close(): void {
    watchNoLonger(this);
    this.#waiter = null;
    this.#wakes.clear();
    this.#pidfd?.close();
  }
}

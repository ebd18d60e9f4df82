// From one wake-up to the next. A wake through Bun's loop costs more than the work it is for, so we
// make each do more: serve, let those who were served answer, and look again before going back
// (facts: #wake-cost, #wake-across-processors); in bounds, for the rest of Bun's loop waits
// meanwhile. What each bound is for, and the bench group to run when it is changed, stands in
// bench/README.md ("Bounds of the loop").

import { nextTick, queueMicrotask, setImmediate } from "../base/timers.ts";
import { monotonicMs } from "../syscalls/clock.ts";
import { schedYield } from "../syscalls/thread.ts";
import type { Watch } from "./poller.ts";
import { overdue, turnBegins } from "./turn.ts";
import type { Served } from "./watch-set.ts";

/** What rounds are made of; the poller's part. */
export interface Source {
  /** Take what is ready from the kernel: how many events. */
  take(): number;
  /**
   * The same, after sleeping for at most that long until something is ready; negative if this
   * kernel cannot.
   */
  takeWithin(nanoseconds: number): number;
  /** The watch that event `index` is about; null: it is closed meanwhile. */
  watchOf(index: number): Watch | null;
  /** Tell `watch` of event `index`. */
  serve(watch: Watch, index: number): Served;
  /** Whether there is a waiter that keeps the process alive. */
  readonly awaited: boolean;
  /** All are served, and have queued again if they wanted: arm the waker, or release it. */
  goIdle(): void;
}

/** Rounds in one wake-up at most. */
const ROUNDS = 16;
/** Events with a promise each that are served before their owners answer. */
const BURST = 16;
/** Microtasks in which served waiters may answer and wait again. */
const MICROTASK_TURNS = 6;
/** The same before Bun is told that there are no more waiters. */
const IDLE_MICROTASK_TURNS = 16;

/** Sleep of the thread itself, which is short so that the rest of Bun's loop does not notice. */
const NAP_NS = 100_000;

/** Fruitless yields, or naps, in a row, after which they are tried only now and then. */
const LUCK = 8;
const PROBE = 64;

/** Whether something that has often been fruitless is worth another try. */
class AdaptiveGate {
  #left = LUCK;
  #misses = 0;

  get shouldTry(): boolean {
    return this.#left > 0 || ++this.#misses % PROBE === 0;
  }

  note(found: boolean): void {
    this.#left = found ? LUCK : this.#left - 1;
  }
}

let busyPollMs = 0;

/** Keep polling for this long after the last event before the thread sleeps. */
export function setBusyPoll(ms: number): void {
  busyPollMs = ms;
}

/** Those just served, or their answers, have put work into process.nextTick. */
let ticking = false;

/**
 * What is in process.nextTick goes before the next step: what a stream puts off until its event is
 * over (the end of an answer, the next read). It may wait for all microtasks otherwise.
 */
export function ticksFirst(): void {
  ticking = true;
}

/** Someone may have put work off to the next turn of Bun's loop. */
let turnAwaited = false;

/**
 * The next step comes in the next turn of Bun's loop, after what was put off to it until then
 * (setImmediate).
 */
export function turnFirst(): void {
  turnAwaited = true;
}

export class Rounds {
  readonly #source: Source;
  #running = false;
  #look = false;
  #at = 0;
  #count = 0;
  #served = 0;
  #rounds = 0;
  #hops = 0;
  readonly #yielding = new AdaptiveGate();
  readonly #napping = new AdaptiveGate();
  /** The only watch that was served in this round; predicted to be ready next. */
  #lastServed: Watch | null = null;
  /** A served waiter answers in a microtask of its own (a promise). */
  #servedPromise = false;
  /** The same as in the round before: a single conversation. */
  #previousServed: Watch | null = null;

  constructor(source: Source) {
    this.#source = source;
  }

  /** The waker says that something is ready. */
  wake(): void {
    turnBegins();
    this.#look = true;
    this.#lastServed = null; // however busy it is, the others are asked for first
    this.#rounds = 0;
    this.#hops = MICROTASK_TURNS;
    if (this.#running) return;
    this.#running = true;
    this.#step();
  }

  /** The number of waiters went from none to some, or back: adjust the waker after this turn. */
  schedule(): void {
    if (this.#running) return;
    this.#running = true;
    this.#hops = 0;
    queueMicrotask(this.#step);
  }

  /**
   * One step a microtask, which is worth a tenth of a small message: so some promises are settled
   * in each. In bounds, so that a server answers those before more is read, while what both touch
   * is still in the processor's cache.
   */
  readonly #step = (): void => {
    if (ticking) this.#soon();
    else if (turnAwaited) setImmediate(this.#afterTurn);
    else this.#next();
  };

  /** Once: who asks for a turn in every turn does not keep others waiting. */
  readonly #afterTurn = (): void => {
    turnAwaited = false;
    turnBegins();
    this.#next();
  };

  #next(): void {
    if (this.#at < this.#count) this.#serveNext();
    else if (this.#look) this.#lookAgain();
    else if (!this.#source.awaited && ++this.#hops < IDLE_MICROTASK_TURNS)
      queueMicrotask(this.#step);
    else {
      this.#running = false;
      this.#source.goIdle();
    }
  }

  #serveNext(): void {
    let left = BURST;
    do {
      const index = this.#at++;
      const watch = this.#source.watchOf(index);
      const served = watch === null ? "none" : this.#source.serve(watch, index);
      if (watch === null || served === "none") continue;
      this.#note(watch, served);
      if (served === "promise" && --left === 0) break;
    } while (this.#at < this.#count);
    if (this.#at === this.#count) this.#endRound();
    this.#soon();
  }

  /** The next step. */
  #soon(): void {
    if (ticking) nextTick(this.#afterTicks);
    else queueMicrotask(this.#step);
    ticking = false;
  }

  /** Those may have told promises, which put off their answers again: as in dbus-native. */
  readonly #afterTicks = (): void => {
    queueMicrotask(this.#afterMicrotasks);
  };

  readonly #afterMicrotasks = (): void => {
    nextTick(this.#step);
  };

  #note(watch: Watch, served: Served): void {
    this.#lastServed = this.#served === 0 ? watch : null;
    this.#served += 1;
    this.#servedPromise ||= served === "promise";
  }

  #endRound(): void {
    const more = ++this.#rounds < ROUNDS || busyPollMs > 0;
    this.#look ||= this.#served > 0 && more && !overdue();
    this.#served = 0;
    this.#hops = this.#servedPromise ? 0 : MICROTASK_TURNS;
    this.#servedPromise = false;
  }

  #lookAgain(): void {
    const last = this.#lastServed;
    const waiting = last === null ? this.#hops >= MICROTASK_TURNS : last.hasWaiters("read");
    if (!waiting && ++this.#hops < MICROTASK_TURNS) {
      queueMicrotask(this.#step);
      return;
    }
    this.#look = false;
    this.#lastServed = null;
    const sameAsLast = last !== null && last === this.#previousServed;
    this.#previousServed = last;
    if (last !== null && this.#retry(last, sameAsLast)) {
      this.#endRound();
      this.#soon();
      return;
    }
    this.#at = 0;
    this.#count = this.#take();
    this.#hops = 0;
    this.#step();
  }

  /** How many events are ready, or are about to be if there is a waiter. */
  #take(): number {
    if (!this.#source.awaited) return this.#source.take();
    if (busyPollMs > 0) return this.#poll();
    if (this.#rounds === 0 || !this.#napping.shouldTry) return this.#source.take();
    const found = this.#source.takeWithin(NAP_NS);
    this.#napping.note(found > 0);
    return found < 0 ? this.#source.take() : found;
  }

  /** Look until something is ready or the time is up. */
  #poll(): number {
    const end = monotonicMs() + busyPollMs;
    let found: number;
    do found = this.#source.take();
    while (found === 0 && monotonicMs() < end);
    return found;
  }

  /**
   * The peer may have answered while we were at it. If not, step back for a moment and look again.
   * If the peer runs on this processor it can only answer once we stop, and that is many times
   * cheaper than to sleep and be woken. If it runs elsewhere the step back returns at once. With
   * several peers it is never made: the kernel lets them run before us for a while after it, one by
   * one at each answer.
   */
  #retry(last: Watch, sameAsLast: boolean): boolean {
    let served = last.retry("read");
    if (served === "none" && sameAsLast && busyPollMs === 0 && this.#yielding.shouldTry) {
      schedYield();
      served = last.retry("read");
      this.#yielding.note(served !== "none");
    }
    if (served === "none") return false;
    this.#note(last, served);
    return true;
  }
}

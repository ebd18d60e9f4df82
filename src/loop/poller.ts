// The waiters of this JS thread. It knows descriptors and nothing of messages.

import { closedError } from "../base/errors.ts";
import { setImmediate, setTimeout } from "../base/timers.ts";
import { close } from "../syscalls/fd.ts";
import { atThreadEnd } from "../syscalls/thread-teardown.ts";
import { Rounds, type Source } from "./rounds.ts";
import { eventFlag as flag } from "./selector.ts";
import { dropBy } from "./stop-waiting.ts";
import { ThreadWaker } from "./thread-waker.ts";
import { append, entries, type Link, prepend, without, withoutFirst } from "./waiter-ring.ts";
import { chooseWaker, type Waker, type WakerChoice } from "./waker.ts";
import { type Served, WatchSet } from "./watch-set.ts";

/** Unreferenced waiters are served by a thread; it starts when they have waited this long. */
const BACKGROUND_DELAY_MS = 5;

/** Until a thread that could not be started is tried again. */
const SHORTAGE_MS = 50;

/** The outcome of a try: it would block; it is finished; it made progress, and waits for more. */
export type Outcome = "blocked" | "finished" | "progress";

/** A waiter, in one queue at a time. `run` tries; it never throws. */
export interface Waiter extends Link<Waiter> {
  /**
   * It would be told at once, but waiters just served are told in a microtask: it is told after
   * them.
   */
  wait?(): void;
  run(): Outcome;
  /** The descriptor is closed, or cannot be watched: stop waiting with this reason. */
  stop(reason: unknown): void;
}

export type Direction = "read" | "write";

const latest = (first: Served, second: Served): Served => (second === "none" ? first : second);

/** One descriptor in the set. It belongs to the descriptor's owner; ended by `close`. */
export class Watch {
  readonly fd: number;
  /** The last in each queue. */
  #readers: Waiter | null = null;
  #writers: Waiter | null = null;
  /** What the kernel last said, until an attempt finds that it is no longer so. */
  readable = true;
  writable = true;
  /** Hung up, or bytes came out of band: a short read says nothing about what is behind it. */
  ended = false;
  /** Its owner calls `close`. A watch without an owner goes with its last waiter. */
  owned: boolean;
  /** Events that the kernel was asked for. */
  registered = 0;
  /** Tells its events from those of an earlier file with its number; 0 once closed. */
  tag: number;
  #referenced = true;

  private constructor(fd: number, owned: boolean) {
    this.fd = fd;
    this.owned = owned;
    this.tag = threadPoller().add(this);
  }

  /** The watch of a descriptor in this thread: there is one for all waiters. */
  static of(fd: number, owned: boolean): Watch {
    const known = threadPoller().find(fd);
    // a number has one owner at a time: that one's file was closed behind our back
    if (owned && known?.owned === true) known.close(closedError("epoll_wait"));
    if (known === undefined || known.closed) return new Watch(fd, owned);
    if (owned) known.#claim();
    else if (known.registered !== 0 && known.owned) threadPoller().renew(known);
    return known;
  }

  get closed(): boolean {
    return this.tag === 0;
  }

  /** The watch gets an owner: waiters by number may have waited for a file that is gone by now. */
  #claim(): void {
    this.owned = true;
    this.readable = true;
    this.writable = true;
    this.ended = false;
    if (this.registered !== 0) threadPoller().renew(this);
  }

  /** Whether there is a waiter in this direction. */
  hasWaiters(direction: Direction): boolean {
    return this.#last(direction) !== null;
  }

  #last(direction: Direction): Waiter | null {
    return direction === "read" ? this.#readers : this.#writers;
  }

  #queue(direction: Direction, last: Waiter | null): void {
    if (direction === "read") this.#readers = last;
    else this.#writers = last;
  }

  /** Queue `waiter` behind those of its direction; wake-ups run it. @throws UnixError */
  wait(direction: Direction, waiter: Waiter): void {
    if (this.closed) throw closedError("epoll_wait");
    threadPoller().register(this, direction);
    this.#queue(direction, append(this.#last(direction), waiter));
    threadPoller().waiting(this.#referenced, 1);
  }

  /** Take a waiter out before it is done. */
  cancel(direction: Direction, waiter: Waiter): void {
    const last = this.#last(direction);
    if (last !== null && waiter.next !== null) {
      this.#queue(direction, without(last, waiter));
      threadPoller().waiting(this.#referenced, -1);
    }
    this.#endIfIdle();
  }

  /** Let the waiters of one direction try again, whatever the kernel says. */
  retry(direction: Direction): Served {
    if (direction === "read") this.readable = true;
    else this.writable = true;
    return this.#serve(direction);
  }

  get referenced(): boolean {
    return this.#referenced;
  }
  set referenced(on: boolean) {
    if (on === this.#referenced) return;
    const count = entries(this.#readers).length + entries(this.#writers).length;
    threadPoller().waiting(this.#referenced, -count);
    this.#referenced = on;
    threadPoller().waiting(on, count);
  }

  /** The kernel said `events`: let the waiters try in their order. */
  notify(events: number): Served {
    const gone = (events & flag.gone) !== 0;
    let served: Served = "none";
    if (gone || (events & (flag.readHangUp | flag.urgent)) !== 0) this.ended = true;
    if (gone || (events & (flag.in | flag.readHangUp)) !== 0) {
      this.readable = true;
      served = this.#serve("read");
    }
    if (gone || (events & flag.out) !== 0) {
      this.writable = true;
      if (this.#writers !== null) served = latest(served, this.#serve("write"));
      else if (!gone && this.owned) threadPoller().registerReadOnly(this);
    }
    this.#endIfIdle();
    return served;
  }

  /**
   * In their order, those who wait now. A waiter that runs is out of the queue: it may close this
   * watch, or wait again, and then it has just seen that it would block.
   */
  #serve(direction: Direction): Served {
    const end = this.#last(direction);
    let served: Served = "none";
    for (let last = end; last !== null; last = this.#last(direction)) {
      const waiter = last.next!;
      this.#queue(direction, withoutFirst(last));
      const outcome = waiter.run();
      if (outcome !== "finished") {
        if (!this.closed) this.#queue(direction, prepend(this.#last(direction), waiter));
        return outcome === "progress" ? "callback" : served;
      }
      threadPoller().waiting(this.#referenced, -1);
      served = "promise";
      if (waiter === end) break;
      this.#last(direction)?.next?.wait?.();
    }
    return served;
  }

  #endIfIdle(): void {
    if (!this.owned && this.#readers === null && this.#writers === null) this.close(undefined);
  }

  /** Leave the set, before the descriptor is closed or handed on. Waiters get `reason`. */
  close(reason: unknown): void {
    if (this.closed) return;
    threadPoller().remove(this);
    this.tag = 0;
    const waiters = [...entries(this.#readers), ...entries(this.#writers)];
    this.#readers = null;
    this.#writers = null;
    threadPoller().waiting(this.#referenced, -waiters.length);
    for (const waiter of waiters) waiter.next = null;
    for (const waiter of waiters) waiter.stop(reason);
  }
}

class Poller extends WatchSet<Watch> implements Source {
  readonly atEnd: unknown;
  choice: WakerChoice;
  #background: Waker | null = null;
  #backgroundTimer = false;
  #referenced = 0;
  #unreferenced = 0;
  #armed = false;
  #releasing = false;
  readonly #rounds = new Rounds(this);

  constructor() {
    super();
    try {
      this.choice = chooseWaker(this.selector, () => this.#woken());
    } catch (error) {
      close(this.selector.fd);
      throw error;
    }
    this.atEnd = atThreadEnd("close", this.selector.fd);
  }

  /** `count` more (or fewer) waiters; the waker follows when this turn's microtasks are done. */
  waiting(referenced: boolean, count: number): void {
    if (referenced) this.#referenced += count;
    else this.#unreferenced += count;
    this.#rounds.schedule();
  }

  get awaited(): boolean {
    return this.#referenced > 0;
  }

  goIdle(): void {
    if (this.#referenced > 0) {
      if (!this.#armed || this.selector.beside !== null) this.#arm();
      this.#armed = true;
    } else if (!this.#releasing) {
      this.#releasing = true;
      setImmediate(() => {
        this.#releasing = false;
        if (this.#referenced === 0) this.#release();
      });
    }
  }

  #release(): void {
    this.choice.waker.release();
    this.#armed = false;
    if (this.#unreferenced > 0) this.#armBackground();
  }

  #woken(): void {
    this.#armed = false;
    this.#rounds.wake();
  }

  #arm(): void {
    try {
      this.choice.waker.arm(true);
    } catch (error) {
      const waker = this.#thread();
      if (waker === null) {
        setTimeout(() => this.#armAgain(), SHORTAGE_MS);
        return;
      }
      this.choice = { waker, reason: String(error) };
      waker.arm(true);
    }
  }

  #armAgain(): void {
    this.#armed = false;
    this.goIdle();
  }

  /** The other waker; null while this process is out of descriptors. */
  #thread(): ThreadWaker | null {
    try {
      return new ThreadWaker(this.selector, () => this.#woken());
    } catch {
      return null;
    }
  }

  /** A read keeps the process alive (facts: #pending-read-keeps-alive), a message does not. */
  #armBackground(): void {
    const { waker } = this.choice;
    if (waker.kind === "thread") waker.arm(false);
    else if (this.#background !== null) this.#background.arm(false);
    else if (!this.#backgroundTimer) this.#startBackground();
  }

  #startBackground(delayMs = BACKGROUND_DELAY_MS): void {
    this.#backgroundTimer = true;
    const start = (): void => {
      this.#backgroundTimer = false;
      if (this.#referenced > 0 || this.#unreferenced === 0) return;
      this.#background = this.#thread();
      if (this.#background === null) this.#startBackground(SHORTAGE_MS);
      else this.#background.arm(false);
    };
    setTimeout(start, delayMs).unref();
  }
}

let poller: Poller | undefined;

function threadPoller(): Poller {
  if (poller !== undefined) return poller;
  const made = new Poller();
  dropBy((fd, reason) => made.find(fd)?.close(reason()));
  return (poller = made);
}

/** This thread's waker and why it is that one; starts the loop if it has not been needed yet. */
export function wakerChoice(): WakerChoice {
  return threadPoller().choice;
}

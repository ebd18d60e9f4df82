// Signals with who sent them and what they carry, as a stream of events.

import { errno } from "../../native/errno.ts";
import { poll as events } from "../../native/poll.ts";
import { integer } from "../base/checks.ts";
import type { Abortable, SyncOptions } from "../base/deadline.ts";
import { closedError, UnixError, UnsupportedError } from "../base/errors.ts";
import { iterateOpen } from "../base/iterate.ts";
import { Referenced } from "../base/referenced.ts";
import { inOrder, rejected, settled } from "../loop/gate.ts";
import type { SignalOrigin } from "../structs/siginfo.ts";
import { remaining } from "../syscalls/clock.ts";
import { poll } from "../syscalls/fd.ts";
import { knownUid } from "../users/known-ids.ts";
import { attach, detach, interestChanged, type Receiver, signalSource } from "./dispatcher.ts";
import type { Caught, Interest } from "./handler-source.ts";
import { handledSignalNumber, type SignalName, signalName } from "./names.ts";

/** How signals are watched. */
export interface WatchSignalsOptions {
  /** Events that wait here to be received; further ones are lost, and counted. Default 65,536. */
  readonly maxQueued?: number | undefined;
}

/**
 * One signal.
 *
 * How far to trust `pid` and `uid`: with the origins "user", "thread" and "child" they are the
 * kernel's word. With "queue" and the others they are the sender's claim: sigqueue(3) fills them in
 * truthfully, but rt_sigqueueinfo(2) lets any process that may signal this one write what it likes.
 */
export interface SignalEvent {
  /** Its name: "SIGUSR1", "SIGRTMIN+3". */
  readonly signal: string;
  /** Its number on this system. */
  readonly number: number;
  /** What sent it; "unknown" if the source is `process.on` (`watcher.source`). */
  readonly origin: SignalOrigin;
  /** si_code as the kernel gave it. */
  readonly siCode: number | undefined;
  /** The sender; undefined if there is none, or none that this pid namespace sees. */
  readonly pid: number | undefined;
  /** Its user; null: none that this user namespace can name. */
  readonly uid: number | null | undefined;
  /** sival_int: what sigqueue or a timer carries, a signed 32-bit integer. */
  readonly value: number | undefined;
  /** sival_ptr: all 64 bits of the same. */
  readonly pointer: bigint | undefined;
  /** SIGCHLD: the exit code or signal of the child. */
  readonly status: number | undefined;
  /** When it was caught, in milliseconds on the clock of `performance.now()`. */
  readonly time: number;
}

interface Waiting {
  resolve(event: SignalEvent): void;
  reject(reason: unknown): void;
  /** Take its listener off its signal. */
  forget(): void;
}

const MAX_QUEUED = 65_536;
/** Received events that are still in the queue's array, at most. */
const COMPACT_AT = 4096;

/**
 * Signals as they come, for as long as it is open. Made by {@link watchSignals}.
 *
 * @see signal(7), sigaction(2)
 */
export class SignalWatcher extends Referenced implements AsyncDisposable {
  readonly #numbers: ReadonlySet<number>;
  readonly #maxQueued: number;
  readonly #lostBefore = new Map<number, number>();
  #queue: SignalEvent[] = [];
  #at = 0;
  #waiting: Waiting[] = [];
  #overflow = 0;
  #lost = 0;
  #closed = false;
  #referenced = true;
  readonly #receiver: Receiver;

  /** @internal */
  constructor(numbers: ReadonlySet<number>, maxQueued: number) {
    super();
    this.#numbers = numbers;
    this.#maxQueued = maxQueued;
    const interest = (): Interest => this.#interest;
    this.#receiver = {
      deliver: (caught) => this.#deliver(caught),
      get interest() {
        return interest();
      },
    };
    const source = signalSource();
    for (const number of numbers) this.#lostBefore.set(number, source.lost(number));
    attach(this.#receiver, numbers);
  }

  /** The names of what it watches. */
  get signals(): readonly string[] {
    return [...this.#numbers].map(signalName);
  }

  /**
   * "handler": events name their sender. "process": `process.on` is used instead (capabilities()
   * has the reason).
   */
  get source(): "handler" | "process" {
    return signalSource().kind;
  }

  /**
   * How many of its signals were lost since it was opened: more came than the pipe between handler
   * and program holds (about 26,000; less for users whose pipes may not be that large), or than
   * `maxQueued`. Standard signals that came while one of their kind was pending are not among them:
   * the kernel merges them and reports nothing.
   */
  get lost(): number {
    return this.#closed ? this.#lost : this.#countLost();
  }

  #countLost(): number {
    let lost = this.#overflow;
    for (const [number, before] of this.#lostBefore) lost += signalSource().lost(number) - before;
    return lost;
  }

  /** True once it is closed: what waits then fails with ERR_CLOSED. */
  get closed(): boolean {
    return this.#closed;
  }

  get #interest(): Interest {
    if (this.#waiting.length === 0) return "none";
    return this.#referenced ? "referenced" : "unreferenced";
  }

  #deliver({ info, time }: Caught): void {
    const uid = info.uid === undefined ? undefined : knownUid(info.uid);
    const event: SignalEvent = { signal: signalName(info.number), ...info, uid, time };
    const first = this.#waiting.shift();
    if (first !== undefined) {
      first.forget();
      inOrder(first.resolve, event);
      if (this.#waiting.length === 0) interestChanged();
    } else if (this.#queue.length - this.#at < this.#maxQueued) this.#queue.push(event);
    else this.#overflow += 1;
  }

  #open(): void {
    if (this.#closed) throw closedError("watchSignals");
  }

  #take(): SignalEvent | undefined {
    if (this.#at === this.#queue.length) signalSource().collect();
    const event = this.#queue[this.#at];
    if (event === undefined) return undefined;
    this.#at += 1;
    if (this.#at === this.#queue.length || this.#at === COMPACT_AT) {
      this.#queue.splice(0, this.#at);
      this.#at = 0;
    }
    return event;
  }

  /**
   * The next signal, when one comes. Receives are served in the order they were asked for. While
   * one waits, the process stays alive (`unref()` changes that).
   *
   * @throws UnixError ERR_CLOSED; the abort signal's reason
   */
  receive(options?: Abortable): Promise<SignalEvent> {
    const signal = options?.signal;
    if (signal?.aborted === true) return rejected(signal.reason);
    try {
      this.#open();
      const event = this.#waiting.length === 0 ? this.#take() : undefined;
      if (event !== undefined) return settled(event);
    } catch (error) {
      return rejected(error);
    }
    return new Promise((resolve, reject) => this.#wait({ resolve, reject }, signal));
  }

  #wait(
    { resolve, reject }: Pick<Waiting, "resolve" | "reject">,
    signal: AbortSignal | undefined,
  ): void {
    const onAbort = (): void => {
      this.#waiting = this.#waiting.filter((one) => one !== waiting);
      interestChanged();
      inOrder(reject, signal?.reason);
    };
    const forget = (): void => signal?.removeEventListener("abort", onAbort);
    const waiting: Waiting = { resolve, reject, forget };
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#waiting.push(waiting);
    try {
      if (this.#waiting.length === 1) interestChanged();
    } catch (error) {
      this.#waiting.pop();
      forget();
      inOrder(reject, error);
    }
  }

  /** The next signal if one is here; undefined: none now. @throws UnixError ERR_CLOSED */
  tryReceive(): SignalEvent | undefined {
    this.#open();
    return this.#take();
  }

  /**
   * The next signal; blocks the thread.
   * @throws UnixError ETIMEDOUT, ERR_CLOSED; UnsupportedError if `source` is "process"
   */
  receiveSync(options?: SyncOptions): SignalEvent {
    const left = remaining(options?.timeoutMs);
    for (;;) {
      this.#open();
      const event = this.#take();
      if (event !== undefined) return event;
      const { fd } = signalSource();
      if (fd === null) {
        throw new UnsupportedError("signalSenders", "a blocked thread runs no process.on listener");
      }
      const wait = left();
      if (wait === 0) throw new UnixError("poll", -errno.ETIMEDOUT);
      poll(fd, events.POLLIN, wait);
    }
  }

  /** Signals as they come, until it is closed. Leaving the loop does not close it. */
  [Symbol.asyncIterator](): AsyncIterableIterator<SignalEvent> {
    return iterateOpen(this, () => this.receive());
  }

  /** @internal */
  protected reference(on: boolean): void {
    this.#referenced = on;
    if (this.#waiting.length > 0) interestChanged();
  }

  /**
   * Stop watching. Signals without a watcher do again exactly what they did before; what waits gets
   * ERR_CLOSED, what was not received is dropped. Never throws, once is enough.
   */
  close(): void {
    if (this.#closed) return;
    this.#lost = this.#countLost();
    this.#closed = true;
    const waiting = this.#waiting.splice(0);
    detach(this.#receiver, this.#numbers);
    this.#queue = [];
    this.#at = 0;
    for (const one of waiting) {
      one.forget();
      inOrder(one.reject, closedError("watchSignals"));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}

/**
 * Watch signals: each one that reaches this process while the watcher is open becomes an event that
 * says who sent it and, for queued ones, with which value. Several watchers of a signal each get
 * every event. Close it when done: until then the signal does nothing else.
 *
 * Every signal that the kernel delivers is here exactly once, or counted in `lost`. Standard
 * signals (SIGUSR1, …) merge by nature while one is pending; real-time signals queue. Signals that
 * come faster than they are handled may be taken by several threads and change places: rely on
 * `value`, not on the order.
 *
 * While a signal is watched, `process.on` listeners of that signal are not called, whenever they
 * were added; afterwards they are. (`process.listenerCount` counts one more meanwhile, which is
 * what keeps the signal ours: `process.removeAllListeners` must not be used on it.) Children that
 * are started meanwhile get the default, as always with handlers.
 *
 * Refused, because they are not the program's to handle: SIGKILL, SIGSTOP, SIGPWR, which is
 * JavaScriptCore's, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS, SIGABRT, and those that libc
 * keeps for itself.
 *
 * @throws TypeError, RangeError (no such signal, one of the refused, an empty list); UnixError
 *   EMFILE; UnsupportedError in a Worker, and for real-time signals without the handler
 * @see signal(7), sigaction(2), sigqueue(3)
 */
export function watchSignals(
  signals: readonly (SignalName | number)[] | SignalName | number,
  options: WatchSignalsOptions = {},
): SignalWatcher {
  const { maxQueued = MAX_QUEUED } = options;
  integer("maxQueued", maxQueued, { min: 1 });
  const list = Array.isArray(signals) ? signals : [signals];
  const numbers = new Set<number>(list.map((one) => handledSignalNumber(one)));
  if (numbers.size === 0) throw new RangeError("at least one signal is to be watched");
  return new SignalWatcher(numbers, maxQueued);
}

// Where signals come from: our own handler, which knows the sender. process-source.ts stands in if
// it cannot be installed.

import { system } from "../../native/platform.ts";
import { record, signals } from "../../native/signal.ts";
import { check, UnixError } from "../base/errors.ts";
import { now, queueMicrotask, setImmediate, setTimeout } from "../base/timers.ts";
import { Fd } from "../fd/fd.ts";
import { type Outcome, type Waiter, Watch } from "../loop/poller.ts";
import { decodeSiginfo, type SignalInfo } from "../structs/siginfo.ts";
import { read } from "../syscalls/fd.ts";
import { Memory } from "../syscalls/memory.ts";
import { Disposition, signalPipe } from "../syscalls/signal.ts";
import { type SignalHandler, signalHandler } from "../syscalls/signal-handler.ts";
import { signalName } from "./names.ts";

/** A signal as it came. */
export interface Caught {
  readonly info: SignalInfo;
  /** When the handler ran, in milliseconds on the clock of `performance.now()`. */
  readonly time: number;
}

/** Whether there is a waiter, and whether it keeps the process alive. */
export type Interest = "none" | "unreferenced" | "referenced";

export interface SignalSource {
  readonly kind: "handler" | "process";
  /** The descriptor that is readable when signals are here, if there is one. */
  readonly fd: number | null;
  /** Begin to catch a signal. @throws UnixError, UnsupportedError */
  begin(number: number): void;
  /** Stop, and restore what was before. */
  end(number: number): void;
  /** How many of a signal's number were lost so far. */
  lost(number: number): number;
  /** Hand over what is here now. */
  collect(): void;
  /** Hand over what comes, from now on or no more. */
  await(interest: Interest): void;
}

export type Deliver = (caught: Caught) => void;

/** Records taken with one read; the pipe holds whole ones only. */
const BATCH = 1600;
/** Reads in one turn of the loop: more than the pipe holds. */
const READS = 32;

/** Retry until no other thread is in the handler. */
const QUIET_MS = 1;

/** One for the process: dispositions are. */
export class HandlerSource implements SignalSource {
  readonly kind = "handler";
  readonly #handler: SignalHandler;
  readonly #ours: Disposition;
  readonly #deliver: Deliver;
  readonly #room = new Memory(BATCH * record.bytes);
  readonly #before = new Map<number, Before>();
  #reader: Fd | null = null;
  #writer: Fd | null = null;
  #watch: Watch | null = null;
  #interest: Interest = "none";
  #waiting = false;
  #running = false;
  readonly #waiter: Waiter = {
    next: null,
    run: () => this.#run(),
    stop: () => void (this.#waiting = false),
  };

  private constructor(handler: SignalHandler, deliver: Deliver) {
    this.#handler = handler;
    this.#ours = Disposition.handler(handler.address);
    this.#deliver = deliver;
  }

  /** The source, or the reason why there is none here. */
  static create(deliver: Deliver): HandlerSource | string {
    const handler = availableHandler();
    return typeof handler === "string" ? handler : new HandlerSource(handler, deliver);
  }

  get fd(): number | null {
    return this.#reader?.fd ?? null;
  }

  begin(number: number): void {
    this.#openPipe();
    try {
      const before = holdRuntime(number);
      this.#before.set(number, before);
      check(this.#ours.install(number), "sigaction", { hint: signalName(number) });
    } catch (error) {
      this.end(number);
      throw error;
    } finally {
      if (this.#before.size === 0) this.#closePipe();
    }
  }

  #openPipe(): void {
    if (this.#writer === null) {
      const pipe = signalPipe();
      if (typeof pipe === "number") throw new UnixError("pipe2", pipe);
      this.#reader = Fd.of(pipe.reader, "watchSignals", "ours");
      this.#writer = Fd.of(pipe.writer, "watchSignals", "ours");
    }
    this.#handler.aim(this.#writer.fd);
  }

  /** The disposition first, so that no signal comes any more; unless other code has set another. */
  end(number: number): void {
    const before = this.#before.get(number);
    if (before === undefined) return;
    this.#before.delete(number);
    const found = Disposition.of(number);
    const now = typeof found === "number" ? this.#ours : found; // not to be known: it was ours
    const next = now.calls(this.#ours) ? previous(number, before) : now;
    next.install(number);
    letRuntimeGo(number, before, next);
    if (this.#before.size === 0) this.#closePipe();
  }

  /** A handler may be at work on another thread: its descriptor is not closed under it. */
  #closePipe(): void {
    this.#handler.aim(-1);
    this.await("none");
    if (this.#handler.busy()) {
      setTimeout(() => {
        if (this.#before.size === 0) this.#closePipe();
      }, QUIET_MS);
      return;
    }
    this.#watch = null;
    this.#reader?.close();
    this.#writer?.close();
    this.#reader = null;
    this.#writer = null;
  }

  lost(number: number): number {
    return this.#handler.lost(number);
  }

  collect(): void {
    for (let reads = 0; reads < READS; reads++) {
      const { fd } = this;
      if (fd === null) return;
      const bytes = read(fd, this.#room.address, BATCH * record.bytes);
      if (bytes <= 0) return;
      this.#deliverBatch(bytes / record.bytes);
      if (bytes < BATCH * record.bytes) return;
    }
    setImmediate(() => this.#watch?.retry("read"));
  }

  /** Threads overtake each other between their clock and their write: a batch can be put right. */
  #deliverBatch(count: number): void {
    const batch: Caught[] = [];
    const offset = now() - this.#handler.now(); // Jest's fake timers set Bun's clock
    let sorted = true;
    for (let i = 0; i < count; i++) {
      const caught = this.#decode(i * record.bytes, offset);
      sorted &&= i === 0 || batch[i - 1]!.time <= caught.time;
      batch.push(caught);
    }
    if (!sorted) batch.sort((a, b) => a.time - b.time);
    for (const caught of batch) this.#deliver(caught);
  }

  #decode(at: number, offset: number): Caught {
    const { view } = this.#room;
    const low = view.getUint32(at + record.time, true);
    const high = view.getInt32(at + record.time + 4, true);
    const time = (high * 2 ** 32 + low) / 1e6 + offset;
    return { info: decodeSiginfo(view, at + record.info), time };
  }

  await(interest: Interest): void {
    this.#interest = interest;
    if (!this.#running) this.#update();
  }

  #update(): void {
    const wanted = this.#interest !== "none";
    if (this.#reader === null || this.#reader.closed) return;
    if (!wanted && !this.#waiting) return;
    const watch = (this.#watch ??= Watch.of(this.#reader.fd, true));
    watch.referenced = this.#interest === "referenced";
    if (wanted === this.#waiting) return;
    if (wanted) watch.wait("read", this.#waiter);
    else watch.cancel("read", this.#waiter);
    this.#waiting = wanted;
  }

  /** The pipe is readable. While this runs it is not in the queue of waiters. */
  #run(): Outcome {
    this.#running = true;
    this.collect();
    this.#running = false;
    const watch = this.#watch;
    if (this.#interest === "none" || watch === null) {
      this.#waiting = false;
      return "finished";
    }
    if (watch.referenced !== (this.#interest === "referenced"))
      queueMicrotask(() => this.#update());
    return "blocked";
  }
}

interface Before {
  /** The disposition before ours. */
  readonly disposition: Disposition;
  /** What the runtime installs for its listeners; null for signals that it does not know. */
  readonly runtime: Disposition | null;
}

function current(number: number): Disposition {
  const found = Disposition.of(number);
  if (typeof found === "number") throw new UnixError("sigaction", found);
  return found;
}

const nothing = (): void => {};

/**
 * Bun installs its handler when a signal gets its first listener, and the default action when it
 * loses its last (facts: #listeners-install-a-handler). One listener of ours, there before our
 * handler is, keeps it from either: others may come and go, and the signal stays ours.
 */
function holdRuntime(number: number): Before {
  const disposition = current(number);
  const name = signalName(number);
  if (!(name in signals)) return { disposition, runtime: null };
  process.on(name as NodeJS.Signals, nothing);
  try {
    return { disposition, runtime: current(number) };
  } catch (error) {
    process.off(name as NodeJS.Signals, nothing);
    throw error;
  }
}

/** What is to hold again: the runtime's listeners may have come or gone meanwhile. */
function previous(number: number, { disposition, runtime }: Before): Disposition {
  if (runtime === null) return disposition;
  if (process.listenerCount(signalName(number)) > 1) return runtime;
  return disposition.calls(runtime) ? Disposition.byDefault() : disposition;
}

/** After its last listener Bun sets what it found again, with other flags: so we do once more. */
function letRuntimeGo(number: number, { runtime }: Before, next: Disposition): void {
  if (runtime === null) return;
  process.off(signalName(number) as NodeJS.Signals, nothing);
  next.install(number);
}

/** The handler, or the reason why signals come without their sender here. */
export function availableHandler(): SignalHandler | string {
  if (process.env["BUNIX_SIGNALS"] === "process") return "BUNIX_SIGNALS=process";
  if (system !== "linux") return "written and checked for Linux only";
  return signalHandler();
}

// Whole messages out: as frames, in the order they were given, none of them in part.

import { errno } from "../../native/errno.ts";
import { closedError, UnixError } from "../base/errors.ts";
import type { Fd, FdLike } from "../fd/fd.ts";
import { settled } from "../loop/gate.ts";
import type { SeqpacketSocket } from "../socket/seqpacket.ts";
import type { StreamSocket } from "../socket/stream.ts";
import { MAX_FRAME_BYTES, MAX_FRAME_FDS, PACKET_BYTES } from "../structs/channel-frame.ts";
import { Batch, type Label, shortFrame, type Waiter } from "./batch.ts";
import type { Encoded } from "./codec.ts";
import {
  checkGiven,
  checkOpen,
  closeGiven,
  type Kept,
  keep,
  type Piece,
  type Rest,
  type SplitLimits,
  split,
} from "./pieces.ts";

/** What a message is sent with. */
export interface WriteOptions {
  /** Give up; the promise rejects with the reason. What has begun is sent whole. */
  readonly signal?: AbortSignal | undefined;
  /** Close the descriptors once the kernel has them. */
  readonly transfer?: boolean | undefined;
}

/** How a message is posted. */
export interface Posted {
  readonly options: WriteOptions;
  readonly waiter: Waiter;
}

interface Entry extends Waiter {
  /** Part of it is out. */
  begun: boolean;
  readonly pieces: readonly Piece[];
  /** Closed when it has ended, in whatever way. */
  readonly owned: readonly Fd[];
  /** The caller's, to be closed once all of it is out. */
  readonly given: readonly FdLike[];
  readonly bytes: number;
  /** More than one where they were collected. */
  readonly messages: number;
  readonly signal: AbortSignal | undefined;
}

/** Bytes that may wait in this process, and what a message costs beside its own. */
const MAX_QUEUED_BYTES = 64 * 1024 * 1024;
const ENTRY_BYTES = 256;
const NO_OPTIONS: WriteOptions = {};

/** Sends whole messages over a socket that nothing else sends on. */
export class FrameWriter {
  readonly #socket: StreamSocket | SeqpacketSocket;
  readonly #onBroken: (reason: unknown) => void;
  readonly #queue: Entry[] = [];
  #queuedBytes = 0;
  #queuedMessages = 0;
  /** Messages of this turn that go out together, in front of any other. */
  #batch: Batch | null = null;
  /** One message of this turn went out: those after it are collected until the turn ends. */
  #collecting = false;
  #flushing = false;
  #ended = false;
  /** Ends with the queue. */
  #last: Promise<void> = Promise.resolve();

  /** @param onBroken part of a message is out and the rest cannot follow: nothing can be sent */
  constructor(socket: StreamSocket | SeqpacketSocket, onBroken: (reason: unknown) => void) {
    this.#socket = socket;
    this.#onBroken = onBroken;
  }

  /** Bytes that wait to be sent. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Resolves when nothing waits to be sent. */
  async idle(): Promise<void> {
    this.flush();
    while (this.#flushing) await this.#last;
  }

  /** Take nothing more; what waits is sent, and then the socket's half-close. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.flush();
    if (this.#flushing) void this.idle().then(() => this.#socket.end());
    else this.#socket.end();
  }

  /** `end` was called. */
  get ended(): boolean {
    return this.#ended;
  }

  #checkOpen(): void {
    if (!this.#ended || this.#socket.closed) return;
    throw new UnixError("send", -errno.EPIPE, { hint: "this side of the channel has ended" });
  }

  /**
   * Send, or wait for room; resolves when the kernel has all of it. A message that has begun is
   * sent whole, whatever the signal says.
   */
  write(label: Label, encoded: Encoded, options: WriteOptions): Promise<void> {
    try {
      if (!this.#collects(encoded) || options.signal !== undefined) {
        return this.start(label, encoded, options) ?? settled(undefined);
      }
      const led = this.#lead(label, encoded);
      if (led !== false) return led === true ? settled(undefined) : led;
      return new Promise((resolve, reject) => this.#collect(label, encoded, { resolve, reject }));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * {@link write} without a promise for a message that is collected: `waiter` is told, unless it is
   * out at once. A promise where it waits by itself.
   * @throws as write rejects
   */
  post(label: Label, encoded: Encoded, how: Posted): Promise<void> | undefined {
    let led: boolean | Promise<void> | undefined;
    if (!this.#collects(encoded)) led = this.start(label, encoded, how.options);
    else {
      led = this.#lead(label, encoded);
      if (led === false) this.#collect(label, encoded, how.waiter);
    }
    return typeof led === "object" ? led.then(how.waiter.resolve, how.waiter.reject) : undefined;
  }

  /** Messages wait for room. */
  get waits(): boolean {
    return this.#flushing;
  }

  #collects({ data, fds }: Encoded): boolean {
    return fds.length === 0 && Batch.takes(data);
  }

  /**
   * The first message of a turn goes at once; what follows in it is collected: false. A promise
   * where only part of it is out.
   */
  #lead(label: Label, encoded: Encoded): boolean | Promise<void> {
    this.#checkOpen();
    if (this.#collecting) return false;
    this.#collecting = true;
    queueMicrotask(this.#turnEnds);
    if (this.#flushing) return false;
    const short = shortFrame(label, encoded.data, 0);
    const sent = this.#socket.trySend(short);
    if (sent === short.length) return true;
    if (sent === null) return false;
    const bytes = new Uint8Array(short.subarray(sent)); // the scratch is used again
    return this.#enqueue({ begun: true, pieces: [{ bytes, fds: [] }] }, [], NO_OPTIONS);
  }

  readonly #turnEnds = (): void => {
    this.#collecting = false;
    this.flush();
  };

  #collect(label: Label, { data }: Encoded, waiter: Waiter): void {
    if (this.#socket.closed) throw closedError("sendmsg");
    this.#checkRoom(data.length);
    if (this.#batch?.hasRoom(data) === false) this.flush();
    this.#batch ??= new Batch();
    this.#queuedBytes += this.#batch.add(label, data, waiter);
    this.#queuedMessages++;
  }

  /** Send what was collected, or have it wait in its turn. Never throws. */
  flush(): void {
    const batch = this.#batch;
    if (batch === null) return;
    this.#batch = null;
    const { bytes, messages } = batch;
    this.#queuedBytes -= bytes.length;
    this.#queuedMessages -= messages;
    let sent: number | null = null;
    try {
      if (!this.#flushing) sent = this.#socket.trySend(bytes);
    } catch (error) {
      batch.failed(error);
    }
    batch.sent(sent ?? 0);
    if (batch.messages > 0) this.#enqueueRest(batch, sent ?? 0);
    batch.recycle();
  }

  #enqueueRest(batch: Batch, sent: number): void {
    const bytes = new Uint8Array(batch.bytes.subarray(sent));
    this.#push({
      begun: sent > 0,
      pieces: [{ bytes, fds: [] }],
      owned: [],
      given: [],
      bytes: bytes.length,
      messages: batch.messages,
      signal: undefined,
      resolve: () => batch.sent(Number.POSITIVE_INFINITY),
      reject: (reason) => batch.failed(reason),
    });
  }

  /** {@link write}, or undefined where the kernel has all of it at once. @throws as that rejects */
  start(label: Label, encoded: Encoded, options: WriteOptions): Promise<void> | undefined {
    options.signal?.throwIfAborted();
    this.#checkOpen();
    this.flush();
    const whole = this.#atOnce(label, encoded, options);
    return whole === true ? undefined : this.#enqueue(whole, encoded.fds, options);
  }

  /** Send if there is room now; false: nothing was sent. @throws UnixError */
  tryWrite(label: Label, encoded: Encoded, options: WriteOptions): boolean {
    this.#checkOpen();
    this.flush();
    if (this.#flushing) return false;
    const whole = this.#atOnce(label, encoded, options);
    if (whole === true) return true;
    if (!whole.begun) return false;
    // Part of it is out: the rest has to follow.
    this.#enqueue(whole, encoded.fds, { transfer: options.transfer }).catch(() => {});
    return true;
  }

  /** True if all went out, else what is left of it. */
  #atOnce(label: Label, encoded: Encoded, { transfer }: WriteOptions): true | Rest {
    const { fds } = encoded;
    if (transfer === true) checkGiven(fds);
    const short = !this.#flushing && fds.length <= MAX_FRAME_FDS && Batch.takes(encoded.data);
    const rest = short
      ? this.#shortAtOnce(shortFrame(label, encoded.data, fds.length), fds)
      : this.#severalAtOnce(split(label, encoded, this.#limits), fds);
    if (rest === true && transfer === true) closeGiven(fds);
    return rest;
  }

  #shortAtOnce(short: Uint8Array, fds: readonly FdLike[]): true | Rest {
    const sent =
      fds.length === 0 ? this.#socket.trySend(short) : this.#socket.trySend(short, { fds });
    if (sent === short.length) return true;
    const begun = sent !== null;
    const bytes = new Uint8Array(short.subarray(sent ?? 0)); // the scratch is used again
    return { begun, pieces: [{ bytes, fds: begun ? [] : fds }] };
  }

  get #limits(): SplitLimits {
    return { maxBytes: this.#socket.type === "stream" ? MAX_FRAME_BYTES : PACKET_BYTES };
  }

  #severalAtOnce(pieces: Piece[], fds: readonly FdLike[]): true | Rest {
    // a descriptor that is none must not be found when half of the message is out
    if (pieces.length > 1 && fds.length > 0) checkOpen(fds);
    if (this.#flushing) return { begun: false, pieces };
    for (const [i, { bytes, fds: own }] of pieces.entries()) {
      const sent = this.#trySend(bytes, own, i > 0);
      if (sent === bytes.length) continue;
      const rest = pieces.slice(i);
      if (sent !== null) rest[0] = { bytes: bytes.subarray(sent), fds: [] };
      return { begun: i > 0 || sent !== null, pieces: rest };
    }
    return true;
  }

  #trySend(bytes: Uint8Array, fds: readonly FdLike[], begun: boolean): number | null {
    try {
      return this.#socket.trySend(bytes, { fds });
    } catch (error) {
      if (begun) this.#onBroken(error);
      throw error;
    }
  }

  #enqueue({ begun, pieces }: Rest, fds: readonly FdLike[], options: WriteOptions): Promise<void> {
    const bytes = pieces.reduce((sum, piece) => sum + piece.bytes.length, 0);
    if (!begun) this.#checkRoom(bytes);
    const given = options.transfer === true ? fds : [];
    const { owned, pieces: kept } =
      given.length > 0 ? { owned: [], pieces } : this.#keep(pieces, begun);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const signal = begun ? undefined : options.signal;
    const size = { bytes, messages: 1 };
    const entry = { begun, pieces: kept, owned, given, ...size, signal, resolve, reject };
    if (signal !== undefined) this.#dropOnAbort(entry, signal, promise);
    this.#push(entry);
    return promise;
  }

  /** @throws UnixError ENOBUFS */
  #checkRoom(bytes: number): void {
    const cost = this.#queuedBytes + bytes + this.#queuedMessages * ENTRY_BYTES;
    if (this.#queuedBytes === 0 || cost <= MAX_QUEUED_BYTES) return;
    const hint = `${this.#queuedBytes} bytes wait already: await send() before sending more`;
    throw new UnixError("send", -errno.ENOBUFS, { hint });
  }

  #push(entry: Entry): void {
    if (entry.begun) this.#queue.unshift(entry);
    else this.#queue.push(entry);
    this.#queuedBytes += entry.bytes;
    this.#queuedMessages += entry.messages;
    if (!this.#flushing) this.#last = this.#sendQueued();
  }

  #keep(pieces: readonly Piece[], begun: boolean): Kept {
    try {
      return keep(pieces);
    } catch (error) {
      if (begun) this.#onBroken(error);
      throw error;
    }
  }

  /** An entry that waits behind others leaves at once; the first one is told by its own wait. */
  #dropOnAbort(entry: Entry, signal: AbortSignal, promise: Promise<void>): void {
    const onAbort = (): void => {
      const at = this.#queue.indexOf(entry);
      if (at <= 0) return;
      this.#queue.splice(at, 1);
      this.#settle(entry, { reason: signal.reason });
    };
    signal.addEventListener("abort", onAbort, { once: true });
    const forget = (): void => signal.removeEventListener("abort", onAbort);
    promise.then(forget, forget);
  }

  async #sendQueued(): Promise<void> {
    this.#flushing = true;
    for (let entry = this.#queue[0]; entry !== undefined; entry = this.#queue[0]) {
      let failed: { readonly reason: unknown } | null = null;
      try {
        await this.#send(entry);
      } catch (reason) {
        failed = { reason };
        if (entry.begun) this.#onBroken(reason);
      }
      this.#queue.shift();
      this.#settle(entry, failed);
    }
    this.#flushing = false;
  }

  async #send(entry: Entry): Promise<void> {
    for (const { bytes, fds } of entry.pieces) {
      for (;;) {
        const signal = entry.begun ? undefined : entry.signal;
        signal?.throwIfAborted();
        const sent = this.#socket.trySend(bytes, { fds });
        entry.begun ||= sent !== null;
        if (sent === bytes.length) break;
        if (sent !== null) {
          await this.#socket.send(bytes.subarray(sent));
          break;
        }
        await this.#socket.waitForRoom(signal);
      }
    }
  }

  #settle(entry: Entry, failed: { readonly reason: unknown } | null): void {
    this.#queuedBytes -= entry.bytes;
    this.#queuedMessages -= entry.messages;
    for (const fd of entry.owned) fd.close();
    if (failed === null) {
      closeGiven(entry.given);
      entry.resolve();
    } else entry.reject(failed.reason);
  }
}

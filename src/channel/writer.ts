// Whole messages out: as frames, in the order they were given, none of them in part.

import { errno } from "../../native/errno.ts";
import { closedError, UnixError } from "../base/errors.ts";
import { queueMicrotask } from "../base/timers.ts";
import { settled } from "../loop/gate.ts";
import { bufferBytes } from "../socket/kernel-limits.ts";
import { checkFds } from "../socket/send.ts";
import type { SeqpacketSocket } from "../socket/seqpacket.ts";
import type { StreamSocket } from "../socket/stream.ts";
import {
  CHANNEL_HEADER,
  MAX_FRAME_BYTES,
  MAX_FRAME_FDS,
  PACKET_BYTES,
} from "../structs/channel-frame.ts";
import { Batch, type Label, restOfShort, shortFrame, type Unsent } from "./batch.ts";
import type { Content } from "./codec.ts";
import {
  type Collecting,
  flushAtExit,
  hasFlushed,
  isExiting,
  listenForExit,
} from "./exit-flush.ts";
import { checkGiven, checkOpen, closeGiven, type Rest, split } from "./pieces.ts";
import { SendQueue, type WriteOptions } from "./send-queue.ts";

const NO_OPTIONS: WriteOptions = {};
const NO_NUMBERS: readonly number[] = [];
const nothing = (): void => {};
/** What the kernel keeps back of SO_SNDBUF, as it counts it: twice what one asks for. */
const PACKET_OVERHEAD = 32;

/** How a message without a promise is sent. */
export interface Posted {
  readonly options: WriteOptions;
  readonly whom: Unsent;
}

/** Sends whole messages over a socket that nothing else sends on. */
export class FrameWriter implements Collecting {
  readonly #socket: StreamSocket | SeqpacketSocket;
  readonly #onBroken: (reason: unknown) => void;
  readonly #queue: SendQueue;
  /** Messages of this turn that go out together, in front of any other. */
  #batch: Batch | null = null;
  /** One message of this turn went out: those after it are collected until the turn ends. */
  #collecting = false;
  #ended = false;
  /** What one frame may have after its header, and several with their own, to go at once. */
  #frameBytes = PACKET_BYTES;

  /** @param onBroken part of a message is out and the rest cannot follow: nothing can be sent */
  constructor(socket: StreamSocket | SeqpacketSocket, onBroken: (reason: unknown) => void) {
    this.#socket = socket;
    this.#onBroken = onBroken;
    this.#queue = new SendQueue(socket, onBroken);
    this.#lookAtBuffer();
    listenForExit();
  }

  /** A packet is no longer than SO_SNDBUF allows, which the user may have made small. */
  #lookAtBuffer(): void {
    if (this.#socket.type === "stream") return;
    const buffer = bufferBytes(this.#socket.fd, "sendBufferBytes");
    const max = 2 * buffer - PACKET_OVERHEAD - CHANNEL_HEADER;
    this.#frameBytes = buffer < 0 ? PACKET_BYTES : Math.min(max, PACKET_BYTES);
  }

  /** Bytes that wait to be sent. */
  get queuedBytes(): number {
    const batch = this.#batch;
    return batch === null ? this.#queue.bytes : this.#queue.bytes + batch.place.bytes;
  }

  /** Resolves when nothing waits to be sent. */
  idle(): Promise<void> {
    this.flush();
    return this.#queue.idle();
  }

  /** Take nothing more; what waits is sent, and then the socket's half-close. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.flush();
    if (this.#queue.busy) void this.#queue.idle().then(() => this.#socket.end());
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
  write(label: Label, content: Content, options: WriteOptions): Promise<void> {
    try {
      if (!this.#collects(content) || options.signal !== undefined) {
        return this.start(label, content, options) ?? settled(undefined);
      }
      const led = this.#lead(label, content);
      if (led === false) return this.#batchFor(content).addAwaited(label, content);
      return led === true ? settled(undefined) : led;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * {@link write} without a promise for a message that is collected: `whom` is told if it does not
   * go out. A promise if it waits by itself.
   * @throws as write rejects
   */
  post(label: Label, content: Content, { options, whom }: Posted): Promise<void> | undefined {
    let led: boolean | Promise<void> | undefined;
    if (!this.#collects(content)) led = this.start(label, content, options);
    else {
      led = this.#lead(label, content);
      if (led === false) this.#batchFor(content).addPosted(label, content, whom);
    }
    if (typeof led !== "object") return undefined;
    return led.then(nothing, (reason) => whom.unsent(label.number, reason));
  }

  /** Messages wait for room. */
  get waits(): boolean {
    return this.#queue.busy;
  }

  #collects({ maxBytes, fds }: Content): boolean {
    return fds.length === 0 && maxBytes <= this.#frameBytes;
  }

  /**
   * The first message of a turn goes at once; what follows in it is collected: false. A promise if
   * only part of it is out.
   */
  #lead(label: Label, content: Content): boolean | Promise<void> {
    this.#checkOpen();
    if (this.#collecting && !isExiting()) return false;
    this.#collecting = true;
    queueMicrotask(this.#turnEnds);
    this.flush();
    if (this.#queue.busy) return false;
    const short = shortFrame(label, content);
    const sent = this.#socket.trySendFrom(short, NO_NUMBERS);
    if (sent === short.bytes) return true;
    if (sent === null) return false;
    const bytes = restOfShort(short, sent); // the scratch is used again
    return this.#queue.add({ begun: true, pieces: [{ bytes, fds: [] }] }, [], NO_OPTIONS);
  }

  readonly #turnEnds = (): void => {
    this.#collecting = false;
    this.flush();
  };

  /** A batch with room for the message. @throws UnixError ENOBUFS, ERR_CLOSED */
  #batchFor(content: Content): Batch {
    if (this.#socket.closed) throw closedError("sendmsg");
    this.#queue.checkRoom(content.maxBytes, this.#batch);
    if (this.#batch?.hasRoom(content, this.#frameBytes) === false) this.flush();
    if (this.#batch === null) {
      flushAtExit(this);
      this.#lookAtBuffer();
      this.#batch = new Batch();
    }
    return this.#batch;
  }

  /** Send what was collected, or have it wait in its turn. Never throws. */
  flush(): void {
    const batch = this.#batch;
    if (batch === null) return;
    this.#batch = null;
    hasFlushed(this);
    try {
      const { place } = batch;
      const sent = this.#queue.busy ? null : this.#socket.trySendFrom(place, NO_NUMBERS);
      batch.sent(sent ?? 0);
      if (sent !== place.bytes) this.#queue.addRest(batch, sent ?? 0);
    } catch (error) {
      batch.failed(error);
    }
    batch.recycle();
  }

  /** {@link write}, or undefined if the kernel has all of it at once. @throws as that rejects */
  start(label: Label, content: Content, options: WriteOptions): Promise<void> | undefined {
    options.signal?.throwIfAborted();
    this.#checkOpen();
    this.flush();
    const whole = this.#atOnce(label, content, options);
    return whole === true ? undefined : this.#queue.add(whole, content.fds, options);
  }

  /** Send if there is room now; false: nothing was sent. @throws UnixError */
  tryWrite(label: Label, content: Content, options: WriteOptions): boolean {
    this.#checkOpen();
    this.flush();
    if (this.#queue.busy) return false;
    const whole = this.#atOnce(label, content, options);
    if (whole === true) return true;
    if (!whole.begun) return false;
    // Part of it is out: the rest has to follow.
    this.#queue.add(whole, content.fds, { transfer: options.transfer }).catch(nothing);
    return true;
  }

  /** True if all went out, else what is left of it. */
  #atOnce(label: Label, content: Content, { transfer }: WriteOptions): true | Rest {
    const { maxBytes, fds } = content;
    if (transfer === true) checkGiven(fds);
    const short = !this.#queue.busy && fds.length <= MAX_FRAME_FDS && maxBytes <= this.#frameBytes;
    const rest = short ? this.#shortAtOnce(label, content) : this.#severalAtOnce(label, content);
    if (rest === true && transfer === true) closeGiven(fds);
    return rest;
  }

  #shortAtOnce(label: Label, content: Content): true | Rest {
    const { fds } = content;
    // before the frame stands in memory that others use, too: asking may run the caller's code
    const numbers = fds.length === 0 ? NO_NUMBERS : checkFds(fds, false);
    if (this.#queue.busy) return this.#severalAtOnce(label, content); // what that code has sent
    const short = shortFrame(label, content);
    const sent = this.#socket.trySendFrom(short, numbers);
    if (sent === short.bytes) return true;
    const begun = sent !== null;
    const bytes = restOfShort(short, sent ?? 0);
    return { begun, pieces: [{ bytes, fds: begun ? [] : fds }] };
  }

  #severalAtOnce(label: Label, content: Content): true | Rest {
    this.#lookAtBuffer();
    const maxBytes = this.#socket.type === "stream" ? MAX_FRAME_BYTES : this.#frameBytes;
    const pieces = split(label, content, { maxBytes });
    // a descriptor that is none must not be found when half of the message is out
    if (pieces.length > 1 && content.fds.length > 0) checkOpen(content.fds);
    // the caller's code, which may send, too, is not run between two frames
    const numbers = pieces.map(({ fds }) => checkFds(fds, false));
    if (this.#queue.busy) return { begun: false, pieces };
    for (const [i, { bytes }] of pieces.entries()) {
      const sent = this.#trySend(bytes, numbers[i]!, i > 0);
      if (sent === bytes.length) continue;
      const rest = pieces.slice(i);
      if (sent !== null) rest[0] = { bytes: bytes.subarray(sent), fds: [] };
      return { begun: i > 0 || sent !== null, pieces: rest };
    }
    return true;
  }

  #trySend(bytes: Uint8Array, fds: readonly number[], begun: boolean): number | null {
    try {
      return this.#socket.trySend(bytes, { fds });
    } catch (error) {
      if (begun) this.#onBroken(error);
      throw error;
    }
  }
}

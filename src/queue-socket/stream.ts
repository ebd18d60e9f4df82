// A connected queue socket: bytes in order over two queues, one each way.

import { errno } from "../../native/errno.ts";
import { integer } from "../base/checks.ts";
import type { Payload } from "../base/data.ts";
import type { Abortable, SyncOptions } from "../base/deadline.ts";
import { busy, UnixError } from "../base/errors.ts";
import { iterate } from "../base/iterate.ts";
import { MAX_QUEUED_BYTES } from "../base/limits.ts";
import { FdOwner } from "../fd/owner.ts";
import { rejected, settled } from "../loop/gate.ts";
import { QueueMessage } from "../message-queue/message.ts";
import { onePiece } from "../socket/send.ts";
import type { Credentials } from "../structs/credentials.ts";
import type { Piece } from "../syscalls/piece.ts";
import { QueueDirection } from "./direction.ts";
import { handOn, type InheritOptions, leaveToHeirs, type StreamState } from "./inherit.ts";
import { type QueueProcess, verifyReader } from "./peer-process.ts";
import { QueueReader } from "./reader.ts";
import { type ReceiveQueue, stopReading } from "./receive-queue.ts";
import type { SendQueue } from "./send-queue.ts";

/** Frames written in one go, before the rest of Bun's loop gets its turn. */
const FRAMES = 256;

/** @internal What a connection is made of. */
export interface Connection {
  readonly own: ReceiveQueue;
  readonly peer: SendQueue;
  readonly maxQueuedBytes?: number | undefined;
  /** How far a process before this one has come. */
  readonly state?: StreamState | undefined;
}

/** Options of one receive. */
export interface QueueReceiveOptions extends Abortable {
  /** Bytes at most; what is left of a frame comes with the next. Default: a whole frame. */
  readonly maxBytes?: number | undefined;
}

/**
 * A connected stream whose bytes travel through POSIX message queues: this end reads only from its
 * own queue and writes into the other's. Neither queue has a name. Made by `connectQueue` or a
 * {@link QueueListener}.
 *
 * Its end is the other's `end()`, its `close()`, or the death of its process, once all that was
 * sent before has been read.
 *
 * @see mq_overview(7), docs/queue-socket.md
 */
export class QueueSocket extends FdOwner implements AsyncDisposable {
  readonly #own: ReceiveQueue;
  readonly #peer: SendQueue;
  readonly #reader: QueueReader;
  readonly #reading: QueueDirection;
  readonly #writing: QueueDirection;
  readonly #maxQueuedBytes: number;
  #queuedBytes = 0;
  #rest: Uint8Array | null = null;
  #ended = false;
  #sendEnded = false;
  #handedOn = false;

  /** @internal */
  constructor({ own, peer, maxQueuedBytes = MAX_QUEUED_BYTES, state }: Connection) {
    super(own.handle);
    this.#own = own;
    this.#peer = peer;
    this.#maxQueuedBytes = maxQueuedBytes;
    this.#reader = new QueueReader(own);
    this.#reading = new QueueDirection(own.handle, "read", peer.holder);
    this.#writing = new QueueDirection(peer.handle, "write", peer.holder);
    if (state !== undefined) {
      this.#rest = state.rest;
      this.#ended = state.ended;
      this.#sendEnded = state.sendEnded;
    }
  }

  /** Both descriptors, borrowed: this end's queue, the other end's queue. See {@link inherit}. */
  get fds(): readonly [own: number, peer: number] {
    return [this.fd, this.#peer.handle.fd];
  }

  /** Bytes that wait in this process to be sent. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Messages in this end's queue that were no frames of the other end's, and were dropped. */
  get ignored(): number {
    return this.#reader.ignored;
  }

  /**
   * Who is at the other end: the process was seen to have the queue open, the user and group are
   * those that made the queue. Of the moment of the connection, or of the last `inherit`.
   */
  peerCredentials(): Credentials {
    this.open("peerCredentials");
    return this.#peer.credentials;
  }

  /** The other end's process, looked at closely. Close the result. */
  peer(): QueueProcess {
    this.open("peer");
    return verifyReader(this.#peer.credentials, this.#peer.holder.pidfd);
  }

  /**
   * The next bytes, when there are some; null at the end. Receives are served in the order they
   * were asked for.
   * @throws UnixError ERR_CLOSED; the signal's reason
   */
  receive(options: QueueReceiveOptions = {}): Promise<QueueMessage | null> {
    const max = maxBytesOf(options.maxBytes);
    try {
      this.open("mq_timedreceive");
      return this.#reading.wait({ tryOnce: () => this.#take(max) }, options.signal);
    } catch (error) {
      return rejected(error);
    }
  }

  /** The next bytes if some are here; null: the end; undefined: nothing now. */
  tryReceive(
    options: { readonly maxBytes?: number | undefined } = {},
  ): QueueMessage | null | undefined {
    const max = maxBytesOf(options.maxBytes);
    this.open("mq_timedreceive");
    return this.#take(max);
  }

  /** The next bytes, or null at the end; blocks the thread. @throws UnixError ETIMEDOUT */
  receiveSync(
    options: SyncOptions & { readonly maxBytes?: number | undefined } = {},
  ): QueueMessage | null {
    const max = maxBytesOf(options.maxBytes);
    this.open("mq_timedreceive");
    return this.#reading.block("mq_timedreceive", options, () => this.#take(max));
  }

  /** Messages until the end. Leaving the loop does not close the socket. */
  [Symbol.asyncIterator](): AsyncIterableIterator<QueueMessage> {
    return iterate(() => this.receive());
  }

  #take(max: number): QueueMessage | null | undefined {
    if (this.#rest !== null) return this.#cut(this.#rest, max);
    if (this.#ended) return null;
    let next = this.#next();
    if (next === undefined) next = this.#atEnd();
    if (next === null) this.#ended = true;
    return next ? this.#cut(next, max) : next;
  }

  #cut(data: Uint8Array, max: number): QueueMessage {
    this.#rest = data.length > max ? data.subarray(max) : null;
    return new QueueMessage(data.length > max ? data.slice(0, max) : data, 0);
  }

  /** Nothing is here. If the peer is gone, what it sent last may have come since. */
  #atEnd(): Uint8Array | null | undefined {
    if (this.#peer.holder.alive()) return undefined;
    for (;;) {
      const last = this.#next();
      if (last !== undefined) return last;
      if (this.#reader.empty) return null;
    }
  }

  /** The data of the next frame; null: the end; undefined: nothing now. */
  #next(): Uint8Array | null | undefined {
    for (let i = 0; i < FRAMES; i++) {
      const frame = this.#reader.next();
      if (frame === undefined) return undefined;
      if (frame?.kind === "data") return this.#reader.data();
      if (frame?.kind === "end" || frame?.kind === "close") return null;
      if (frame?.kind === "moved") this.#peer.moved(frame.identity);
      else this.#reader.ignored++;
    }
    this.#reading.later();
    return undefined;
  }

  /**
   * Send; resolves when the other end's queue has taken all of it. Sends are taken in the order
   * they were asked for; data that waits must not be changed until the promise settles.
   *
   * @throws TypeError at once, and later if data that waits was detached, transferred or made
   *   smaller (a part may be out by then: close it)
   * @throws UnixError EPIPE (the peer is gone, or after `end`), ENOBUFS (more than `maxQueuedBytes`
   *   wait already), ERR_CLOSED; the signal's reason
   */
  send(data: Payload, options: Abortable = {}): Promise<void> {
    const piece = onePiece(data);
    const { signal } = options;
    if (signal?.aborted === true) return rejected(signal.reason);
    try {
      this.#mayEndOrSend("mq_timedsend");
      const skip = this.#writing.idle ? this.#put(piece, 0) : 0;
      if (skip === piece.bytes) return settled(undefined);
      return this.#enqueue(piece, skip, signal);
    } catch (error) {
      return rejected(error);
    }
  }

  #enqueue(piece: Piece, from: number, signal: AbortSignal | undefined): Promise<void> {
    const { bytes } = piece;
    const waiting = bytes - from;
    if (this.#queuedBytes > 0 && this.#queuedBytes + waiting > this.#maxQueuedBytes) {
      const hint = `${this.#queuedBytes} bytes wait already: await send() before sending more`;
      throw new UnixError("send", -errno.ENOBUFS, { hint });
    }
    this.#queuedBytes += waiting;
    let skip = from;
    let rest = piece;
    const operation = {
      tryOnce: (): true | undefined => {
        skip = this.#put(rest, skip);
        return skip === bytes ? true : undefined;
      },
      cleanup: () => void (this.#queuedBytes -= waiting),
      partlyDone: () => {
        if (skip > 0) rest = rest.kept(); // the caller's buffer is free now
        return skip > 0;
      },
    };
    return this.#writing.wait(operation, signal).then(() => {});
  }

  /** Write frames until there is no room; how far that came. */
  #put(piece: Piece, from: number): number {
    const { bytes } = piece;
    const max = this.#peer.dataBytes;
    let at = from;
    for (let i = 0; at < bytes; i++) {
      if (i === FRAMES) {
        this.#writing.later();
        return at;
      }
      if (!this.#peer.holder.alive()) throw gone();
      const to = Math.min(at + max, bytes);
      if (!this.#peer.putData(piece, at, to)) return at;
      at = to;
    }
    return at;
  }

  #mayEndOrSend(syscall: string): void {
    this.open(syscall);
    if (this.#sendEnded) throw new UnixError(syscall, -errno.EPIPE, { hint: "after end()" });
  }

  /** Send what fits now: the bytes taken; null: none, or others wait already. */
  trySend(data: Payload): number | null {
    const piece = onePiece(data);
    this.#mayEndOrSend("mq_timedsend");
    if (piece.bytes === 0) return 0;
    return (this.#writing.idle ? this.#put(piece, 0) : 0) || null;
  }

  /** Send all of it, blocking the thread. @throws UnixError as `send`, ETIMEDOUT, EBUSY */
  sendSync(data: Payload, options: SyncOptions = {}): void {
    const piece = onePiece(data);
    this.#mayEndOrSend("mq_timedsend");
    if (!this.#writing.idle) throw busy();
    let skip = 0;
    this.#writing.block("mq_timedsend", options, () => {
      skip = this.#put(piece, skip);
      return skip === piece.bytes ? true : undefined;
    });
  }

  /**
   * Half-close: the other end reads what was sent before, then the end. Receiving goes on. Queued
   * sends go out first, and the end waits for room as they do. Does nothing the second time.
   */
  end(): void {
    if (this.closed || this.#sendEnded) return;
    this.#sendEnded = true;
    const tryOnce = (): true | undefined => {
      if (!this.#peer.holder.alive()) return true;
      return this.#peer.putSign("end") ? true : undefined;
    };
    if (this.#writing.idle && tryOnce() === true) return;
    this.#writing.wait({ tryOnce }, undefined).catch(() => {}); // closed meanwhile
  }

  /**
   * Let this socket live on in another program: after exec in this process, or in a child. The
   * result goes there (environment, arguments) and is good for one `adoptQueueSocket`. Without `as`
   * both descriptors are no longer close-on-exec; with `as` they are for a child that gets them
   * under those numbers: `Bun.spawn(…, { stdio: [0, 1, 2, ...socket.fds] })` and `as: [3, 4]`. From
   * then on `close()` here leaves the connection to the process that has it.
   *
   * @throws UnixError EBUSY while sends are queued, EPIPE, ERR_CLOSED
   */
  inherit(options: InheritOptions = {}): string {
    this.open("inherit");
    if (!this.#writing.idle) throw busy();
    if (this.#peer.handle.closed) throw gone(); // before the answer had been read
    const state = { rest: this.#rest, ended: this.#ended, sendEnded: this.#sendEnded };
    const token = handOn({ own: this.#own, peer: this.#peer, state }, options);
    this.#handedOn = true;
    return token;
  }

  /** @internal This process has it now: tell the other end whose death to wait for. */
  announce(): void {
    const tryOnce = (): true | undefined =>
      !this.#peer.holder.alive() || this.#peer.putIdentity("moved", this.#own.identity)
        ? true
        : undefined;
    if (tryOnce() === undefined) this.#writing.wait({ tryOnce }, undefined).catch(() => {});
  }

  /** @internal */
  protected reference(on: boolean): void {
    this.#reading.referenced = on;
    this.#writing.referenced = on;
    this.#peer.holder.referenced = on;
  }

  /**
   * Close at once: the other end reads what it has got, then the end. What waits here gets
   * ERR_CLOSED, queued sends are dropped. Never throws.
   */
  close(): void {
    if (this.closed) return;
    const { handle } = this.#own;
    if (this.#handedOn) leaveToHeirs(handle, () => this.#peer.putSign("close"));
    else {
      // in this order: if there is no room for the sign, the lock is found free later
      stopReading(this.#own);
      tryQuietly(() => this.#peer.putSign("close"));
    }
    this.#peer.close();
    this.#rest = null;
  }

  /** Close once the queued sends are out. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.closed && !this.#writing.idle) {
      await this.#writing.wait({ tryOnce: () => true }, undefined).catch(() => {});
    }
    this.close();
  }
}

function tryQuietly(call: () => unknown): void {
  try {
    call();
  } catch {
    // no process is there to be told
  }
}

function gone(): UnixError {
  return new UnixError("mq_timedsend", -errno.EPIPE, { hint: "the peer is gone" });
}

const maxBytesOf = (maxBytes: number | undefined): number =>
  maxBytes === undefined ? Infinity : integer("maxBytes", maxBytes, { min: 1 });

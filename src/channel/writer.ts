// Whole messages out: as frames, in the order they were given, none of them in part.

import { errno } from "../../native/errno.ts";
import { check, UnixError } from "../base/errors.ts";
import { Fd, type FdLike, fdNumber } from "../fd/fd.ts";
import type { SeqpacketSocket } from "../socket/seqpacket.ts";
import type { StreamSocket } from "../socket/stream.ts";
import {
  CHANNEL_HEADER,
  type ChannelKind,
  encodeChannelHeader,
  MAX_FRAME_BYTES,
  MAX_FRAME_FDS,
  PACKET_BYTES,
} from "../structs/channel-frame.ts";
import { descriptorFlags } from "../syscalls/fd.ts";
import type { Encoded } from "./codec.ts";

/** What a message is sent with. */
export interface WriteOptions {
  /** Give up; the promise rejects with the reason. What has begun is sent whole. */
  readonly signal?: AbortSignal | undefined;
  /** Close the descriptors once the kernel has them. */
  readonly transfer?: boolean | undefined;
}

/** What stands in a message's headers. */
export interface Label {
  readonly kind: ChannelKind;
  readonly number: number;
}

/** One send: header and bytes, and the descriptors that go with its first byte. */
interface Piece {
  readonly bytes: Uint8Array;
  readonly fds: readonly FdLike[];
}

interface Entry {
  /** Part of it is out. */
  begun: boolean;
  readonly pieces: readonly Piece[];
  /** Closed when it has ended, in whatever way. */
  readonly owned: readonly Fd[];
  /** The caller's, to be closed once all of it is out. */
  readonly given: readonly FdLike[];
  readonly bytes: number;
  readonly signal: AbortSignal | undefined;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

/** Bytes that may wait in this process, and what a message costs beside its own. */
const MAX_QUEUED_BYTES = 64 * 1024 * 1024;
const ENTRY_BYTES = 256;

/** Messages up to this size are put together here: no memory is taken for one that goes at once. */
const scratch = Buffer.from(new ArrayBuffer(CHANNEL_HEADER + PACKET_BYTES));
/** Bytes that one UTF-16 unit becomes at most. */
const UTF8_FACTOR = 3;

/** Sends whole messages over a socket that nothing else sends on. */
export class FrameWriter {
  readonly #socket: StreamSocket | SeqpacketSocket;
  readonly #onBroken: (reason: unknown) => void;
  readonly #queue: Entry[] = [];
  #queuedBytes = 0;
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
    while (this.#flushing) await this.#last;
  }

  /** Take nothing more; what waits is sent, and then the socket's half-close. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
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
      return this.start(label, encoded, options) ?? Promise.resolve();
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** {@link write}, or undefined where the kernel has all of it at once. @throws as that rejects */
  start(label: Label, encoded: Encoded, options: WriteOptions): Promise<void> | undefined {
    options.signal?.throwIfAborted();
    this.#checkOpen();
    const whole = this.#atOnce(label, encoded, options);
    return whole === true ? undefined : this.#enqueue(whole, encoded.fds, options);
  }

  /** Send if there is room now; false: nothing was sent. @throws UnixError */
  tryWrite(label: Label, encoded: Encoded, options: WriteOptions): boolean {
    this.#checkOpen();
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
    const short = this.#flushing ? null : shortFrame(label, encoded);
    const rest =
      short === null
        ? this.#severalAtOnce(split(label, encoded, this.#limits), fds)
        : this.#shortAtOnce(short, fds);
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
    const cost = this.#queuedBytes + bytes + this.#queue.length * ENTRY_BYTES;
    if (!begun && this.#queuedBytes > 0 && cost > MAX_QUEUED_BYTES) {
      const hint = `${this.#queuedBytes} bytes wait already: await send() before sending more`;
      throw new UnixError("send", -errno.ENOBUFS, { hint });
    }
    const given = options.transfer === true ? fds : [];
    const { owned, pieces: kept } =
      given.length > 0 ? { owned: [], pieces } : this.#keep(pieces, begun);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const signal = begun ? undefined : options.signal;
    const entry: Entry = { begun, pieces: kept, owned, given, bytes, signal, resolve, reject };
    if (begun) this.#queue.unshift(entry);
    else this.#queue.push(entry);
    this.#queuedBytes += bytes;
    if (signal !== undefined) this.#dropOnAbort(entry, signal, promise);
    if (!this.#flushing) this.#last = this.#flush();
    return promise;
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

  async #flush(): Promise<void> {
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
    for (const fd of entry.owned) fd.close();
    if (failed === null) {
      closeGiven(entry.given);
      entry.resolve();
    } else entry.reject(failed.reason);
  }
}

/** What is left of a message, and whether part of it is out. */
interface Rest {
  readonly begun: boolean;
  readonly pieces: Piece[];
}

interface SplitLimits {
  /** Of one frame, without its header. */
  readonly maxBytes: number;
}

/** What is given away must be closable. @throws TypeError */
function checkGiven(fds: readonly FdLike[]): void {
  for (const fd of fds) {
    if (typeof fd === "number" || typeof (fd as { close?: unknown }).close === "function") continue;
    throw new TypeError("transfer takes numbers, and objects with a close()");
  }
}

/** Close descriptors that were given away, each once. */
export function closeGiven(fds: readonly FdLike[]): void {
  for (const fd of new Set(fds)) {
    if (typeof fd === "number") Fd.adopt(fd).close();
    else (fd as { close(): void }).close();
  }
}

/** @throws TypeError, RangeError; UnixError EBADF */
function checkOpen(fds: readonly FdLike[]): void {
  for (const fd of fds) check(descriptorFlags(fdNumber(fd)), "fcntl");
}

interface Kept {
  readonly owned: Fd[];
  readonly pieces: Piece[];
}

/** Duplicates for as long as the message waits: the caller may close his own. */
function keep(pieces: readonly Piece[]): Kept {
  const owned: Fd[] = [];
  try {
    const kept = pieces.map(({ bytes, fds }) => {
      const own = fds.map((fd) => Fd.duplicate(fd));
      owned.push(...own);
      return { bytes, fds: own };
    });
    return { owned, pieces: kept };
  } catch (error) {
    for (const fd of owned) fd.close();
    throw error;
  }
}

/** A message that fits into the scratch, there; null for longer ones. */
function shortFrame({ kind, number }: Label, { data, fds }: Encoded): Uint8Array | null {
  if (fds.length > MAX_FRAME_FDS) return null;
  let bytes: number;
  if (typeof data === "string") {
    if (data.length * UTF8_FACTOR > PACKET_BYTES) return null;
    bytes = scratch.write(data, CHANNEL_HEADER);
  } else {
    if (data.length > PACKET_BYTES) return null;
    scratch.set(data, CHANNEL_HEADER);
    bytes = data.length;
  }
  encodeChannelHeader(scratch, { kind, number, bytes, fds: fds.length, more: false });
  return scratch.subarray(0, CHANNEL_HEADER + bytes);
}

/** A message as frames, each with its header in front. */
function split({ kind, number }: Label, encoded: Encoded, { maxBytes }: SplitLimits): Piece[] {
  const data = typeof encoded.data === "string" ? Buffer.from(encoded.data) : encoded.data;
  const pieces: Piece[] = [];
  let [at, fdsAt] = [0, 0];
  do {
    const part = data.subarray(at, at + maxBytes);
    const fds = encoded.fds.slice(fdsAt, fdsAt + MAX_FRAME_FDS);
    at += part.length;
    fdsAt += fds.length;
    const bytes = new Uint8Array(CHANNEL_HEADER + part.length);
    bytes.set(part, CHANNEL_HEADER);
    const more = at < data.length || fdsAt < encoded.fds.length;
    const header = { kind, number, bytes: part.length, fds: fds.length, more };
    encodeChannelHeader(bytes, header);
    pieces.push({ bytes, fds });
  } while (at < data.length || fdsAt < encoded.fds.length);
  return pieces;
}

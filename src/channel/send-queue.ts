// Messages that wait for room: they go in their order, and one that has begun goes whole.

import { errno } from "../../native/errno.ts";
import { UnixError } from "../base/errors.ts";
import { MAX_QUEUED_BYTES } from "../base/limits.ts";
import type { Fd, FdLike } from "../fd/fd.ts";
import type { SeqpacketSocket } from "../socket/seqpacket.ts";
import type { StreamSocket } from "../socket/stream.ts";
import type { Batch } from "./batch.ts";
import { closeGiven, type HeldPieces, holdPieces, type Piece, type Rest } from "./pieces.ts";

/** What a message is sent with. */
export interface WriteOptions {
  /** Give up; the promise rejects with the reason. What has begun is sent whole. */
  readonly signal?: AbortSignal | undefined;
  /** Close the descriptors once the kernel has them. */
  readonly transfer?: boolean | undefined;
}

/** A message that has to wait, and its callbacks. They must not throw. */
interface Entry {
  /** Part of it is out. */
  begun: boolean;
  readonly pieces: readonly Piece[];
  /** Closed when it has ended, in whatever way. */
  readonly owned: readonly Fd[];
  /** The caller's, to be closed once all of it is out. */
  readonly given: readonly FdLike[];
  readonly bytes: number;
  /** More than one if they were collected. */
  readonly messages: number;
  readonly signal: AbortSignal | undefined;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

/** What a message that waits costs, in addition to its bytes. */
const ENTRY_BYTES = 256;

/** What waits on one socket that nothing else sends on. */
export class SendQueue {
  readonly #socket: StreamSocket | SeqpacketSocket;
  readonly #onBroken: (reason: unknown) => void;
  readonly #queue: Entry[] = [];
  #bytes = 0;
  #messages = 0;
  #sending = false;
  /** Ends with the queue. */
  #last: Promise<void> = Promise.resolve();

  /** @param onBroken part of a message is out and the rest cannot follow: nothing can be sent */
  constructor(socket: StreamSocket | SeqpacketSocket, onBroken: (reason: unknown) => void) {
    this.#socket = socket;
    this.#onBroken = onBroken;
  }

  /** Bytes that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Something waits for room. */
  get busy(): boolean {
    return this.#sending;
  }

  /** Resolves when nothing waits. */
  async idle(): Promise<void> {
    while (this.#sending) await this.#last;
  }

  /** @throws UnixError ENOBUFS: with these bytes and those of `batch` too many would wait */
  checkRoom(bytes: number, batch: Batch | null): void {
    const waiting = this.#bytes + (batch?.place.bytes ?? 0);
    const messages = this.#messages + (batch?.messages ?? 0);
    if (waiting === 0 || waiting + bytes + messages * ENTRY_BYTES <= MAX_QUEUED_BYTES) return;
    const hint = `${waiting} bytes wait already: await send() before sending more`;
    throw new UnixError("send", -errno.ENOBUFS, { hint });
  }

  /** Have a message wait, with duplicates of its descriptors: the caller may close its own. */
  add({ begun, pieces }: Rest, fds: readonly FdLike[], options: WriteOptions): Promise<void> {
    const bytes = pieces.reduce((sum, piece) => sum + piece.bytes.length, 0);
    if (!begun) this.checkRoom(bytes, null);
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

  /** Have what is left of a batch wait, of which `sent` bytes are out. */
  addRest(batch: Batch, sent: number): void {
    const bytes = batch.rest(sent);
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

  #push(entry: Entry): void {
    if (entry.begun) this.#queue.unshift(entry);
    else this.#queue.push(entry);
    this.#bytes += entry.bytes;
    this.#messages += entry.messages;
    if (!this.#sending) this.#last = this.#sendAll();
  }

  #keep(pieces: readonly Piece[], begun: boolean): HeldPieces {
    try {
      return holdPieces(pieces);
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

  async #sendAll(): Promise<void> {
    this.#sending = true;
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
    this.#sending = false;
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
    this.#bytes -= entry.bytes;
    this.#messages -= entry.messages;
    for (const fd of entry.owned) fd.close();
    if (failed === null) {
      closeGiven(entry.given);
      entry.resolve();
    } else entry.reject(failed.reason);
  }
}

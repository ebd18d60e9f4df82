// A stream in the pieces of a protocol: a number of bytes, a line, up to a byte, the rest.

import { errno } from "../../native/errno.ts";
import { integer } from "../base/checks.ts";
import { closedError, UnixError } from "../base/errors.ts";
import type { Fd } from "../fd/fd.ts";
import type { Message } from "./message.ts";

/** How a {@link SocketReader} reads. */
export interface ReaderOptions {
  /** Bytes of one piece, at most: longer ones are EMSGSIZE. Default 1 MiB. */
  readonly maxBytes?: number | undefined;
  /** Descriptors that came and wait to be taken, at most: more are EMSGSIZE. Default 253. */
  readonly maxFds?: number | undefined;
}

/** How one piece is read. */
export interface ReadOptions {
  /** Give up; nothing is lost: the next read begins where this one began. */
  readonly signal?: AbortSignal | undefined;
}

/** Where the bytes come from. */
interface Source {
  readonly closed: boolean;
  receive(options: ReadOptions): Promise<Message | null>;
}

/** Descriptors, and the byte before which they cannot have been sent. */
interface Arrived {
  readonly fds: Fd[];
  readonly from: number;
}

const MAX_BYTES = 1024 * 1024;
const MAX_FDS = 253;
const MIN_ROOM = 4096;
const NEWLINE = 10;
const RETURN = 13;
const EMPTY = new Uint8Array(0);
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/**
 * Reads a stream socket in pieces, and keeps what came behind them for the next. Made by
 * `socket.reader()`. One read at a time; nothing else may receive on the socket meanwhile, and what
 * the reader has taken in is in the reader only. A read that fails, or is given up, takes nothing.
 *
 * Descriptors come with the first byte of their own send: take them after the piece with that byte.
 * Those that were not taken are closed by `close()` or `using`, which leave the socket open.
 */
export class SocketReader implements Disposable {
  readonly #source: Source;
  readonly #maxBytes: number;
  readonly #maxFds: number;
  #data: Uint8Array = EMPTY;
  /** Unread bytes are those from `#at` to `#end`. */
  #at = 0;
  #end = 0;
  /** Bytes that came before `#at`. */
  #passed = 0;
  #arrived: Arrived[] = [];
  #fdCount = 0;
  #ended = false;
  #busy = false;

  /** @internal */
  constructor(source: Source, options: ReaderOptions = {}) {
    this.#source = source;
    this.#maxBytes = integer("maxBytes", options.maxBytes ?? MAX_BYTES, { min: 1 });
    this.#maxFds = integer("maxFds", options.maxFds ?? MAX_FDS);
  }

  /** Bytes that came and were not read. */
  get bufferedBytes(): number {
    return this.#end - this.#at;
  }

  /**
   * Exactly `bytes` bytes; null if the peer ended before the first of them.
   * @throws RangeError (more than `maxBytes`); UnixError EPROTO (the peer ended in them),
   *   ECONNRESET, ERR_CLOSED, EBUSY (another read is under way); the signal's reason
   */
  exactly(bytes: number, options: ReadOptions = {}): Promise<Uint8Array | null> {
    integer("bytes", bytes, { max: this.#maxBytes });
    return this.#alone(async () => {
      while (this.bufferedBytes < bytes) {
        if (!(await this.#more(options))) return this.#cut();
      }
      return this.#take(bytes);
    });
  }

  /**
   * Text up to a newline, "\n" or "\r\n", without it; null at the end. What has no newline before
   * the end is a line, too.
   * @throws UnixError EMSGSIZE (longer than `maxBytes`), and as {@link exactly}
   */
  line(options: ReadOptions = {}): Promise<string | null> {
    return this.#alone(async () => {
      const length = await this.#find(NEWLINE, options);
      if (length === null && this.bufferedBytes === 0) return null;
      const bytes = this.#take(length === null ? this.bufferedBytes : length + 1);
      const end = length ?? bytes.length;
      const last = length !== null && bytes[end - 1] === RETURN ? end - 1 : end;
      return decoder.decode(bytes.subarray(0, last));
    });
  }

  /**
   * Bytes up to the next `byte`, 0 to 255, without it; null if the peer ended before the first.
   * @throws UnixError EMSGSIZE (longer than `maxBytes`), and as {@link exactly}
   */
  until(byte: number, options: ReadOptions = {}): Promise<Uint8Array | null> {
    integer("byte", byte, { max: 255 });
    return this.#alone(async () => {
      const length = await this.#find(byte, options);
      if (length === null) return this.#cut();
      return this.#take(length + 1).subarray(0, length);
    });
  }

  /**
   * All bytes until the peer ends.
   * @throws UnixError EMSGSIZE (more than `maxBytes`), and as {@link exactly}
   */
  rest(options: ReadOptions = {}): Promise<Uint8Array> {
    return this.#alone(async () => {
      while (await this.#more(options)) this.#checkLength(this.bufferedBytes);
      return this.#take(this.bufferedBytes);
    });
  }

  /**
   * Descriptors that came with what was read, in the order in which they were sent: all, or the
   * first `count`. They are the caller's to close. The kernel does not say with which byte of one
   * receive they came: if a piece is followed by another with descriptors, say how many.
   */
  takeFds(count: number = Number.MAX_SAFE_INTEGER): Fd[] {
    if (count !== Number.MAX_SAFE_INTEGER) integer("count", count);
    const taken: Fd[] = [];
    for (let one = this.#arrived[0]; one !== undefined; one = this.#arrived[0]) {
      if (one.from >= this.#passed || taken.length === count) break;
      taken.push(...one.fds.splice(0, count - taken.length));
      if (one.fds.length === 0) this.#arrived.shift();
    }
    this.#fdCount -= taken.length;
    return taken;
  }

  /** Close the descriptors that were not taken. The socket stays open. */
  close(): void {
    for (const { fds } of this.#arrived.splice(0)) for (const fd of fds) fd.close();
    this.#fdCount = 0;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async #alone<T>(read: () => Promise<T>): Promise<T> {
    if (this.#source.closed) throw closedError("recvmsg");
    if (this.#busy) {
      throw new UnixError("read", -errno.EBUSY, { hint: "another read is under way: await it" });
    }
    this.#busy = true;
    try {
      return await read();
    } finally {
      this.#busy = false;
    }
  }

  /** How many bytes stand before the next `byte`; null: it does not come before the end. */
  async #find(byte: number, options: ReadOptions): Promise<number | null> {
    for (let seen = 0; ; ) {
      const found = this.#data.subarray(this.#at + seen, this.#end).indexOf(byte);
      const length = seen + (found < 0 ? this.bufferedBytes - seen : found);
      this.#checkLength(length);
      if (found >= 0) return length;
      seen = length;
      if (!(await this.#more(options))) return null;
    }
  }

  #checkLength(bytes: number): void {
    if (bytes <= this.#maxBytes) return;
    const hint = `what comes is longer than maxBytes, ${this.#maxBytes}`;
    throw new UnixError("read", -errno.EMSGSIZE, { hint });
  }

  /** The end: null if nothing stands before it. */
  #cut(): null {
    if (this.bufferedBytes === 0) return null;
    throw new UnixError("read", -errno.EPROTO, { hint: "the peer ended in the middle" });
  }

  #take(bytes: number): Uint8Array {
    const taken = this.#data.slice(this.#at, this.#at + bytes);
    this.#at += bytes;
    this.#passed += bytes;
    return taken;
  }

  /** Take in what comes next; false at the end. */
  async #more({ signal }: ReadOptions): Promise<boolean> {
    if (this.#ended) return false;
    const message = await this.#source.receive({ signal });
    if (message === null) {
      this.#ended = true;
      return false;
    }
    const from = this.#passed + this.bufferedBytes;
    const fds = message.alone ? [] : message.takeFds();
    const { fdsTruncated } = message;
    message.close();
    if (fds.length > 0) this.#arrived.push({ fds, from });
    this.#fdCount += fds.length;
    this.#append(message.data);
    if (fdsTruncated) {
      const hint = "descriptors were lost: raise the limit of open files, or acceptFds";
      throw new UnixError("read", -errno.EMFILE, { hint });
    }
    if (this.#fdCount > this.#maxFds) {
      const hint = `more descriptors came than maxFds, ${this.#maxFds}, and were not taken`;
      throw new UnixError("read", -errno.EMSGSIZE, { hint });
    }
    return true;
  }

  #append(chunk: Uint8Array): void {
    const rest = this.bufferedBytes;
    if (rest === 0) {
      this.#data = chunk;
      this.#at = 0;
      this.#end = chunk.length;
      return;
    }
    const need = rest + chunk.length;
    if (this.#data.length - this.#end < chunk.length) {
      const room = new Uint8Array(Math.max(2 * need, MIN_ROOM));
      room.set(this.#data.subarray(this.#at, this.#end));
      this.#data = room;
      this.#at = 0;
      this.#end = rest;
    }
    this.#data.set(chunk, this.#end);
    this.#end += chunk.length;
  }
}

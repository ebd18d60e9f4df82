// What is written to a node:stream, in the moment it is written. The first write of a turn goes to
// the kernel at once, as a net.Socket's does. Small ones that follow it are held until the turn
// ends and go as one message: waking a peer for half an answer is wasted. What the kernel does not
// take is node:stream's, which queues it and asks the writer to wait.

import { nextTick, queueMicrotask } from "../base/timers.ts";
import { bytesIn, hasByteElements, isView, Memory, viewOf } from "../syscalls/memory.ts";
import type { StreamSocket } from "./stream.ts";

/** Tells the writer that a write is done, or why it failed. */
export type Done = (error?: Error | null) => void;

/** The stream as it is asked here. */
export interface Queue {
  readonly writable: boolean;
  readonly writableLength: number;
  readonly writableCorked: number;
  /** node:stream's own `write`. */
  queue(chunk: unknown, encoding: unknown, done: Done | undefined): boolean;
}

/** Bytes that are held at most. */
const ROOM = 64 * 1024;
/** Longest UTF-8 of one unit of a string. */
const UTF8_UNIT = 3;
/** After this many bytes in one turn node:stream queues, and asks writers to wait for "drain". */
const TURN_BYTES = 256 * 1024;

/** What one stream has written in this turn and not sent. One stream at a time holds something. */
let holder: Writes | null = null;
let heldBytes = 0;
let heldDones: Done[] = [];
let room: Memory | null = null;

/** The stream that has written to the kernel last in this turn. */
let last: Writes | null = null;
let turnBytes = 0;
let turning = false;

function turn(): void {
  if (turning) return;
  turning = true;
  queueMicrotask(endTurn);
}

function endTurn(): void {
  turning = false;
  last = null;
  turnBytes = 0;
  holder?.flush();
}

/** Send what is held. */
export function flushHeld(): void {
  holder?.flush();
}

/** So much was written in this turn that the rest of Bun's loop has to run. */
export const isTurnFull = (): boolean => turnBytes > TURN_BYTES;

/** What is held goes out although the process ends in this turn. */
let atExit = false;

const encoder = new TextEncoder();

/** The most bytes that `chunk` can be when sent; 0: node:stream reports what is wrong with it. */
function maxBytes(chunk: unknown, encoding: unknown): number {
  if (typeof chunk === "string") return encoding === "utf8" ? chunk.length * UTF8_UNIT : 0;
  if (!isView(chunk)) return 0;
  try {
    const bytes = bytesIn(chunk);
    return hasByteElements(chunk, bytes) ? bytes : 0;
  } catch {
    return 0; // they are gone
  }
}

/** The writing side of one stream, before node:stream's queue. */
export class Writes {
  readonly #socket: StreamSocket;
  readonly #stream: Queue;
  readonly #active: () => void;
  /** Why the kernel took nothing: for the write that node:stream is asked for next. */
  #failure: unknown = null;
  /** Even the first write is held (facts: #http-server-writes-head-and-body). */
  gathers = false;
  defaultEncoding: unknown = "utf8";
  bytesSent = 0;
  /** Callbacks of writes that the kernel has, which come in the next tick. */
  telling = 0;

  /** `active` is called whenever bytes have gone. */
  constructor(socket: StreamSocket, stream: Queue, active: () => void) {
    this.#socket = socket;
    this.#stream = stream;
    this.#active = active;
    if (!atExit) process.on("exit", flushHeld);
    atExit = true;
  }

  get heldBytes(): number {
    return holder === this ? heldBytes : 0;
  }

  /** Nothing waits in node:stream that this would overtake. */
  get free(): boolean {
    const stream = this.#stream;
    return stream.writable && stream.writableLength === 0 && stream.writableCorked === 0;
  }

  /** As node:stream's `write`. */
  write(chunk: unknown, encoding: unknown, done: Done | undefined): boolean {
    const bytes =
      this.free && !isTurnFull() ? maxBytes(chunk, encoding ?? this.defaultEncoding) : 0;
    if (bytes === 0 || bytes >= ROOM) {
      this.flush();
      return this.#stream.queue(chunk, encoding, done);
    }
    turn();
    const data = chunk as string | Uint8Array;
    if (!this.gathers && last !== this && holder !== this) return this.#now(data, done);
    if (holder !== this || heldBytes + bytes > ROOM) flushHeld();
    if (!this.free) return this.#stream.queue(chunk, encoding, done);
    this.#hold(data, done);
    return true;
  }

  #now(chunk: string | Uint8Array, done: Done | undefined): boolean {
    last = this;
    let sent: number | null;
    try {
      sent = this.#socket.trySend(chunk);
    } catch (error) {
      this.#failure = error;
      return this.#stream.queue(chunk, undefined, done);
    }
    if (sent === null) return this.#stream.queue(chunk, undefined, done);
    this.#count(sent);
    const bytes = typeof chunk === "string" ? Buffer.byteLength(chunk) : bytesIn(chunk);
    if (sent < bytes) {
      const rest =
        typeof chunk === "string" ? Buffer.from(chunk).subarray(sent) : viewOf(chunk, sent);
      return this.#stream.queue(rest, undefined, done);
    }
    if (done !== undefined) this.#tellLater(done);
    return true;
  }

  #tellLater(done: Done): void {
    this.telling += 1;
    nextTick(() => {
      this.telling -= 1;
      done(null);
    });
  }

  #count(bytes: number): void {
    this.bytesSent += bytes;
    turnBytes += bytes;
    this.#active();
  }

  #hold(chunk: string | Uint8Array, done: Done | undefined): void {
    const { bytes } = (room ??= new Memory(ROOM));
    holder = this;
    if (typeof chunk === "string") {
      heldBytes += encoder.encodeInto(chunk, bytes.subarray(heldBytes)).written;
    } else {
      bytes.set(chunk, heldBytes);
      heldBytes += bytesIn(chunk);
    }
    if (done !== undefined) heldDones.push(done);
  }

  /** Send what is held; what the kernel does not take is node:stream's. */
  flush(): void {
    if (holder !== this || room === null) return;
    const [all, dones] = [room.bytes.subarray(0, heldBytes), heldDones];
    holder = null;
    heldBytes = 0;
    if (dones.length > 0) heldDones = [];
    let sent: number | null = null;
    try {
      sent = this.#socket.trySend(all);
    } catch (error) {
      this.#failure = error;
    }
    this.#count(sent ?? 0);
    if (sent === all.length) for (const done of dones) this.#tellLater(done);
    else this.#stream.queue(Buffer.from(all.subarray(sent ?? 0)), undefined, joined(dones));
  }

  /**
   * node:stream's turn to write: what is left of `chunks` when the kernel has taken what it takes
   * now.
   * @throws UnixError
   */
  pass(chunks: readonly Uint8Array[]): readonly Uint8Array[] {
    const failure = this.#failure;
    this.#failure = null;
    if (failure !== null) throw failure;
    if (isTurnFull()) return chunks;
    turn();
    const sent = this.#socket.trySend(chunks.length === 1 ? chunks[0]! : chunks) ?? 0;
    this.#count(sent);
    return after(chunks, sent);
  }

  /** Write `chunk` with descriptors now: what is left of it; all of it if that failed. */
  tryFds(chunk: Uint8Array, fds: readonly number[]): Uint8Array | null {
    if (isTurnFull()) return chunk;
    turn();
    let sent: number;
    try {
      sent = this.#socket.trySend(chunk, { fds }) ?? 0;
    } catch {
      return chunk; // the next try, of the stream, says why
    }
    this.#count(sent);
    return sent === chunk.length ? null : sent === 0 ? chunk : viewOf(chunk, sent);
  }
}

/** What follows the first `bytes` bytes. */
function after(chunks: readonly Uint8Array[], bytes: number): Uint8Array[] {
  const rest: Uint8Array[] = [];
  let left = bytes;
  for (const chunk of chunks) {
    if (left < chunk.length || (left === 0 && chunk.length > 0)) rest.push(chunk.subarray(left));
    left = Math.max(0, left - chunk.length);
  }
  return rest;
}

const joined = (dones: readonly Done[]): Done | undefined =>
  dones.length === 0
    ? undefined
    : (error) => {
        for (const done of dones) done(error);
      };

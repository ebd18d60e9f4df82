// What a node:stream needs of a StreamSocket. No function of the user's runs inside a promise of
// this library: what a listener throws is uncaught, as with a net.Socket, and the stream goes on.

import type { Duplex } from "node:stream";
import { callAlone, throwAlone } from "../base/callbacks.ts";
import { closedError } from "../base/errors.ts";
import { nextTurn, queueMicrotask, setImmediate } from "../base/timers.ts";
import { closeMany } from "../fd/closing.ts";
import { Fd, type FdLike } from "../fd/fd.ts";
import { ticksFirst, turnFirst } from "../loop/rounds.ts";
import { bufferOver, hasByteElements, isView } from "../syscalls/memory.ts";
import type { Message } from "./message.ts";
import { type Done, flushHeld, type Queue, Writes } from "./node-writes.ts";
import { checkFds, duplicateAll } from "./send.ts";
import type { StreamSocket } from "./stream.ts";

/** What a node:stream asks of us; the stream itself is made with it. */
export class Bridge {
  readonly socket: StreamSocket;
  readonly #stream: Duplex & Queue;
  readonly #active: () => void;
  readonly writes: Writes;
  /** Descriptors that wait to be written, by the very bytes they go with. */
  readonly #fds = new Map<Uint8Array, Fd[]>();
  #receiving = false;
  /** The stream was asked for data. */
  #wanted = false;
  /** What came before that: its descriptors wait for listeners that are added later. */
  #held: Message | null = null;
  /** The stream has enough for now: go on receiving. */
  #resume: (() => void) | null = null;
  /** What node:stream has given to write, until it is told. */
  #writing: readonly Uint8Array[] | null = null;
  /** A writer was told, and what it does then goes on until the loop's next turn. */
  #told = false;
  /** What a listener threw waits to be thrown, before the next message comes. */
  #threw = false;
  bytesRead = 0;

  /** `active` is called whenever bytes have come or gone. */
  constructor(socket: StreamSocket, stream: Duplex & Queue, active: () => void) {
    this.socket = socket;
    this.#stream = stream;
    this.#active = active;
    this.writes = new Writes(socket, stream, active);
  }

  writeWithFds(bytes: Uint8Array, fds: readonly FdLike[]): boolean {
    if (!isView(bytes) || !hasByteElements(bytes)) throw new TypeError("bytes is a Uint8Array");
    const numbers = checkFds(fds, false);
    // a view of its own: the same bytes written twice are two writes
    const chunk = bufferOver(bytes);
    if (chunk.length === 0) throw new RangeError("at least one byte goes with descriptors");
    this.writes.flush();
    const rest = this.writes.free ? this.writes.tryFds(chunk, numbers) : chunk;
    if (rest === null) return true;
    if (rest === chunk && numbers.length > 0) this.#fds.set(chunk, own(duplicateAll(numbers)));
    return this.#stream.queue(rest, undefined, (error) => {
      if (error) closeAll(this.#takeFds(chunk));
    });
  }

  #takeFds(chunk: Uint8Array): Fd[] {
    const fds = this.#fds.get(chunk) ?? [];
    this.#fds.delete(chunk);
    return fds;
  }

  /** node:stream's turn to write. */
  write(chunks: readonly Uint8Array[], done: Done): void {
    let rest = chunks;
    if (this.#fds.size === 0) {
      try {
        rest = this.writes.pass(chunks);
      } catch (error) {
        this.#tell(done, error as Error);
        return;
      }
      if (rest.length === 0) {
        ticksFirst(); // node:stream tells the writer in the next tick
        done();
        return;
      }
    }
    this.#active();
    this.#writing = rest;
    this.#sendAll(rest).then(
      (bytes) => {
        this.writes.bytesSent += bytes;
        this.#active();
        this.#wrote(done);
      },
      (error) => this.#wrote(done, error),
    );
  }

  #wrote(done: Done, error?: Error): void {
    this.#writing = null;
    this.#alone(() => this.#tell(done, error));
  }

  #tell(done: Done, error?: Error): void {
    if (!this.#told) {
      this.#told = true;
      turnFirst();
      setImmediate(() => {
        this.#told = false;
      });
    }
    done(error);
  }

  /**
   * What a writer asks to be told with, in a later tick; that comes before any answer, too. What an
   * HTTP server is told is that its own answer went out: the next request is no answer to it, and
   * waits for a turn of the loop only if the kernel had no room for that one.
   */
  telling(done: Done): Done {
    ticksFirst();
    return this.writes.gathers ? done : (error) => this.#tell(done, error as Error);
  }

  /**
   * A write that the kernel has, and of which the writer is being told, comes before what the peer
   * does because of it; so does what the writer puts off to the loop's next turn (setImmediate): an
   * HTTP client uses no connection again whose request has no end yet when the answer comes. null:
   * there is none. What is written meanwhile is not waited for: nothing would come to one who
   * writes in every turn.
   */
  #writerTold(): Promise<void> | null {
    const out = this.#out;
    const told = this.#told || (this.writes.telling > 0 && !this.writes.gathers);
    return told || out !== null ? this.#afterWriter(out) : null;
  }

  /** What is being written, once the kernel has it. */
  get #out(): readonly Uint8Array[] | null {
    return this.#writing !== null && this.socket.queuedBytes === 0 ? this.#writing : null;
  }

  async #afterWriter(out: readonly Uint8Array[] | null): Promise<void> {
    while (out !== null && this.#out === out) await nextTurn();
    await nextTurn();
  }

  /** Writes without descriptors are gathered; each with descriptors begins a send of its own. */
  async #sendAll(chunks: readonly Uint8Array[]): Promise<number> {
    let group: Uint8Array[] = [];
    let bytes = 0;
    for (const chunk of chunks) {
      if (this.#fds.has(chunk) && group.length > 0) {
        await this.#send(group);
        group = [];
      }
      group.push(chunk);
      bytes += chunk.length;
    }
    if (group.length > 0) await this.#send(group);
    return bytes;
  }

  async #send(chunks: Uint8Array[]): Promise<void> {
    const fds = this.#takeFds(chunks[0]!);
    try {
      await this.socket.send(chunks, { fds });
    } finally {
      closeAll(fds); // sent or not: closing twice does nothing
    }
  }

  /** Notice the peer's end, and take in a first message, although the stream was not asked yet. */
  begin(): void {
    if (this.#receiving || this.#stream.destroyed) return;
    this.#receiving = true;
    this.socket
      .consumeBuffers((message) => this.#came(message))
      .finally(() => this.#writerTold())
      .then(
        () => this.#ended(),
        (error) => this.#failed(error),
      );
  }

  /** The stream is asked for data. */
  read(): void {
    this.#wanted = true;
    this.begin();
    const held = this.#held;
    this.#held = null;
    if (held === null) this.#goOn();
    else queueMicrotask(() => this.#deliver(held) && this.#goOn());
  }

  #goOn(): void {
    const resume = this.#resume;
    this.#resume = null;
    resume?.();
  }

  /** The next message waits for a promise, until the stream asks for more. */
  #came(message: Message): Promise<void> | undefined {
    const told = this.#writerTold();
    return told === null ? this.#take(message) : told.then(() => this.#take(message));
  }

  #take(message: Message): Promise<void> | undefined {
    if (this.#wanted || this.#stream.destroyed) {
      this.#threw = false;
      if (this.#deliver(message)) return this.#threw ? Promise.resolve() : undefined;
    } else this.#held = message;
    return new Promise((resume) => {
      this.#resume = resume;
    });
  }

  /** False: that is enough for now. */
  #deliver(message: Message): boolean {
    const stream = this.#stream;
    if (stream.destroyed) {
      message.close();
      return true;
    }
    const { data } = message;
    this.bytesRead += data.length;
    this.#active();
    const sent = this.writes.bytesSent;
    if (!message.alone) this.#announce(message);
    let more = true;
    try {
      more = stream.push(data);
    } catch (error) {
      this.#threw = true;
      throwAlone(error);
      // a listener that threw has had its bytes: the next ones are the next call's
      this.#alone(() => stream.read(0));
    }
    flushHeld();
    if (this.writes.bytesSent === sent) ticksFirst(); // else it has answered
    return more;
  }

  #announce(message: Message): void {
    const fds = message.takeFds().map((fd) => fd.release());
    message.close();
    if (fds.length === 0) return;
    this.#alone(() => {
      if (!this.#stream.emit("fds", fds)) closeMany(fds);
    });
  }

  #failed(error: Error): void {
    if (!this.#stream.destroyed) this.#stream.destroy(error);
  }

  /** As a net.Socket does: if nothing is left to read, "end" comes without a reader, too. */
  #ended(): void {
    if (this.#stream.destroyed) return;
    if (this.socket.closed) {
      this.#failed(closedError("recvmsg"));
      return;
    }
    this.#alone(() => {
      this.#stream.push(null);
      this.#stream.read(0);
    });
  }

  /** Call what runs functions of the user's. */
  #alone(call: () => unknown): void {
    if (!callAlone(call)) this.#threw = true;
  }

  end(done: Done): void {
    this.socket.end();
    ticksFirst(); // "finish" comes in the next tick
    this.#tell(done);
  }

  close(): void {
    this.writes.flush();
    this.socket.close();
    this.#held?.close();
    this.#held = null;
    this.#goOn();
    for (const fds of this.#fds.values()) closeAll(fds);
    this.#fds.clear();
  }
}

const own = (fds: number[]): Fd[] => fds.map((fd) => Fd.adopt(fd, "writeWithFds"));

function closeAll(fds: readonly Fd[]): void {
  for (const fd of fds) fd.close();
}

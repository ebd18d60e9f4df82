// What a node:stream asks of a stream socket of ours. Nothing of the user's runs inside a promise
// of ours: what a listener throws is uncaught, as with a net.Socket, and the stream goes on.

import type { Duplex } from "node:stream";
import { closeMany } from "../fd/closing.ts";
import { Fd, type FdLike } from "../fd/fd.ts";
import { bufferOver, hasByteElements, isView } from "../syscalls/memory.ts";
import type { Message } from "./message.ts";
import { checkFds, duplicateAll } from "./send.ts";
import type { StreamSocket } from "./stream.ts";

/** Tells the stream that a write is done, or why it failed. */
type Done = (error?: Error | null) => void;

/** What a node:stream asks of us; the stream itself is made with it. */
export class Bridge {
  readonly socket: StreamSocket;
  readonly #stream: Duplex;
  readonly #active: () => void;
  /** Descriptors that wait to be written, by the very bytes they go with. */
  readonly #fds = new Map<Uint8Array, Fd[]>();
  #receiving = false;
  /** Somebody has asked the stream for data. */
  #wanted = false;
  /** What came before that: its descriptors are for listeners who may still come. */
  #held: Message | null = null;
  bytesRead = 0;
  bytesSent = 0;

  /** `active` is called whenever bytes have come or gone. */
  constructor(socket: StreamSocket, stream: Duplex, active: () => void) {
    this.socket = socket;
    this.#stream = stream;
    this.#active = active;
  }

  writeWithFds(bytes: Uint8Array, fds: readonly FdLike[]): boolean {
    if (!isView(bytes) || !hasByteElements(bytes)) throw new TypeError("bytes is a Uint8Array");
    const numbers = checkFds(fds, false);
    // a view of its own: the same bytes written twice are two writes
    const chunk = bufferOver(bytes);
    if (chunk.length === 0) throw new RangeError("at least one byte goes with descriptors");
    if (numbers.length > 0) this.#fds.set(chunk, own(duplicateAll(numbers)));
    return this.#stream.write(chunk, (error) => {
      if (error) closeAll(this.#take(chunk));
    });
  }

  #take(chunk: Uint8Array): Fd[] {
    const fds = this.#fds.get(chunk) ?? [];
    this.#fds.delete(chunk);
    return fds;
  }

  write(chunks: readonly Uint8Array[], done: Done): void {
    this.#active();
    this.#sendAll(chunks).then(
      (bytes) => {
        this.bytesSent += bytes;
        this.#active();
        alone(() => done());
      },
      (error) => alone(() => done(error)),
    );
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
    const fds = this.#take(chunks[0]!);
    try {
      await this.socket.send(chunks, { fds });
    } finally {
      closeAll(fds); // sent or not: closing twice does nothing
    }
  }

  /** Notice the peer's end, and take in a first message, although nobody has asked yet. */
  begin(): void {
    if (!this.#stream.destroyed && this.#held === null) this.#receive();
  }

  /** Somebody asks. */
  read(): void {
    this.#wanted = true;
    const held = this.#held;
    this.#held = null;
    if (held === null) this.#receive();
    else queueMicrotask(() => this.#deliver(held));
  }

  #receive(): void {
    if (this.#receiving) return;
    this.#receiving = true;
    this.socket.receive().then(
      (message) => {
        this.#receiving = false;
        if (message === null) this.#ended();
        else if (this.#wanted || this.#stream.destroyed) this.#deliver(message);
        else this.#held = message;
      },
      (error) => {
        this.#receiving = false;
        if (!this.#stream.destroyed) this.#stream.destroy(error);
      },
    );
  }

  #deliver(message: Message): void {
    if (this.#stream.destroyed) {
      message.close();
      return;
    }
    this.bytesRead += message.data.length;
    this.#active();
    const fds = message.takeFds().map((fd) => fd.release());
    message.close();
    alone(() => this.#announce(fds));
    // a listener that threw has had its bytes: the next ones are the next call's
    if (!alone(() => this.#stream.push(message.data))) alone(() => this.#stream.read(0));
  }

  #announce(fds: number[]): void {
    if (fds.length > 0 && !this.#stream.emit("fds", fds)) closeMany(fds);
  }

  /** As a net.Socket does: "end" comes also where nobody reads, if nothing is left to read. */
  #ended(): void {
    alone(() => {
      this.#stream.push(null);
      this.#stream.read(0);
    });
  }

  end(): void {
    this.socket.end();
  }

  close(): void {
    this.socket.close();
    this.#held?.close();
    this.#held = null;
    for (const fds of this.#fds.values()) closeAll(fds);
    this.#fds.clear();
  }
}

/**
 * Call what runs functions of the user's. What they throw is thrown where nothing of ours is around
 * it: an uncaught exception, of the process. False where they threw.
 */
function alone(call: () => unknown): boolean {
  try {
    call();
    return true;
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
    return false;
  }
}

const own = (fds: number[]): Fd[] => fds.map((fd) => Fd.adopt(fd, "writeWithFds"));

function closeAll(fds: readonly Fd[]): void {
  for (const fd of fds) fd.close();
}

// A node:stream over a stream socket that can also carry descriptors.

import { Duplex } from "node:stream";
import { Fd, type FdLike } from "./fd.ts";
import { checkFds, duplicateAll } from "./outgoing.ts";
import type { StreamSocket } from "./stream.ts";
import { close } from "./syscalls/fd.ts";

/**
 * What `toDuplex()` adds to a Duplex.
 *
 * The event `"fds"` brings descriptor numbers before the `"data"` whose first byte they came with.
 * They are the listener's to close; without a listener they are closed at once.
 */
export interface DescriptorDuplex {
  /**
   * Write `bytes` (at least one) with descriptors, which go with the first of them and never with
   * another write's, corked or not. They are duplicated: yours stay yours.
   * @returns like `write()`: false asks you to wait for "drain"
   * @throws RangeError, TypeError, UnixError EMFILE at once; nothing is written then
   */
  writeWithFds(bytes: Uint8Array, fds: readonly FdLike[]): boolean;
  /** Close descriptors that came and are not wanted. */
  closeFds(fds: readonly number[]): void;
  on(event: "fds", listener: (fds: number[]) => void): this;
  once(event: "fds", listener: (fds: number[]) => void): this;
}

interface Chunk {
  readonly chunk: Uint8Array;
}

type Callback = (error?: Error | null) => void;

class SocketDuplex extends Duplex {
  readonly #socket: StreamSocket;
  /** Descriptors that wait to be written, by the very bytes they go with. */
  readonly #fds = new Map<Uint8Array, Fd[]>();
  #reading = false;

  constructor(socket: StreamSocket) {
    super({ allowHalfOpen: true });
    this.#socket = socket;
  }

  writeWithFds(bytes: Uint8Array, fds: readonly FdLike[]): boolean {
    if (!(bytes instanceof Uint8Array)) throw new TypeError("bytes is a Uint8Array");
    if (bytes.length === 0) throw new RangeError("at least one byte goes with descriptors");
    // a view of its own: the same bytes written twice are two writes
    const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    checkFds(fds, false);
    if (fds.length > 0) this.#fds.set(chunk, own(duplicateAll(fds)));
    return this.write(chunk, (error) => {
      if (error) closeAll(this.#take(chunk));
    });
  }

  closeFds(fds: readonly number[]): void {
    for (const fd of fds) close(fd);
  }

  #take(chunk: Uint8Array): Fd[] {
    const fds = this.#fds.get(chunk) ?? [];
    this.#fds.delete(chunk);
    return fds;
  }

  override _write(chunk: Uint8Array, _encoding: string, callback: Callback): void {
    this.#send([chunk]).then(() => callback(), callback);
  }

  /** Writes without descriptors are gathered; each with descriptors begins a send of its own. */
  override _writev(chunks: Chunk[], callback: Callback): void {
    this.#sendAll(chunks.map(({ chunk }) => chunk)).then(() => callback(), callback);
  }

  async #sendAll(chunks: Uint8Array[]): Promise<void> {
    let group: Uint8Array[] = [];
    for (const chunk of chunks) {
      if (this.#fds.has(chunk) && group.length > 0) {
        await this.#send(group);
        group = [];
      }
      group.push(chunk);
    }
    if (group.length > 0) await this.#send(group);
  }

  async #send(chunks: Uint8Array[]): Promise<void> {
    const fds = this.#take(chunks[0]!);
    try {
      await this.#socket.send(chunks, { fds });
    } finally {
      closeAll(fds); // sent or not: closing twice does nothing
    }
  }

  override _read(): void {
    if (this.#reading) return;
    this.#reading = true;
    this.#socket.receive().then(
      (message) => {
        this.#reading = false;
        if (message === null) {
          this.push(null);
          return;
        }
        this.#announce(message.takeFds().map((fd) => fd.release()));
        message.close();
        this.push(message.data);
      },
      (error) => {
        this.#reading = false;
        if (!this.destroyed) this.destroy(error);
      },
    );
  }

  #announce(fds: number[]): void {
    if (fds.length > 0 && !this.emit("fds", fds)) this.closeFds(fds);
  }

  override _final(callback: Callback): void {
    this.#socket.end();
    callback();
  }

  override _destroy(error: Error | null, callback: Callback): void {
    this.#socket.close();
    for (const fds of this.#fds.values()) closeAll(fds);
    this.#fds.clear();
    callback(error);
  }

  ref(): this {
    this.#socket.ref();
    return this;
  }

  unref(): this {
    this.#socket.unref();
    return this;
  }
}

const own = (fds: number[]): Fd[] => fds.map((fd) => Fd.adopt(fd, "writeWithFds"));

function closeAll(fds: readonly Fd[]): void {
  for (const fd of fds) fd.close();
}

/** @internal */
export function makeDuplex(socket: StreamSocket): DescriptorDuplex & Duplex {
  return new SocketDuplex(socket);
}

// A node:stream over a stream socket that can also carry descriptors.

import type { Duplex } from "node:stream";
import { closeMany } from "./closing.ts";
import { Fd, type FdLike } from "./fd.ts";
import type { Message } from "./message.ts";
import { checkFds, duplicateAll } from "./outgoing.ts";
import type { StreamSocket } from "./stream.ts";
import { bufferOver, hasByteElements, isView } from "./syscalls/memory.ts";

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
  /** Descriptors came, before the bytes that they came with: the listener's to close. */
  on(event: "fds", listener: (fds: number[]) => void): this;
  /** `on`, for the next ones only. */
  once(event: "fds", listener: (fds: number[]) => void): this;
  /** Keep the process alive while the stream reads. The default. */
  ref(): this;
  /** Do not keep the process alive for the stream. */
  unref(): this;
}

interface Chunk {
  readonly chunk: Uint8Array;
}

/** What a node:stream asks of us. The stream itself is made with it, by {@link makeDuplex}. */
class Bridge {
  readonly #socket: StreamSocket;
  readonly #stream: () => Duplex;
  /** Descriptors that wait to be written, by the very bytes they go with. */
  readonly #fds = new Map<Uint8Array, Fd[]>();
  #reading = false;

  constructor(socket: StreamSocket, stream: () => Duplex) {
    this.#socket = socket;
    this.#stream = stream;
  }

  writeWithFds(bytes: Uint8Array, fds: readonly FdLike[]): boolean {
    if (!isView(bytes) || !hasByteElements(bytes)) throw new TypeError("bytes is a Uint8Array");
    const numbers = checkFds(fds, false);
    // a view of its own: the same bytes written twice are two writes
    const chunk = bufferOver(bytes);
    if (chunk.length === 0) throw new RangeError("at least one byte goes with descriptors");
    if (numbers.length > 0) this.#fds.set(chunk, own(duplicateAll(numbers)));
    return this.#stream().write(chunk, (error) => {
      if (error) closeAll(this.#take(chunk));
    });
  }

  closeFds(fds: readonly number[]): void {
    closeMany(fds);
  }

  #take(chunk: Uint8Array): Fd[] {
    const fds = this.#fds.get(chunk) ?? [];
    this.#fds.delete(chunk);
    return fds;
  }

  /** Writes without descriptors are gathered; each with descriptors begins a send of its own. */
  async write(chunks: readonly Uint8Array[]): Promise<void> {
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

  read(): void {
    if (this.#reading) return;
    this.#reading = true;
    this.#socket.receive().then(
      (message) => {
        this.#reading = false;
        this.#push(message);
      },
      (error) => {
        this.#reading = false;
        const stream = this.#stream();
        if (!stream.destroyed) stream.destroy(error);
      },
    );
  }

  #push(message: Message | null): void {
    if (message !== null) {
      this.#announce(message.takeFds().map((fd) => fd.release()));
      message.close();
    }
    this.#stream().push(message === null ? null : message.data);
  }

  #announce(fds: number[]): void {
    if (fds.length > 0 && !this.#stream().emit("fds", fds)) this.closeFds(fds);
  }

  end(): void {
    this.#socket.end();
  }

  close(): void {
    this.#socket.close();
    for (const fds of this.#fds.values()) closeAll(fds);
    this.#fds.clear();
  }
}

const own = (fds: number[]): Fd[] => fds.map((fd) => Fd.adopt(fd, "writeWithFds"));

function closeAll(fds: readonly Fd[]): void {
  for (const fd of fds) fd.close();
}

/** @internal node:stream is loaded when it is first asked for: it takes longer than all of us. */
export function makeDuplex(socket: StreamSocket): DescriptorDuplex & Duplex {
  const { Duplex: Base } = process.getBuiltinModule("node:stream");
  const bridge = new Bridge(socket, () => stream);
  const stream: Duplex = new Base({
    allowHalfOpen: true,
    read: () => bridge.read(),
    write: (chunk: Uint8Array, _encoding, done) => {
      bridge.write([chunk]).then(() => done(), done);
    },
    writev: (chunks: Chunk[], done) => {
      bridge.write(chunks.map(({ chunk }) => chunk)).then(() => done(), done);
    },
    final: (done) => {
      bridge.end();
      done();
    },
    destroy: (error, done) => {
      bridge.close();
      done(error);
    },
  });
  const whole: DescriptorDuplex & Duplex = Object.assign(stream, {
    writeWithFds: (bytes: Uint8Array, fds: readonly FdLike[]) => bridge.writeWithFds(bytes, fds),
    closeFds: (fds: readonly number[]) => bridge.closeFds(fds),
    ref() {
      socket.ref();
      return whole;
    },
    unref() {
      socket.unref();
      return whole;
    },
  });
  return whole;
}

// A stream of bytes, taken in pieces of a known length, as most protocols need it.

import type { Fd, StreamSocket } from "bunix";

export class Pieces {
  /** Descriptors that came and were not taken yet, in order; never later than their bytes. */
  readonly fds: Fd[] = [];
  readonly #socket: StreamSocket;
  #bytes = Buffer.alloc(0);

  constructor(socket: StreamSocket) {
    this.#socket = socket;
  }

  /** The next `count` bytes. */
  async take(count: number): Promise<Buffer> {
    while (this.#bytes.length < count) {
      const message = await this.#socket.receive();
      if (message === null) throw new Error("the server has gone");
      this.fds.push(...message.takeFds());
      this.#bytes = Buffer.concat([this.#bytes, message.data]);
    }
    const taken = this.#bytes.subarray(0, count);
    this.#bytes = this.#bytes.subarray(count);
    return taken;
  }

  /** The next descriptor; from now on it is the caller's to close. */
  takeFd(): Fd {
    const fd = this.fds.shift();
    if (fd === undefined) throw new Error("no descriptor came");
    return fd;
  }
}

// Where a channel receives: one piece of memory for all channels of a thread.

import type { Feed } from "../loop/consume.ts";
import type { Received } from "../socket/message.ts";
import type { SeqpacketSocket } from "../socket/seqpacket.ts";
import type { StreamSocket } from "../socket/stream.ts";

/** As sockets themselves have it (facts: #large-receive-buffer). */
const BYTES = 256 * 1024;

let shared: Uint8Array | null = null;
/** A channel is looking at `shared`. Its handler may turn Bun's loop, and others receive then. */
let used = false;

/** Receives from a socket, without a copy: the bytes stay until they have been used. */
export class ReceiveRoom implements Feed<Received> {
  readonly #socket: StreamSocket | SeqpacketSocket;
  #bytes: Uint8Array | null = null;

  constructor(socket: StreamSocket | SeqpacketSocket) {
    this.#socket = socket;
  }

  once(): Received | null | undefined {
    this.#bytes = used ? new Uint8Array(BYTES) : (shared ??= new Uint8Array(BYTES));
    return this.#socket.tryReceiveInto(this.#bytes);
  }

  /** Look at what `once` received; nothing of it may be needed when `look` has returned. */
  use<T>(look: (bytes: Uint8Array) => T): T {
    const bytes = this.#bytes!;
    const before = used;
    used ||= bytes === shared;
    try {
      return look(bytes);
    } finally {
      used = before;
    }
  }
}

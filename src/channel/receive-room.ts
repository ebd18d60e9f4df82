// Where a channel receives: one piece of memory for all channels of a thread.

import type { Feed } from "../loop/consume.ts";
import type { Received } from "../socket/message.ts";
import type { SeqpacketSocket } from "../socket/seqpacket.ts";
import type { StreamSocket } from "../socket/stream.ts";
import { Room } from "./room.ts";

/** As sockets themselves have it (facts: #large-receive-buffer). */
const BYTES = 256 * 1024;

const EMPTY = new Room(0);
let shared: Room | null = null;
/** A channel is looking at `shared`. Its handler may turn Bun's loop, and others receive then. */
let used = false;

/** Receives from a socket, without a copy: the bytes stay until they have been used. */
export class ReceiveRoom implements Feed<Received> {
  readonly #socket: StreamSocket | SeqpacketSocket;
  #room: Room | null = null;

  constructor(socket: StreamSocket | SeqpacketSocket) {
    this.#socket = socket;
  }

  tryOnce(): Received | null | undefined {
    this.#room = used ? new Room(BYTES) : (shared ??= new Room(BYTES));
    return this.#socket.tryReceiveHere(this.#room);
  }

  /**
   * What `tryOnce` received is looked at from now on. The caller passes the result to `end` when it
   * needs nothing of it any more.
   */
  begin(): boolean {
    const before = used;
    used ||= this.#room === shared;
    return before;
  }

  end(before: boolean): void {
    used = before;
  }

  /** What `tryOnce` received begins here. */
  get room(): Room {
    return this.#room ?? EMPTY;
  }
}

// SOCK_SEQPACKET: connected, in order, with boundaries.

import { errno } from "../../native/errno.ts";
import { option } from "../../native/socket.ts";
import { UnixError } from "../base/errors.ts";
import type { Fd } from "../fd/fd.ts";
import { setOption } from "../syscalls/socket.ts";
import type { Kind } from "./endpoint.ts";
import type { Message, Received } from "./message.ts";
import type { Settings } from "./options.ts";
import { PacketSocket } from "./packet.ts";
import { type Room, receiveOnce } from "./receive.ts";

const KIND: Kind = {
  name: "seqpacket",
  receives: {
    place: "SeqpacketSocket.receive",
    wantSender: false,
    zeroBytes: "end-unless-ancillary",
  },
  stream: false,
};

/**
 * A connected seqpacket socket: each send is one message, however short, and is received as one.
 *
 * An empty message and the end look alike to recvmsg. Here they are told apart by a time stamp
 * that the kernel attaches to messages and not to the end (SO_TIMESTAMP, which unlike SO_PASSCRED
 * does not give the socket a name).
 *
 * A peer that closes with messages of ours unread makes the kernel report ECONNRESET before the
 * messages that it had sent. Here what was sent comes first, then the error, then the end.
 *
 * @see unix(7)
 */
export class SeqpacketSocket extends PacketSocket {
  #reset: UnixError | null = null;

  /** @internal */
  constructor(handle: Fd, settings: Settings) {
    super(handle, settings, KIND);
    if (option.SO_TIMESTAMP !== null) setOption(handle.fd, option.SO_TIMESTAMP, 1);
  }

  /** Always "seqpacket". */
  get type(): "seqpacket" {
    return "seqpacket";
  }

  /** @internal */
  protected override get kind(): Kind {
    return KIND;
  }

  /** @internal As `#dataFirst`, without a function for each message. */
  override take(maxBytes: number): Message | null | undefined {
    if (this.#reset === null) {
      try {
        return receiveOnce(this.fd, this.rules, maxBytes);
      } catch (error) {
        this.#noteReset(error);
      }
    }
    return this.#orReset(receiveOnce(this.fd, this.rules, maxBytes));
  }

  /** @internal */
  protected override takeInto(into: Room, bytes: number): Received | null | undefined {
    return this.#dataFirst(() => super.takeInto(into, bytes));
  }

  #dataFirst<T>(take: () => T | null | undefined): T | null | undefined {
    if (this.#reset === null) {
      try {
        return take();
      } catch (error) {
        this.#noteReset(error);
      }
    }
    return this.#orReset(take());
  }

  #noteReset(error: unknown): void {
    if (!(error instanceof UnixError) || error.errno !== -errno.ECONNRESET) throw error;
    this.#reset = error;
  }

  #orReset<T>(next: T | null | undefined): T {
    if (next) return next;
    const reset = this.#reset;
    this.#reset = null;
    throw reset;
  }

  /** @internal */
  protected override takeBatch(max: number, maxBytes: number): Message[] | null | undefined {
    return this.#dataFirst(() => super.takeBatch(max, maxBytes));
  }

  /**
   * Half-close: the peer receives what was sent before, then the end. Receiving goes on. Queued
   * sends go out first. Does nothing the second time.
   * @see shutdown(2)
   */
  end(): void {
    this.endSending();
  }

  /** @internal Another program may have room for descriptors only, and lose them to the stamp. */
  protected override beforeRelease(): void {
    if (option.SO_TIMESTAMP !== null) setOption(this.fd, option.SO_TIMESTAMP, 0);
  }
}

// What the sockets with message boundaries share: many messages with one system call.

import { integer } from "../base/checks.ts";
import type { Abortable } from "../base/deadline.ts";
import { Piece } from "../syscalls/piece.ts";
import { AGAIN } from "../syscalls/result.ts";
import {
  allFit,
  type BatchMessage,
  type Item,
  isBare,
  receiveBatchOnce,
  sendBatchOnce,
  toBatch,
  WaitingItems,
} from "./batch.ts";
import type { Message } from "./message.ts";
import { MessagingSocket } from "./messaging.ts";
import { receiveFailed } from "./receive.ts";
import { type Outgoing, sendError } from "./send.ts";

/** Messages that one receiveBatch may return. */
const MAX_BATCH = 1024;

/** How much one `receiveBatch` takes. */
export interface ReceiveBatchOptions {
  /** Messages at most, 1 to 1,024. Default 32. */
  readonly max?: number | undefined;
  /** Bytes of each message at most. Default: the socket's `maxMessageBytes`. */
  readonly maxBytes?: number | undefined;
}

/** A socket whose messages have boundaries: many of them with one system call. */
export abstract class PacketSocket extends MessagingSocket {
  /**
   * Send messages in their order, many with one system call; resolves when the kernel has taken
   * all of them. If one fails, those before it were sent and those after it were not.
   * @see sendmmsg(2)
   */
  async sendBatch(messages: readonly BatchMessage[], options: Abortable = {}): Promise<void> {
    const items = this.#checked(messages);
    options.signal?.throwIfAborted();
    const atOnce = this.idle ? this.#sendSome(items) : 0;
    if (atOnce === items.length) return;
    using waiting = new WaitingItems(items.slice(atOnce));
    await this.#sendInTurn(waiting.items, options.signal);
  }

  /** The next in line waits like any other send; when there is room, many go at once again. */
  async #sendInTurn(items: readonly Item[], signal: AbortSignal | undefined): Promise<void> {
    for (let sent = 0; sent < items.length; ) {
      await this.sendItem(items[sent]!, signal);
      sent += 1;
      if (this.idle && sent < items.length) sent += this.#sendSome(items.slice(sent));
    }
  }

  /** Send those that fit now: how many of them. @throws UnixError only if the first one failed */
  trySendBatch(messages: readonly BatchMessage[]): number {
    this.open("sendmmsg");
    const items = this.#checked(messages);
    return this.idle ? this.#sendSome(items) : 0;
  }

  #checked(messages: readonly BatchMessage[]): Item[] {
    const items = toBatch(messages);
    for (const item of items) if (!isBare(item)) this.checkMessage(item);
    return items;
  }

  #sendSome(items: readonly Item[]): number {
    const result = allFit(items) ? sendBatchOnce(this.open("sendmmsg"), items) : AGAIN;
    if (result >= 0) return result;
    if (result === AGAIN) return 0;
    const first = items[0]!;
    if (isBare(first)) throw this.sendFailed(result, { fds: [], credentials: undefined });
    const { to } = first;
    throw to === undefined ? this.sendFailed(result, first) : sendError(result, first, { to });
  }

  /** @internal One message of a batch, which waits if it must. */
  protected sendItem(item: Item, signal: AbortSignal | undefined): Promise<void> {
    return this.sendPrepared(isBare(item) ? alone(item) : item, { signal });
  }

  /**
   * The messages that are here, at most `max`; waits for the first. null: the peer has ended.
   * @see recvmmsg(2)
   */
  receiveBatch(options: ReceiveBatchOptions & Abortable = {}): Promise<Message[] | null> {
    const [max, maxBytes] = this.#bounds(options);
    return this.waitFor("read", options.signal, { tryOnce: () => this.takeBatch(max, maxBytes) });
  }

  /** The messages that are here; null: the peer has ended; undefined: nothing now. */
  tryReceiveBatch(options: ReceiveBatchOptions = {}): Message[] | null | undefined {
    this.open("recvmmsg");
    return this.takeBatch(...this.#bounds(options));
  }

  #bounds(options: ReceiveBatchOptions): [max: number, maxBytes: number] {
    const { max = 32, maxBytes = this.settings.maxMessageBytes } = options;
    const bounds = { min: 1 };
    return [
      integer("max", max, { ...bounds, max: MAX_BATCH }),
      integer("maxBytes", maxBytes, bounds),
    ];
  }

  /** @internal */
  protected takeBatch(max: number, maxBytes: number): Message[] | null | undefined {
    return receiveBatchOnce(this.fd, this.rules, { max, maxBytes, fail: receiveFailed });
  }
}

function alone(data: string | Piece): Outgoing {
  const piece = typeof data === "string" ? Piece.of(data) : data;
  const nothing = { fds: [], numbers: [], transfer: false, credentials: undefined };
  return { parts: [piece], total: piece.bytes, ...nothing };
}

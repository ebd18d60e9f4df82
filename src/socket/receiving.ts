// What receiving is made of: an operation that is tried, a hand-over that closes what was not
// taken, the room of a caller's buffer.

import type { Abortable } from "../base/deadline.ts";
import type { Again } from "../loop/again.ts";
import type { Operation } from "../loop/attempt.ts";
import { Consumer, type Feed, type Handler, isPromise } from "../loop/consume.ts";
import { bytesIn } from "../syscalls/memory.ts";
import type { Message, ReceivedMessage } from "./message.ts";

/** Options of one asynchronous receive. */
export interface ReceiveOptions extends Abortable {
  /** Bytes of data at most. Default: the socket's `maxMessageBytes`. */
  readonly maxBytes?: number | undefined;
}

/** Where messages come from, one by one. */
interface Source {
  take(maxBytes: number): Message | null | undefined;
}

/** Receives of at most `maxBytes` bytes. */
export class Receiving implements Operation<Message | null>, Feed<Message> {
  readonly #socket: Source;
  readonly #maxBytes: number;
  /** The waiter for the next one, in a loop. */
  again: Again<Message | null> | null = null;

  constructor(socket: Source, maxBytes: number) {
    this.#socket = socket;
    this.#maxBytes = maxBytes;
  }

  tryOnce(): Message | null | undefined {
    return this.#socket.take(this.#maxBytes);
  }
}

/** Hands over what may bring descriptors: those that were not taken are closed in the end. */
export class EnvelopeConsumer<T extends ReceivedMessage> extends Consumer<T> {
  protected override hand(message: T, handler: Handler<T>): unknown {
    return message.alone ? handler(message) : closing(message, handler);
  }
}

function closing<T extends ReceivedMessage>(message: T, handler: Handler<T>): unknown {
  let later: unknown;
  try {
    later = handler(message);
  } catch (error) {
    message.close();
    throw error;
  }
  if (isPromise(later)) return Promise.resolve(later).finally(() => message.close());
  message.close();
  return undefined;
}

/** How many bytes fit in; no more are written, even if the buffer changes. */
export function roomIn(buffer: ArrayBufferView): number {
  const bytes = bytesIn(buffer);
  if (bytes === 0) throw new RangeError("the buffer has no room");
  return bytes;
}

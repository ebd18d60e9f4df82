// What receiving is made of: a hand-over that closes what was not taken, the room of a caller's
// buffer.

import type { Abortable } from "../base/deadline.ts";
import { Consumer, type Handler, isPromise } from "../loop/consume.ts";
import { bytesIn } from "../syscalls/memory.ts";
import type { ReceivedMessage } from "./message.ts";

/** Options of one asynchronous receive. */
export interface ReceiveOptions extends Abortable {
  /** Bytes of data at most. Default: the socket's `maxMessageBytes`. */
  readonly maxBytes?: number | undefined;
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

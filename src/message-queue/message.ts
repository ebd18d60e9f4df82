// What goes into a message queue, and what comes out.

import { priorities } from "../../native/message-queue.ts";
import { integer } from "../base/checks.ts";
import type { Payload } from "../base/data.ts";
import { onePiece } from "../socket/send.ts";
import type { Piece } from "../syscalls/piece.ts";

const decoder = new TextDecoder();

/** A priority is an integer from 0 to this; higher ones are received first. */
export const maxPriority: number = (priorities.MQ_PRIO_MAX ?? 1) - 1;

/** Options of one send. */
export interface QueueSendOptions {
  /** 0 (the default) to {@link maxPriority}. Among equals the older message comes first. */
  readonly priority?: number | undefined;
}

/** What came out of a queue. */
export class QueueMessage {
  /** The bytes, in memory of their own. */
  readonly data: Uint8Array;
  /** The priority that it was sent with. */
  readonly priority: number;

  /** @internal */
  constructor(data: Uint8Array, priority: number) {
    this.data = data;
    this.priority = priority;
  }

  /** The data as UTF-8 text. */
  text(): string {
    return decoder.decode(this.data);
  }
}

/** @internal A message that is ready to be sent. */
export interface ReadyMessage {
  readonly piece: Piece;
  readonly priority: number;
}

/** @internal A message as one piece of bytes, checked before any call. */
export function ready(data: Payload, options: QueueSendOptions | undefined): ReadyMessage {
  const priority = integer("priority", options?.priority ?? 0, { max: maxPriority });
  return { piece: onePiece(data), priority };
}

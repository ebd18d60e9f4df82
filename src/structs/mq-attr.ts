// struct mq_attr: what a message queue can hold, and holds.

import { mqAttr } from "../../native/message-queue.ts";

/** What a queue can hold, and how many messages wait in it. */
export interface QueueAttributes {
  /** The most messages that it holds. */
  readonly maxMessages: number;
  /** The most bytes of one message. */
  readonly messageBytes: number;
  /** How many messages are in it now. */
  readonly currentMessages: number;
}

/** Bytes of a struct mq_attr. */
export const attributesRoom: number = mqAttr.size;

/** What a queue is made with. */
export function encodeAttributes(
  { maxMessages, messageBytes }: Pick<QueueAttributes, "maxMessages" | "messageBytes">,
  view: DataView,
): void {
  for (let at = 0; at < mqAttr.size; at += 4) view.setInt32(at, 0, true);
  view.setInt32(mqAttr.at.mq_maxmsg, maxMessages, true);
  view.setInt32(mqAttr.at.mq_msgsize, messageBytes, true);
}

/** The kernel's limits (65,536 messages, 16 MiB each) are far below what 32 bits hold. */
export function decodeAttributes(view: DataView): QueueAttributes {
  return {
    maxMessages: view.getUint32(mqAttr.at.mq_maxmsg, true),
    messageBytes: view.getUint32(mqAttr.at.mq_msgsize, true),
    currentMessages: view.getUint32(mqAttr.at.mq_curmsgs, true),
  };
}

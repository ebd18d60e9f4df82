// Frames out of one's own queue. What is none, or has another tag than ours, is dropped and
// counted.

import { check } from "../base/errors.ts";
import { decodeFrame, type Frame, headerBytes } from "../structs/queue-frame.ts";
import { Memory } from "../syscalls/memory.ts";
import { mqReceive, receivedPriority } from "../syscalls/message-queue.ts";
import { AGAIN } from "../syscalls/result.ts";
import type { ReceiveQueue } from "./receive-queue.ts";

export class QueueReader {
  readonly #own: ReceiveQueue;
  #room: Memory | null = null;
  #bytes = 0;
  /** Of the last message. */
  priority = 0;
  /** Messages dropped so far. */
  ignored = 0;
  /** Whether the last look found nothing. */
  empty = false;

  constructor(own: ReceiveQueue) {
    this.#own = own;
  }

  /** The next frame; null: a message that is none; undefined: the queue is empty. */
  next(): Frame | null | undefined {
    const { handle, messageBytes, identity } = this.#own;
    this.#room ??= new Memory(messageBytes);
    const received = mqReceive(handle.fd, this.#room);
    this.empty = received === AGAIN;
    if (this.empty) return undefined;
    this.#bytes = check(received, "mq_timedreceive");
    this.priority = receivedPriority();
    const frame = decodeFrame(this.#room.view, this.#bytes);
    if (frame === null) return null;
    const ours = frame.tagLow === identity.tagLow && frame.tagHigh === identity.tagHigh;
    return ours ? frame : null;
  }

  /** A copy of what follows byte `at` in the message of the last frame. */
  data(at: number = headerBytes): Uint8Array {
    return this.#room!.bytes.slice(at, this.#bytes);
  }
}

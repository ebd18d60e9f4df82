// POSIX message queues. Nothing here waits: the deadline of every send and receive is the epoch,
// which has passed, so it does not matter whether the descriptor itself blocks (a process that
// shares it may have set that). A full or empty queue then says ETIMEDOUT, or EAGAIN: both are
// AGAIN here.

import { errno } from "../../native/errno.ts";
import { file } from "../../native/file.ts";
import { timespec } from "../../native/time.ts";
import {
  attributesRoom,
  decodeAttributes,
  encodeAttributes,
  type QueueAttributes,
} from "../structs/mq-attr.ts";
import { encodeSigevent, type SignalRequest, sigeventBytes } from "../structs/sigevent.ts";
import { libc } from "./libc.ts";
import { addressOf, bytesIn, cells, cString, Memory } from "./memory.ts";
import { AGAIN, result, uninterrupted } from "./result.ts";

const attributes = new Memory(Math.max(attributesRoom, 8));
const epoch = new Memory(timespec.size);
const event = new Memory(sigeventBytes);
const LATE = -errno.ETIMEDOUT;

type Size = Pick<QueueAttributes, "maxMessages" | "messageBytes">;

/** A descriptor, or a negative errno. With `size` it is made, if there is none. */
export function mqOpen(
  name: string,
  flags: number,
  { mode = 0, size }: { mode?: number; size?: Size | undefined } = {},
): number {
  const text = cString(name);
  if (size !== undefined) encodeAttributes(size, attributes.view);
  const attr = size === undefined ? null : attributes.address;
  return uninterrupted(() => libc.mq_open(text.address, flags | file.O_CLOEXEC, mode, attr));
}

export function mqUnlink(name: string): number {
  const text = cString(name);
  return result(libc.mq_unlink(text.address));
}

/** Or a negative errno; EBADF also for a descriptor that is no queue's. */
export function mqGetattr(fd: number): QueueAttributes | number {
  const got = result(libc.mq_getattr(fd, attributes.address));
  return got < 0 ? got : decodeAttributes(attributes.view);
}

/** 0, or a negative errno. @throws TypeError if the bytes are gone */
export function mqSend(fd: number, view: ArrayBufferView, priority: number): number {
  const bytes = bytesIn(view);
  return mqSendFrom(fd, { address: addressOf(view, bytes), bytes }, priority);
}

/** The same of memory whose address is known. */
export function mqSendFrom(
  fd: number,
  { address, bytes }: { readonly address: number; readonly bytes: number },
  priority: number,
): number {
  const sent = uninterrupted(() => libc.mq_timedsend(fd, address, bytes, priority, epoch.address));
  return sent === LATE ? AGAIN : sent;
}

/** How many bytes are in `room` now, or a negative errno; then {@link receivedPriority}. */
export function mqReceive(fd: number, room: Memory): number {
  const { address, bytes } = room;
  const received = uninterrupted(() =>
    libc.mq_timedreceive(fd, address, bytes.length, cells.address, epoch.address),
  );
  return received === LATE ? AGAIN : received;
}

/**
 * The priority of the message that was just received: ask before the next system call, which may
 * use the same memory. A result of its own would be an object for each message.
 */
export const receivedPriority = (): number => cells.words[0]!;

/** Ask for a signal when a message comes into the empty queue; null: ask no more. */
export function mqNotify(fd: number, signal: SignalRequest | null): number {
  if (signal !== null) encodeSigevent(event.view, signal);
  return result(libc.mq_notify(fd, signal === null ? null : event.address));
}

// The queue that a socket reads from: without a name from the start, or with one of its own for as
// long as it lives. Its descriptor holds a lock, which says that a process reads from it (facts:
// #flock-on-a-queue).

import { fstatSync, futimesSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { file } from "../../native/file.ts";
import { integer } from "../base/checks.ts";
import { check, fileCall, UnixError } from "../base/errors.ts";
import { toJson } from "../base/printable.ts";
import { Fd } from "../fd/fd.ts";
import { checkQueueName } from "../message-queue/limits.ts";
import { isSame, openQueue, unlinkSame } from "../message-queue/open.ts";
import { ownUser } from "../message-queue/owner.ts";
import {
  headerBytes,
  identityBytes,
  type QueueIdentity,
  type QueueTag,
} from "../structs/queue-frame.ts";
import { close, tryLock, tryShareLock, unlock } from "../syscalls/fd.ts";
import { Memory } from "../syscalls/memory.ts";
import { mqGetattr, mqOpen, mqReceive, mqUnlink } from "../syscalls/message-queue.ts";
import { AGAIN } from "../syscalls/result.ts";

/** How large the queue is that a socket reads from. All queues of a user count together. */
export interface QueueSizeOptions {
  /** The most messages that wait in it. Default 8; the system's limit is usually 10. */
  readonly maxMessages?: number | undefined;
  /** The most bytes of one message, 16 of them a header. Default 4,096. */
  readonly messageBytes?: number | undefined;
}

/** A queue's size, every default filled in. */
export interface Size {
  readonly maxMessages: number;
  readonly messageBytes: number;
}

const MESSAGES = 8;
const BYTES = 4096;
/** @internal A listener's queue takes requests and nothing else: by that it is known. */
export const REQUEST_BYTES: number = headerBytes + identityBytes;
/** @internal All other queues take more. */
export const MIN_MESSAGE_BYTES = 64;

/** @throws TypeError, RangeError */
export function queueSize({ maxMessages, messageBytes }: QueueSizeOptions): Size {
  return {
    maxMessages: integer("maxMessages", maxMessages ?? MESSAGES, { min: 1 }),
    messageBytes: integer("messageBytes", messageBytes ?? BYTES, { min: MIN_MESSAGE_BYTES }),
  };
}

/** A queue of this process's. */
export interface ReceiveQueue {
  readonly handle: Fd;
  readonly identity: QueueIdentity;
  /** st_dev: which ipc namespace it is of. */
  readonly device: number;
  readonly messageBytes: number;
}

/** What the kernel's name of a socket's queue ends in: a plain queue is never taken for one. */
const SUFFIX = ".queue-socket";
const MAX_NAME_BYTES = 256 - SUFFIX.length;

/** The kernel's name for the queue of `name`. @throws TypeError, RangeError */
export function kernelName(name: string): string {
  checkQueueName(name);
  if (Buffer.byteLength(name) > MAX_NAME_BYTES) {
    throw new RangeError(
      `a queue socket's name has at most ${MAX_NAME_BYTES} bytes: ${toJson(name)}`,
    );
  }
  return name + SUFFIX;
}

/**
 * All who make a queue without a name make it under the same one, and all remove whatever has that
 * name: no process opens it. So what a process leaves that is killed between the two calls, the
 * next one removes. Another user may have the name: then a number is added.
 */
const TRIES = 64;

/** @internal A queue that cannot be found by a name. @throws QueueLimitError, UnsupportedError */
export function makeUnnamed(size: Size, place: string): ReceiveQueue {
  const shared = `/unnamed-${ownUser()}${SUFFIX}`;
  for (let tries = 0; ; tries++) {
    const name = tries < TRIES / 2 ? shared : `${shared}-${crypto.randomUUID()}`;
    try {
      const { fd } = openQueue(name, { create: true, exclusive: true, access: "read", ...size });
      mqUnlink(name); // ENOENT: another has removed it for us
      return claim(Fd.of(fd, place, "ours"));
    } catch (error) {
      if (!(error instanceof UnixError) || error.code !== "EEXIST" || tries > TRIES) throw error;
      mqUnlink(name);
    }
  }
}

/** Two random numbers of 32 bits, neither of them 0. */
function randomTag(): [low: number, high: number] {
  const [low = 0, high = 0] = crypto.getRandomValues(new Uint32Array(2));
  return [low || 1, high || 1];
}

/** Lock it, and write the tag where only its owner can: into the times of the queue's inode. */
function claim(handle: Fd): ReceiveQueue {
  try {
    check(tryLock(handle.fd), "flock");
    const [tagLow, tagHigh] = randomTag();
    fileCall(() => futimesSync(handle.fd, tagLow, tagHigh));
    return describe(handle, { tagLow, tagHigh });
  } catch (error) {
    handle.close();
    throw error;
  }
}

/** @internal What is known of a queue that this process reads from. @throws UnixError EBADF */
export function describe(handle: Fd, { tagLow, tagHigh }: QueueTag): ReceiveQueue {
  const attributes = mqGetattr(handle.fd);
  if (typeof attributes === "number") throw new UnixError("mq_getattr", attributes);
  const { ino: inode, dev: device } = fileCall(() => fstatSync(handle.fd));
  const identity = { pid: process.pid, fd: handle.fd, inode, tagLow, tagHigh };
  return { handle, identity, device, messageBytes: attributes.messageBytes };
}

/**
 * @internal A queue with a name that is its alone. One that a crash has left is removed first.
 * @throws UnixError EADDRINUSE, EACCES; QueueLimitError, UnsupportedError
 */
export function makeNamed(name: string, size: Size, place: string): ReceiveQueue {
  const kernel = kernelName(name);
  for (let tries = 0; tries < TRIES; tries++) {
    const made = makeNew(kernel, size);
    if (made === null) {
      if (!removeIfDead(kernel, name)) break;
      continue;
    }
    const handle = Fd.of(made, place, "ours");
    try {
      // else another process took it for a dead one's and removed it before we had locked it
      if (tryLock(made) >= 0 && isSame(kernel, made)) {
        return describe(handle, { tagLow: 0, tagHigh: 0 });
      }
    } catch (error) {
      unlinkQuietly(kernel, made);
      handle.close();
      throw error;
    }
    handle.close();
  }
  const hint = "a live listener or datagram socket has this name";
  throw new UnixError("mq_open", -errno.EADDRINUSE, { address: name, hint });
}

/** @internal Remove the name, if it still is this queue's; what stays is a dead one's. */
export function unlinkQuietly(kernel: string, fd: number): void {
  try {
    unlinkSame(kernel, fd);
  } catch {
    // removed by another process, or no descriptor is left to look with
  }
}

/** null: there is one of that name. */
function makeNew(kernel: string, size: Size): number | null {
  try {
    return openQueue(kernel, { create: true, exclusive: true, access: "read", ...size }).fd;
  } catch (error) {
    if (error instanceof UnixError && error.code === "EEXIST") return null;
    throw error;
  }
}

/**
 * @internal Stop reading from it. First the lock, then room: a sender that waits for room is woken,
 *   and finds the lock free.
 */
export function stopReading({ handle, messageBytes }: ReceiveQueue): void {
  unlock(handle.fd);
  const room = new Memory(messageBytes);
  for (let i = 0; i < TRIES; i++) if (mqReceive(handle.fd, room) < 0) break;
  handle.close();
}

/** Remove the queue of that name if no process holds it. False: one does. */
function removeIfDead(kernel: string, name: string): boolean {
  const fd = mqOpen(kernel, file.O_RDONLY | file.O_NONBLOCK);
  if (fd === -errno.ENOENT) return true;
  check(fd, "mq_open", { address: name, hint: "another user's socket has this name, or had it" });
  try {
    if (tryShareLock(fd) === AGAIN) return false; // the exclusive one: a living owner's
    const { uid } = fileCall(() => fstatSync(fd));
    if (uid !== ownUser()) {
      const hint = `uid ${uid} has left a queue of this name, which bunix never removes`;
      throw new UnixError("mq_open", -errno.EACCES, { address: name, hint });
    }
    // others may look too, and then we cannot have it alone: the next try will tell
    if (tryLock(fd) >= 0 && isSame(kernel, fd)) check(mqUnlink(kernel), "mq_unlink");
    return true;
  } finally {
    close(fd);
  }
}

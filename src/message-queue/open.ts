// From a queue's name to a descriptor: made or opened, its mode exact, alone if asked for.

import { fstatSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { file } from "../../native/file.ts";
import { priorities } from "../../native/message-queue.ts";
import { integer } from "../base/checks.ts";
import { check, fileCall, UnixError, UnsupportedError } from "../base/errors.ts";
import { Fd, type FdLike, fdNumber, ownFd } from "../fd/fd.ts";
import { close, fchmod, setCloseOnExec, statusFlags, tryLock } from "../syscalls/fd.ts";
import { mqGetattr, mqOpen, mqUnlink } from "../syscalls/message-queue.ts";
import { checkQueueName, completeSize, openError, type QueueSize } from "./limits.ts";
import { checkOwner, expectedOwner, type QueueOwner } from "./owner.ts";

/** Which directions a queue is opened for. */
export type Access = "read" | "write" | "read-write";

/** How a queue is opened. */
export interface QueueOptions {
  /** Make it if there is none. Default false. */
  readonly create?: boolean | undefined;
  /**
   * true (with `create`): fail with EEXIST if there is one already.
   *
   * "lifetime": be the only one with this word, for as long as the descriptor is open; others get
   * EBUSY. A queue whose holder died without unlinking it is taken over, with the messages in it.
   * It is a lock between those who ask for it (flock(2)): who opens the queue plainly gets in.
   */
  readonly exclusive?: boolean | "lifetime" | undefined;
  /**
   * Use the name only once: it is gone before `open` returns, and from then on only processes have
   * the queue that get its descriptor over a socket, or inherit it. With `create` the queue is a
   * new one (EEXIST otherwise) that no other user but root could open meanwhile. Without, of all
   * who open a queue with this word exactly one gets it; the others get ENOENT, or EBUSY.
   * `socket.send("a queue", { fds: [queue.release()], transfer: true })` hands it on and keeps
   * nothing; the receiver has `MessageQueue.adopt`. Default false.
   */
  readonly unlinkOnOpen?: boolean | undefined;
  /** Permissions of a new queue, exactly, whatever the umask. Default 0o600. */
  readonly mode?: number | undefined;
  /** The most messages that a new queue holds. Default: the system's, usually 10. */
  readonly maxMessages?: number | undefined;
  /** The most bytes of one message in a new queue. Default: the system's, usually 8,192. */
  readonly messageBytes?: number | undefined;
  /**
   * The user (uid) to whom a queue that is there already must belong; another's gets EACCES. Any
   * user can take a name first. Default "anybody": the queue's mode says who may open it.
   */
  readonly owner?: QueueOwner | undefined;
  /** Default "read-write". */
  readonly access?: Access | undefined;
  /** Bytes that may wait in this process before `send` fails with ENOBUFS. Default 64 MiB. */
  readonly maxQueuedBytes?: number | undefined;
}

/** @internal */
export interface Opened {
  readonly fd: number;
  readonly created: boolean;
}

interface How {
  readonly create: boolean;
  readonly exclusive: boolean | "lifetime";
  readonly unlinkOnOpen: boolean;
  readonly mode: number;
  readonly size: QueueSize | undefined;
  readonly flags: number;
  readonly owner: QueueOwner;
}

const accesses: Readonly<Record<Access, number>> = {
  read: file.O_RDONLY,
  write: file.O_WRONLY,
  "read-write": file.O_RDWR,
};

const PERMISSIONS = 0o777;

/** @throws TypeError, RangeError */
function howTo(options: QueueOptions): How {
  const { create = false, exclusive = false, mode = 0o600, access = "read-write" } = options;
  if (exclusive !== true && exclusive !== false && exclusive !== "lifetime") {
    throw new TypeError('exclusive is true, false or "lifetime"');
  }
  if (exclusive === true && !create) throw new TypeError("exclusive: true goes with create: true");
  if (!Object.hasOwn(accesses, access)) {
    throw new TypeError('access is "read", "write" or "read-write"');
  }
  const { unlinkOnOpen = false } = options;
  if (typeof unlinkOnOpen !== "boolean") throw new TypeError("unlinkOnOpen is true or false");
  integer("mode", mode, { max: PERMISSIONS });
  const { maxMessages, messageBytes } = options;
  if (maxMessages !== undefined) integer("maxMessages", maxMessages, { min: 1 });
  if (messageBytes !== undefined) integer("messageBytes", messageBytes, { min: 1 });
  const size = completeSize({ maxMessages, messageBytes });
  const flags = accesses[access] | file.O_NONBLOCK;
  const owner = expectedOwner(options.owner === undefined ? "anybody" : options.owner);
  return { create, exclusive, unlinkOnOpen, mode, size, flags, owner };
}

/** @internal @throws UnsupportedError if the system has none */
export function needQueues(): void {
  if (priorities.MQ_PRIO_MAX !== null) return;
  throw new UnsupportedError("messageQueues", "only Linux has POSIX message queues");
}

/** @internal Open the queue as `options` say. @throws as MessageQueue.open */
export function openQueue(name: string, options: QueueOptions): Opened {
  const how = howTo(options);
  needQueues();
  if (how.exclusive !== "lifetime" && !how.unlinkOnOpen) return openOrMake(name, how);
  for (;;) {
    const opened = openOrMake(name, how);
    if (opened.created && how.unlinkOnOpen) return opened; // its name is gone already
    if (lockForLife(name, opened.fd)) return how.unlinkOnOpen ? takeName(name, opened) : opened;
    close(opened.fd); // its last holder unlinked it between our open and our lock
  }
}

/** This process holds the lock, so no other opener can be here. */
function takeName(address: string, opened: Opened): Opened {
  const done = mqUnlink(address);
  if (done >= 0) return opened;
  close(opened.fd);
  throw new UnixError("mq_unlink", done, { address });
}

/** Only the process that makes a queue sets its mode, so making and opening are told apart. */
function openOrMake(name: string, how: How): Opened {
  for (;;) {
    if (how.create) {
      const made = make(name, how);
      if (made >= 0) return { fd: made, created: true };
      const mustBeNew = how.exclusive === true || how.unlinkOnOpen;
      if (made !== -errno.EEXIST || mustBeNew) throw openError(made, name, how.size);
    }
    const fd = mqOpen(name, how.flags);
    if (fd >= 0) {
      requireOwner(fd, name, how.owner);
      return { fd, created: false };
    }
    if (fd !== -errno.ENOENT || !how.create) throw openError(fd, name, undefined);
  }
}

/** @throws UnixError EACCES, and `fd` is closed */
function requireOwner(fd: number, address: string, owner: QueueOwner): void {
  try {
    const { uid } = fileCall(() => fstatSync(fd), { address });
    checkOwner(uid, owner, { syscall: "mq_open", address });
  } catch (error) {
    close(fd);
    throw error;
  }
}

/**
 * fchmod adds what the umask took away: until then fewer users may open it, never more; none if the
 * name is removed first.
 */
function make(name: string, { flags, mode, size, unlinkOnOpen }: How): number {
  const born = { mode: unlinkOnOpen ? 0 : mode, size };
  const fd = mqOpen(name, flags | file.O_CREAT | file.O_EXCL, born);
  if (fd < 0) return fd;
  if (unlinkOnOpen) takeName(name, { fd, created: true });
  const done = fchmod(fd, mode);
  if (done >= 0) return fd;
  if (!unlinkOnOpen) mqUnlink(name);
  close(fd);
  throw new UnixError("fchmod", done, { address: name });
}

/** False: locked, but the name is another queue's by now, or is gone. */
function lockForLife(address: string, fd: number): boolean {
  try {
    const locked = tryLock(fd);
    if (locked !== -errno.EAGAIN)
      return check(locked, "flock", { address }) >= 0 && isSame(address, fd);
    const hint = "another holder of this queue is alive";
    throw new UnixError("flock", -errno.EBUSY, { address, hint });
  } catch (error) {
    close(fd);
    throw error;
  }
}

/** @internal Whether `name` is the name of the queue that `fd` stands for. */
export function isSame(name: string, fd: number): boolean {
  const named = mqOpen(name, (check(statusFlags(fd), "fcntl") & file.O_ACCMODE) | file.O_NONBLOCK);
  if (named === -errno.ENOENT) return false;
  check(named, "mq_open", { address: name });
  try {
    const [one, other] = fileCall(() => [fstatSync(named), fstatSync(fd)], { address: name });
    return one?.ino === other?.ino && one?.dev === other?.dev;
  } finally {
    close(named);
  }
}

/** @internal Unlink `name`, whichever queue has it. @throws as MessageQueue.unlink */
export function unlinkQueue(name: string): void {
  checkQueueName(name);
  needQueues();
  check(mqUnlink(name), "mq_unlink", { address: name });
}

/** @internal Unlink `name` if it is the name of the queue that `fd` stands for. */
export function unlinkSame(name: string, fd: number): void {
  const detail = { address: name };
  if (!isSame(name, fd)) throw new UnixError("mq_unlink", -errno.ENOENT, detail);
  check(mqUnlink(name), "mq_unlink", detail);
}

/** @internal Which directions an open queue is for. */
export function accessOf(fd: number): Access {
  const access = check(statusFlags(fd), "fcntl") & file.O_ACCMODE;
  if (access === file.O_RDWR) return "read-write";
  return access === file.O_WRONLY ? "write" : "read";
}

/** @internal A queue's descriptor from elsewhere. @throws as MessageQueue.adopt */
export function adoptQueue(from: FdLike): Fd {
  needQueues();
  const number = fdNumber(from);
  const attributes = mqGetattr(number);
  if (typeof attributes === "number") {
    const hint = "it is not a message queue's descriptor";
    throw new UnixError("mq_getattr", attributes, { hint });
  }
  // a duplicate is born so
  const owned = from instanceof Fd || typeof from === "number";
  if (owned) check(setCloseOnExec(number, true), "fcntl");
  return ownFd(from, number, "MessageQueue.adopt", "ours");
}

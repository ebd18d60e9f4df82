// Another process's queue, open for writing, and whether any process reads from it.

import { fstatSync, type Stats } from "node:fs";
import { errno } from "../../native/errno.ts";
import { file } from "../../native/file.ts";
import { check, type ErrorDetail, fileCall, UnixError } from "../base/errors.ts";
import { Fd } from "../fd/fd.ts";
import { fileLocks } from "../fd/locks.ts";
import { messageTooLong } from "../message-queue/limits.ts";
import { needQueues } from "../message-queue/open.ts";
import { checkOwner, type QueueOwner } from "../message-queue/owner.ts";
import type { Credentials } from "../structs/credentials.ts";
import { deviceParts } from "../structs/device.ts";
import {
  encodeDatagram,
  encodeHeader,
  encodeIdentityFrame,
  encodeRefusal,
  headerBytes,
  type QueueIdentity,
  type QueueTag,
  type Sender,
} from "../structs/queue-frame.ts";
import { whyFatal } from "../syscalls/asked-calls.ts";
import { close, open } from "../syscalls/fd.ts";
import { Memory } from "../syscalls/memory.ts";
import { mqGetattr, mqOpen, mqSendFrom } from "../syscalls/message-queue.ts";
import type { Piece } from "../syscalls/piece.ts";
import { pidfdOpen } from "../syscalls/process.ts";
import { AGAIN } from "../syscalls/result.ts";
import { knownIds } from "../users/known-ids.ts";
import { ReaderLiveness } from "./reader-liveness.ts";
import { kernelName, MIN_MESSAGE_BYTES } from "./receive-queue.ts";

/** One frame is written at a time, and is with the kernel when the call returns. */
let scratch = new Memory(8192);

function room(bytes: number): Memory {
  if (scratch.bytes.length < bytes) scratch = new Memory(bytes);
  return scratch;
}

/** The number of an Fd that is closed. */
const CLOSED = -1;

const NO_TAG: QueueTag = { tagLow: 0, tagHigh: 0 };

interface QueueClaim {
  readonly handle: Fd;
  readonly pidfd: Fd | null;
  readonly credentials: Credentials;
  /** Its number in that process; −1 if that is not known. */
  readonly number: number;
  readonly tag: QueueTag;
  readonly file: { readonly messageBytes: number; readonly inode: number; readonly device: number };
}

/** What is known of a queue before it is looked at. */
interface Known {
  readonly pid: number | null;
  readonly number: number;
  readonly tag: QueueTag;
  readonly owner: QueueOwner;
  /** For people to read. */
  readonly address?: string;
}

export class SendQueue {
  readonly handle: Fd;
  readonly holder: ReaderLiveness;
  readonly tag: QueueTag;
  /** Its number in the process that reads from it; −1 if that is not known. */
  number: number;
  readonly messageBytes: number;
  readonly inode: number;
  readonly device: number;
  /** Who made the queue, by its inode; the process was proven when the queue was opened. */
  credentials: Credentials;

  private constructor({ handle, pidfd, credentials, number, tag, file }: QueueClaim) {
    this.handle = handle;
    this.holder = new ReaderLiveness(handle, pidfd);
    this.credentials = credentials;
    this.number = number;
    this.tag = tag;
    this.messageBytes = file.messageBytes;
    this.inode = file.inode;
    this.device = file.device;
  }

  /** Owns both descriptors, also on failure. */
  static #open(
    handle: Fd,
    pidfd: Fd | null,
    { pid, number, tag, owner, address = `process ${pid}` }: Known,
  ): SendQueue {
    try {
      const attributes = mqGetattr(handle.fd);
      if (typeof attributes === "number") throw new UnixError("mq_getattr", attributes);
      const { ino: inode, dev: device, uid, gid } = fileCall(() => fstatSync(handle.fd));
      checkOwner(uid, owner, { syscall: "connect", address });
      const file = { messageBytes: attributes.messageBytes, inode, device };
      const credentials = knownIds({ pid, uid, gid });
      return new SendQueue({ handle, pidfd, credentials, number, tag, file });
    } catch (error) {
      pidfd?.close();
      handle.close();
      throw error;
    }
  }

  /**
   * The queue that a process says is its own. `fresh`: nothing was written into it yet, so that it
   * still has its tag; a process that does not know the tag named another's queue. `owner`: the
   * user to whom it must belong.
   * @throws UnixError ECONNREFUSED (there is no such queue), EACCES, EMFILE, …
   */
  static of(
    identity: QueueIdentity,
    { device, fresh, owner }: { device: number; fresh: boolean; owner: QueueOwner },
  ): SendQueue {
    const { pidfd, value: handle } = openProven(identity, (look) => {
      const { ino, dev, atimeMs, mtimeMs } = fileCall(() => fstatSync(look));
      if (ino !== identity.inode || dev !== device) throw connectionRefused("another file");
      const worn = atimeMs === 1e3 * identity.tagLow && mtimeMs === 1e3 * identity.tagHigh;
      if (fresh && !worn)
        throw connectionRefused("another tag: another process's queue, or one in use");
      const fd = open(`/proc/self/fd/${look}`, file.O_WRONLY | file.O_NONBLOCK);
      return Fd.adopt(checkRemote(fd, "open"), "queue socket");
    });
    const { pid, fd } = identity;
    const peer = SendQueue.#open(handle, pidfd, { pid, number: fd, tag: identity, owner });
    if (peer.messageBytes >= MIN_MESSAGE_BYTES) return peer;
    peer.close();
    throw connectionRefused(`its queue takes less than ${MIN_MESSAGE_BYTES} bytes`);
  }

  /**
   * One that `listener` spoke of, and that is there no longer: nothing can be sent to it. It is
   * closed from the start, and takes no descriptor.
   */
  static gone(identity: QueueIdentity, listener: SendQueue): SendQueue {
    const { uid, gid } = listener.credentials;
    const handle = Fd.of(CLOSED, "queue socket", "ours");
    const file = { messageBytes: headerBytes + 1, inode: identity.inode, device: 0 };
    const credentials = { pid: identity.pid, uid, gid };
    return new SendQueue({
      handle,
      pidfd: null,
      credentials,
      number: identity.fd,
      tag: identity,
      file,
    });
  }

  /** A queue that this process has inherited. Owns `handle` also on failure. */
  static inherited(handle: Fd, identity: QueueIdentity): SendQueue {
    const { pid, fd } = identity;
    const known = { pid, number: fd, tag: identity, owner: "anybody" } as const;
    const peer = SendQueue.#open(handle, null, known);
    peer.moved(identity);
    return peer;
  }

  /**
   * The queue that a listener or a datagram socket has by name, and that `owner` has made.
   * @throws UnixError ENOENT, EACCES; UnsupportedError
   */
  static named(name: string, owner: QueueOwner): SendQueue {
    needQueues();
    const fd = mqOpen(kernelName(name), file.O_WRONLY | file.O_NONBLOCK);
    const hint = hints.get(-fd);
    const handle = Fd.of(check(fd, "mq_open", { address: name, hint }), "queue socket", "ours");
    const pid = lockedBy(handle.fd);
    const pidfd = pid === null || whyFatal("pidfd_open") !== null ? -1 : pidfdOpen(pid);
    const known = pidfd < 0 ? null : Fd.of(pidfd, "queue socket", "ours");
    return SendQueue.#open(handle, known, { pid, number: -1, tag: NO_TAG, owner, address: name });
  }

  /** Another process has the queue now: believed if that process has it open. */
  moved(identity: QueueIdentity): void {
    try {
      const { pidfd } = openProven(identity, (look) => {
        const { ino, dev } = fileCall(() => fstatSync(look));
        if (ino !== this.inode || dev !== this.device) throw connectionRefused("another file");
      });
      this.holder.heldBy(pidfd);
      this.credentials = { ...this.credentials, pid: identity.pid };
      this.number = identity.fd;
    } catch (error) {
      if (!(error instanceof UnixError)) throw error;
    }
  }

  /** The most bytes of data in one frame. */
  get dataBytes(): number {
    return this.messageBytes - headerBytes;
  }

  /** Write bytes `from` to `to` as one frame of data. False: no room. @throws UnixError */
  putData(data: Piece, from: number, to: number): boolean {
    const { view, bytes } = room(this.messageBytes);
    const at = encodeHeader(view, "data", this.tag);
    data.copyTo(bytes, at, from, to);
    return this.#put(at + to - from, 0);
  }

  putSign(kind: "end" | "close"): boolean {
    return this.#put(encodeHeader(room(headerBytes).view, kind, this.tag), 0);
  }

  putIdentity(kind: "connect" | "accept" | "moved", identity: QueueIdentity): boolean {
    const { view } = room(this.messageBytes);
    return this.#put(encodeIdentityFrame(view, kind, { to: this.tag, identity }), 0);
  }

  putRefusal(number: number): boolean {
    return this.#put(encodeRefusal(room(this.messageBytes).view, this.tag, number), 0);
  }

  putDatagram(data: Piece, { from, priority }: { from: Sender; priority: number }): boolean {
    const { view, bytes } = room(this.messageBytes);
    const at = encodeDatagram(view, this.tag, from);
    this.#fits(at + data.bytes);
    data.copyTo(bytes, at);
    return this.#put(at + data.bytes, priority);
  }

  #fits(bytes: number): void {
    if (bytes > this.messageBytes) throw messageTooLong(bytes, this.messageBytes);
  }

  #put(bytes: number, priority: number): boolean {
    this.#fits(bytes);
    const sent = mqSendFrom(this.handle.fd, { address: scratch.address, bytes }, priority);
    if (sent === AGAIN) return false;
    check(sent, "mq_timedsend");
    return true;
  }

  close(): void {
    this.holder.close();
    this.handle.close();
  }
}

const hints = new Map<number, string>([
  [errno.ENOENT, "no queue socket has this name; is the server running?"],
  [errno.EACCES, "both ends of a queue socket run as the same user"],
]);

/** No connection with the process that said that. */
export function connectionRefused(why: string, detail: ErrorDetail = {}): UnixError {
  return new UnixError("connect", -errno.ECONNREFUSED, { hint: why, ...detail });
}

/** The name is that of the other kind of socket. */
export function wrongKind(address: string, kind: string): UnixError {
  const hint = `it is the name of a ${kind}`;
  return new UnixError("connect", -errno.EPROTOTYPE, { address, hint });
}

/** Not there, or no longer: of these the other end is the cause, of all others this process. */
const absent = new Set([errno.ENOENT, errno.ESRCH, errno.ENOTDIR, errno.EINVAL]);

/**
 * The process that has the file that `look` finds good, as a pidfd, and what `look` made of it. The
 * descriptor only points at the file: opening may do something to what is no queue.
 */
function openProven<T>(identity: QueueIdentity, look: (fd: number) => T): { pidfd: Fd; value: T } {
  const pidfd = Fd.of(checkRemote(pidfdOpen(identity.pid), "pidfd_open"), "queue socket", "ours");
  try {
    const fd = checkRemote(
      open(`/proc/${identity.pid}/fd/${identity.fd}`, file.O_PATH ?? 0),
      "open",
    );
    try {
      return { pidfd, value: look(fd) };
    } finally {
      close(fd);
    }
  } catch (error) {
    pidfd.close();
    throw error;
  }
}

function checkRemote(result: number, syscall: string): number {
  if (absent.has(-result)) throw connectionRefused("there is no such process or descriptor");
  const forbidden = result === -errno.EACCES || result === -errno.EPERM;
  const hint = forbidden ? "this process may not look at the other end's" : undefined;
  return check(result, syscall, { hint });
}

/** The process that locked a file, as /proc/locks has it; null if that does not tell. */
function lockedBy(fd: number): number | null {
  let stats: Stats;
  try {
    stats = fstatSync(fd);
  } catch {
    return null;
  }
  const { ino, dev } = stats;
  const { major, minor } = deviceParts(dev);
  const lock = fileLocks()?.find(
    ({ kind, pid, device, inode }) =>
      kind === "FLOCK" &&
      pid > 0 &&
      inode === String(ino) &&
      device.major === major &&
      device.minor === minor,
  );
  return lock?.pid ?? null;
}

// How descriptors are closed. close(2) can wait: for the other end of a connection (SO_LINGER), a
// file system in user space or on the network, a terminal, the pages of a large file; and closing a
// socket closes what lies unread in it. Any peer can send such a descriptor, so a foreign
// descriptor is closed on another thread unless it is of a kind whose close does not wait.

import { readFileSync, readlinkSync } from "node:fs";
import { MEM_MAJOR, mode } from "../../native/file.ts";
import { system } from "../../native/platform.ts";
import { socket as c } from "../../native/socket.ts";
import { closedError } from "../base/errors.ts";
import type { SocketType } from "../base/socket-type.ts";
import { now, setTimeout } from "../base/timers.ts";
import { stopWaiting } from "../loop/stop-waiting.ts";
import {
  type ClosingThread,
  endsWithin,
  hasEnded,
  startClosing,
} from "../syscalls/closing-thread.ts";
import { close, closeAll, seals } from "../syscalls/fd.ts";
import { kind, lookAt, recordLocks } from "../syscalls/file-kind.ts";
import { familyOf, lingerOff, socket } from "../syscalls/socket.ts";
import { fileLocks } from "./locks.ts";
import { ending } from "./thread-end.ts";
import { holdsMore } from "./unread.ts";

/**
 * If a descriptor comes from, which says what it may stand for. "ours": this library, and it is of
 * a kind whose close does not wait. "socket": the same, a Unix socket into which others write;
 * "stream": one of SOCK_STREAM that is connected. "anybody": a peer sent it, or the caller gave it.
 */
export type Origin = "ours" | "socket" | "stream" | "anybody";

/** Of a socket that is made or accepted here. */
export const originOf = (type: SocketType): Origin => (type === "stream" ? "stream" : "socket");

const closed = (): Error => closedError("close");

/** Close a descriptor; what waits on it gets ERR_CLOSED. Never waits long, never throws. */
export function closeOne(fd: number, origin: Origin = "anybody"): void {
  stopWaiting(fd, closed);
  if (origin === "ours" || system !== "linux") close(fd);
  else if (origin === "anybody") closeAs(fd, verdictOn(fd));
  else closeSocket(fd, origin === "stream");
}

/** The same for many that peers sent, or that the caller gave. */
export function closeMany(fds: readonly number[]): void {
  const now: number[] = [];
  for (const fd of fds) {
    stopWaiting(fd, closed);
    const verdict = system === "linux" ? verdictOn(fd) : "close";
    if (verdict === "close") now.push(fd);
    else closeAs(fd, verdict);
  }
  if (now.length > 0) closeAll(now);
}

/** What closing it takes: see `closeAs`. */
type Verdict = "close" | "unix" | "beside" | "keep";

function closeAs(fd: number, verdict: Verdict): void {
  if (verdict === "close") close(fd);
  else if (verdict === "unix") closeSocket(fd);
  else if (verdict === "beside") closeBeside(fd, 0);
  else keepLocked(fd);
}

/** Of 512 bytes each: what is freed with a file of this size takes a millisecond or two. */
const MAX_BLOCKS_AT_ONCE = 32_768;

function verdictOn(fd: number): Verdict {
  switch (lookAt(fd)) {
    case mode.S_IFIFO:
      return "close";
    case mode.S_IFSOCK:
      return familyOf(fd) === c.AF_UNIX ? "unix" : "beside";
    case mode.S_IFREG:
      return onFile(fd);
    case mode.S_IFDIR:
      return kind.major > 0 ? "close" : "beside";
    case mode.S_IFCHR:
      return kind.ownMajor === MEM_MAJOR ? "close" : "beside";
    case 0:
      return isPlainKernelObject(fd) ? "close" : "beside";
    default:
      return "beside"; // block devices; kernels that do not say (statx is Linux 4.11's)
  }
}

/** On a disk, or in memory: file systems that need no other process or machine. */
function onFile(fd: number): Verdict {
  const { inode, blocks } = kind;
  const local = kind.major > 0 || seals(fd) >= 0;
  const locks = local ? recordLocks(fd) : -1;
  if (locks !== 0 && isLockedHere(inode) && !lockedThrough(fd)) return "keep";
  return local && blocks <= MAX_BLOCKS_AT_ONCE ? "close" : "beside";
}

const PLAIN = /^(?:anon_inode:\[(?:eventfd|timerfd|signalfd|pidfd)\]|pidfd:.*)$/;

/** Others take long to close: an inotify instance, an epoll set, a virtual machine. */
function isPlainKernelObject(fd: number): boolean {
  try {
    return PLAIN.test(readlinkSync(`/proc/self/fd/${fd}`));
  } catch {
    return false; // no /proc
  }
}

/** Whether this process has a record lock on a file with this number, as /proc/locks has it. */
function isLockedHere(inode: bigint): boolean {
  const locks = fileLocks() ?? [];
  return locks.some(
    (lock) => lock.kind === "POSIX" && lock.pid === process.pid && lock.inode === String(inode),
  );
}

/**
 * Whether the lock was taken through this very open file: the caller that closes it expects to lose
 * the lock.
 */
function lockedThrough(fd: number): boolean {
  return linesOf(`/proc/self/fdinfo/${fd}`).some((line) => /^lock:.* POSIX /.test(line));
}

function linesOf(path: string): string[] {
  try {
    return readFileSync(path, "utf8").split("\n");
  } catch {
    return []; // no /proc
  }
}

/** How long to wait for such a close. A process that binds a listener's name next wants it free. */
const PATIENCE_MS = 10;
/** After one close took that long, no other is waited for during this time. */
const IMPATIENCE_MS = 1000;
let impatientUntil = 0;

/** A Unix socket: what lies unread in it goes with it, and may take its time. */
function closeSocket(fd: number, stream = false): void {
  if (!holdsMore(fd, stream)) {
    close(fd);
    return;
  }
  closeBeside(fd, PATIENCE_MS);
}

/**
 * Sockets that hold each other, or themselves, in their queues are found by the kernel only when
 * some Unix socket is closed (facts: #cycles-wait-for-a-close).
 */
function collectCycles(): void {
  const any = socket(c.SOCK_DGRAM);
  if (any >= 0) close(any);
}

/** Closing threads at a time, in each JS thread. */
const MAX_THREADS = 64;
const SWEEP_MS = 100;
let threads: ClosingThread[] = [];
/** Descriptors that cannot be closed now. */
const kept = new Set<number>();
let scheduled = false;

/** Close it on another thread, and wait that long for it. */
function closeBeside(fd: number, patienceMs: number): void {
  forgetEnded();
  const thread = threads.length < MAX_THREADS ? startClosing(fd) : 0;
  if (thread === 0) {
    withoutThread(fd);
    return;
  }
  if (patienceMs > 0 && now() >= impatientUntil) {
    if (endsWithin(thread, patienceMs)) {
      collectCycles();
      return;
    }
    impatientUntil = now() + IMPATIENCE_MS;
  }
  threads.push(thread);
  sweepLater();
}

/**
 * No thread can be started. For a connection of another family SO_LINGER is switched off, which
 * also holds for other processes that have it; any other descriptor is kept for a while.
 */
function withoutThread(fd: number): void {
  const family = familyOf(fd);
  if (family >= 0 && family !== c.AF_UNIX && lingerOff(fd) === 0) close(fd);
  else postpone(fd);
}

let warned = false;

/** Closing any descriptor of a file drops this process's record locks on it (fcntl(2)). */
function keepLocked(fd: number): void {
  postpone(fd);
  if (warned) return;
  warned = true;
  process.emitWarning(
    `descriptor ${fd} came from another process and is for a file on which this process has a ` +
      "record lock: closing it would drop the lock, so it stays open until that is gone",
    { type: "LockedDescriptorWarning", code: "BUNIX_LOCKED_FD" },
  );
}

function postpone(fd: number): void {
  kept.add(fd);
  ending?.add(fd);
  sweepLater();
}

function sweepLater(): void {
  if (scheduled) return;
  scheduled = true;
  setTimeout(sweep, SWEEP_MS).unref();
}

/** What threads have closed that have ended by now may have been in its own queue. */
function forgetEnded(): void {
  const before = threads.length;
  threads = threads.filter((thread) => !hasEnded(thread));
  if (threads.length < before) collectCycles();
}

/** Let go of threads that have ended, and try again what could not be closed. */
function sweep(): void {
  scheduled = false;
  forgetEnded();
  for (const fd of [...kept]) {
    kept.delete(fd);
    ending?.remove(fd);
    closeAs(fd, verdictOn(fd));
  }
  if (threads.length > 0) sweepLater();
}

// Calls on any descriptor. Each returns what the kernel returned, or a negative errno.

import { errno } from "../../native/errno.ts";
import { file, lock, pollfd } from "../../native/file.ts";
import { seal } from "../../native/mapping.ts";
import { nr } from "../../native/numbers.ts";
import { system } from "../../native/platform.ts";
import { monotonicMs, msUntil } from "./clock.ts";
import { libc } from "./libc.ts";
import { bytesToC, cells, cString, Memory } from "./memory.ts";
import { INTERRUPTED, result, uninterrupted } from "./result.ts";

/** Numbers below this mean something to every program; descriptors of ours stay above them. */
const FIRST_FREE = 3;

/**
 * Linux frees the number even when close says EINTR: never tried twice
 * (facts: #close-frees-at-eintr).
 */
export const close = (fd: number): number => result(libc.close(fd));

/** Close many: neighbours with one call (close_range(2), Linux 5.9), if there are enough. */
export function closeAll(fds: readonly number[]): void {
  if (fds.length === 1) {
    close(fds[0]!);
    return;
  }
  for (let from = 0; from < fds.length; ) {
    const to = endOfRun(fds, from);
    if (to - from < MIN_RANGE || !closeRange(fds[from]!, fds[to - 1]!)) {
      for (let i = from; i < to; i++) close(fds[i]!);
    }
    from = to;
  }
}

const MIN_RANGE = 3;

/** The index after the last of the numbers that follow each other from index `from` on. */
function endOfRun(fds: readonly number[], from: number): number {
  let to = from + 1;
  while (to < fds.length && fds[to] === fds[to - 1]! + 1) to++;
  return to;
}

function closeRange(first: number, last: number): boolean {
  if (nr.SYS_close_range === null) return false;
  return result(libc.syscall(nr.SYS_close_range, first, last, 0, 0, 0, 0)) === 0;
}

export const duplicate = (fd: number, min = FIRST_FREE): number =>
  result(libc.fcntl(fd, file.F_DUPFD_CLOEXEC, min));

/** Make `onto` a descriptor for `fd`'s open file, close-on-exec; what `onto` was is closed. */
export function duplicateOnto(fd: number, onto: number): number {
  if (system === "linux") return uninterrupted(() => libc.dup3(fd, onto, file.O_CLOEXEC));
  const made = uninterrupted(() => libc.dup2(fd, onto));
  return made < 0 ? made : Math.min(setCloseOnExec(made, true), 0) || made;
}

export const descriptorFlags = (fd: number): number => result(libc.fcntl(fd, file.F_GETFD, 0));
export const statusFlags = (fd: number): number => result(libc.fcntl(fd, file.F_GETFL, 0));

/**
 * Set or clear close-on-exec, and read it back: a variadic call that is made wrongly says 0 and
 * does nothing (facts: #variadic-functions).
 */
export function setCloseOnExec(fd: number, on: boolean): number {
  const set = result(libc.fcntl(fd, file.F_SETFD, on ? file.FD_CLOEXEC : 0));
  if (set < 0) return set;
  return tookEffect(descriptorFlags(fd), file.FD_CLOEXEC, on);
}

/** Set or clear O_NONBLOCK, which belongs to the open file: everyone who shares it sees it. */
export function setNonBlocking(fd: number, on: boolean): number {
  const flags = statusFlags(fd);
  if (flags < 0 || ((flags & file.O_NONBLOCK) !== 0) === on) return Math.min(flags, 0);
  const set = result(libc.fcntl(fd, file.F_SETFL, flags ^ file.O_NONBLOCK));
  return set < 0 ? set : tookEffect(statusFlags(fd), file.O_NONBLOCK, on);
}

function tookEffect(flags: number, bit: number, on: boolean): number {
  if (flags < 0) return flags;
  // reported success and did nothing (facts: #variadic-functions)
  return ((flags & bit) !== 0) === on ? 0 : -errno.EIO;
}

export const seals = (fd: number): number =>
  seal.F_GET_SEALS === null ? -1 : result(libc.fcntl(fd, seal.F_GET_SEALS, 0));

const polled = new Memory(pollfd.size);

/** Wait until one of `events` holds; the result is revents, 0 after `timeoutMs` (−1: for ever). */
export function poll(fd: number, events: number, timeoutMs: number): number {
  const deadline = timeoutMs < 0 ? Number.POSITIVE_INFINITY : monotonicMs() + timeoutMs;
  let left = timeoutMs;
  for (;;) {
    polled.view.setInt32(pollfd.at.fd, fd, true);
    polled.view.setInt16(pollfd.at.events, events, true);
    polled.view.setInt16(pollfd.at.revents, 0, true);
    const ready = result(libc.poll(polled.address, 1, left));
    if (ready >= 0) return polled.view.getInt16(pollfd.at.revents, true);
    if (ready !== INTERRUPTED) return ready;
    if (timeoutMs <= 0) continue;
    left = msUntil(deadline);
    if (left === 0) return 0;
  }
}

/** Which of `events` hold now, as revents; or a negative errno. */
export function pollNow(fd: number, events: number): number {
  const { view, address } = polled;
  view.setInt32(pollfd.at.fd, fd, true);
  view.setInt32(pollfd.at.events, events, true); // and no revents yet
  const ready = result(libc.poll(address, 1, 0));
  return ready <= 0 ? ready : view.getInt16(pollfd.at.revents, true);
}

export function open(path: string | Uint8Array, flags: number, mode = 0): number {
  const name = typeof path === "string" ? cString(path) : bytesToC(path);
  return uninterrupted(() => libc.open(name.address, flags | file.O_CLOEXEC, mode));
}

export const fchmod = (fd: number, mode: number): number =>
  uninterrupted(() => libc.fchmod(fd, mode));

/** Not node:fs's: in Bun 1.3 that one drops all but the permission bits, the sticky bit too. */
export function chmod(path: string, mode: number): number {
  const name = cString(path);
  return uninterrupted(() => libc.chmod(name.address, mode));
}

/** An exclusive lock on the open file, if it is free now; it goes with the last descriptor. */
export const tryLock = (fd: number): number =>
  uninterrupted(() => libc.flock(fd, lock.LOCK_EX | lock.LOCK_NB));

/** A shared lock; EAGAIN while another holder has the exclusive one. */
export const tryShareLock = (fd: number): number =>
  uninterrupted(() => libc.flock(fd, lock.LOCK_SH | lock.LOCK_NB));

export const unlock = (fd: number): number => uninterrupted(() => libc.flock(fd, lock.LOCK_UN));

export function chown(path: string | Uint8Array, uid: number, gid: number): number {
  const name = typeof path === "string" ? cString(path) : bytesToC(path);
  return uninterrupted(() => libc.chown(name.address, uid, gid));
}

export const read = (fd: number, address: number, bytes: number): number =>
  uninterrupted(() => libc.read(fd, address, bytes));

export const write = (fd: number, address: number, bytes: number): number =>
  uninterrupted(() => libc.write(fd, address, bytes));

/** Read what is there, at most 64 bytes, and forget it: how many bytes, or a negative errno. */
export const discard = (fd: number): number => read(fd, cells.address, cells.bytes.length);

/** Write one byte, a zero; a pipe that is full has enough of them. */
export function writeZero(fd: number): number {
  cells.words[0] = 0;
  const written = write(fd, cells.address, 1);
  return written === -errno.EAGAIN ? 0 : written;
}

/** Two descriptors that one call makes. */
export type FdPair = readonly [first: number, second: number];

/** The reading end and the writing end, or a negative errno. `nonBlocking`: both ends are. */
export function pipe(nonBlocking = false): FdPair | number {
  const flags = file.O_CLOEXEC | (nonBlocking ? file.O_NONBLOCK : 0);
  const atOnce = system === "linux";
  const made = result(atOnce ? libc.pipe2(cells.address, flags) : libc.pipe(cells.address));
  if (made < 0) return made;
  const ends: FdPair = [cells.words[0]!, cells.words[1]!];
  if (atOnce) return ends;
  for (const end of ends) {
    const failed = setCloseOnExec(end, true) || (nonBlocking ? setNonBlocking(end, true) : 0);
    if (failed === 0) continue;
    for (const one of ends) close(one);
    return failed;
  }
  return ends;
}

export function memfdCreate(name: string, flags: number): number {
  const text = cString(name);
  return result(libc.memfd_create(text.address, flags));
}

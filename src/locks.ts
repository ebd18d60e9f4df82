// Mutual exclusion between starters: a moment's lock on a directory, a lifetime's on a file.

import { fstatSync, ftruncateSync, lstatSync, readFileSync, unlinkSync, writeSync } from "node:fs";
import { resolve } from "node:path";
import { errno } from "../native/errno.ts";
import { file, mode as format } from "../native/file.ts";
import { processInfo } from "./credentials.ts";
import { check, fileCall, isShortage, UnixError } from "./errors.ts";
import { close, open, read, tryLock, unlock } from "./syscalls/fd.ts";
import { Memory } from "./syscalls/memory.ts";

const FIRST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 16;

/** Not to be had here at all: a file system without locks, or with locks for writers only. */
const unavailable = new Set([errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS]);

/**
 * Call `use` while this process alone holds the lock on the directory (flock(2) on the directory's
 * own descriptor: it leaves no file, and dies with its holder; FACTS K25). `use` gets false where
 * there is no such lock.
 *
 * @throws UnixError ETIMEDOUT when somebody else holds it for longer than `timeoutMs`
 */
export function withDirectoryLock<T>(
  directory: string | Uint8Array,
  { timeoutMs, use }: { timeoutMs: number; use: (locked: boolean) => T },
): T {
  const fd = open(directory, file.O_RDONLY | file.O_DIRECTORY);
  // at a limit, to go on without the lock would be no answer
  if (isShortage(fd)) check(fd, "open", { address: asText(directory) });
  if (fd < 0) return use(false); // not ours to read, or not there, which bind will say
  try {
    return withLock(fd, directory, { timeoutMs, use });
  } finally {
    close(fd);
  }
}

/** The same with a descriptor of the directory, which stays the caller's, and open. */
export function withLock<T>(
  fd: number,
  directory: string | Uint8Array,
  { timeoutMs, use }: { timeoutMs: number; use: (locked: boolean) => T },
): T {
  const locked = lockWithin(fd, timeoutMs, directory);
  try {
    return use(locked);
  } finally {
    if (locked) unlock(fd);
  }
}

function lockWithin(fd: number, timeoutMs: number, directory: string | Uint8Array): boolean {
  const deadline = performance.now() + timeoutMs;
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
    const locked = tryLock(fd);
    if (locked >= 0) return true;
    if (unavailable.has(-locked)) return false;
    if (locked !== -errno.EAGAIN) check(locked, "flock", { address: asText(directory) });
    if (performance.now() > deadline) throw heldTooLong(fd, directory);
    Bun.sleepSync(pause);
  }
}

function heldTooLong(fd: number, directory: string | Uint8Array): UnixError {
  const pid = lockHolder(fd);
  const command = processInfo(pid)?.command;
  const who = pid === null ? "another process" : `process ${pid}${command ? ` (${command})` : ""}`;
  return new UnixError("flock", -errno.ETIMEDOUT, {
    address: asText(directory),
    hint: `${who} holds the lock on this directory; is it stopped in the middle of starting?`,
  });
}

/** Who holds a flock on a file, as /proc/locks has it. */
function lockHolder(fd: number): number | null {
  try {
    const inode = fstatSync(fd).ino;
    for (const line of readFileSync("/proc/locks", "utf8").split("\n")) {
      const [, pid, ino] = /FLOCK\s+ADVISORY\s+\w+\s+(\d+)\s+\S+?:\S+?:(\d+)/.exec(line) ?? [];
      if (Number(ino) === inode && !line.includes("->")) return Number(pid);
    }
  } catch {
    // no /proc
  }
  return null;
}

const asText = (path: string | Uint8Array): string =>
  typeof path === "string" ? path : Buffer.from(path).toString("latin1");

/** A lock file that is held for life, with the holder's pid inside. */
export class LockFile {
  readonly #path: string;
  #fd: number;

  private constructor(path: string, fd: number) {
    this.#path = path;
    this.#fd = fd;
  }

  /**
   * Take the lock now, or say who has it. The file is opened without following links.
   * @throws UnixError EADDRINUSE naming the holder; ELOOP for a link; EACCES; EINVAL for what is no
   *   plain file with this one name, which would be a strange thing to write to and remove
   */
  static take(path: string, address: string): LockFile {
    const whole = resolve(path);
    for (;;) {
      const flags = file.O_RDWR | file.O_CREAT | file.O_NOFOLLOW | file.O_NONBLOCK;
      const fd = check(open(whole, flags, 0o600), "open", { address: path });
      const lock = new LockFile(whole, fd);
      try {
        if (fileCall(() => lock.#take(address), { address: path })) return lock;
      } catch (error) {
        lock.#leave();
        throw error;
      }
      lock.#leave(); // its last holder removed it between our open and our lock
    }
  }

  /** False: the path leads to another file by now. */
  #take(address: string): boolean {
    const [fd, path] = [this.#fd, this.#path];
    const { mode, nlink } = fstatSync(fd);
    if ((mode & format.S_IFMT) !== format.S_IFREG || nlink > 1) throw strange(path);
    const locked = tryLock(fd);
    if (locked < 0) throw refused(fd, locked, { path, address });
    if (!isStill(path, fd)) return false;
    ftruncateSync(fd);
    writeSync(fd, `${process.pid}\n`, 0);
    return true;
  }

  #leave(): void {
    close(this.#fd);
    this.#fd = -1;
  }

  /** Remove the file while the lock is held, then let go. Never throws. */
  release(): void {
    if (this.#fd < 0) return;
    try {
      if (isStill(this.#path, this.#fd)) unlinkSync(this.#path);
    } catch {
      // the directory is not ours to change: unlocked, it is in nobody's way
    }
    this.#leave();
  }
}

/** @throws Error of node:fs's where that cannot be seen */
function isStill(path: string, fd: number): boolean {
  const named = lstatSync(path, { throwIfNoEntry: false });
  const open = fstatSync(fd);
  return named?.ino === open.ino && named.dev === open.dev;
}

function strange(path: string): UnixError {
  const hint = "a lock file is a plain file with one name, and this is none; it was left alone";
  return new UnixError("open", -errno.EINVAL, { address: path, hint });
}

const PID_ROOM = 32;

function refused(
  fd: number,
  locked: number,
  { path, address }: { path: string; address: string },
): UnixError {
  const memory = new Memory(PID_ROOM);
  const bytes = read(fd, memory.address, PID_ROOM);
  if (locked !== -errno.EAGAIN) return new UnixError("flock", locked, { address: path });
  const pid = Number.parseInt(new TextDecoder().decode(memory.bytes.subarray(0, bytes)), 10);
  const command = Number.isNaN(pid) ? undefined : processInfo(pid)?.command;
  const who = Number.isNaN(pid) ? "another process" : `process ${pid} (${command ?? "unknown"})`;
  const hint = `${who} holds the lock file ${path}`;
  return new UnixError("bind", -errno.EADDRINUSE, { address, hint });
}

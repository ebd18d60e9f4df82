// Locks that only those can take who may write to the directory: flock(2) on a file of our own in
// it. The lock dies with its holder; strangers who may read the directory cannot hold it.

import { fstatSync, ftruncateSync, type Stats, writeSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { file, mode as format } from "../../native/file.ts";
import { absolute } from "../address/address.ts";
import { Directory } from "../address/directory.ts";
import { check, fileCall, UnixError } from "../base/errors.ts";
import { Fd } from "../fd/fd.ts";
import { processInfo } from "../process/proc-info.ts";
import { read, tryLock } from "../syscalls/fd.ts";
import { Memory } from "../syscalls/memory.ts";

/** Not to be had here at all: a file system without locks. */
const unavailable = new Set([errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS]);

/** Nobody may make a file here: then nobody can take over a name either. */
const forbidden = new Set([errno.EACCES, errno.EPERM, errno.EROFS]);

/**
 * A lock file's mode: for its owner only, so that nobody else can open it and hold its lock. The
 * sticky bit has no meaning for a file; cleaners leave what has it (XDG Base Directory, and
 * tmpfiles.d(5)), and it tells our empty file from another.
 */
const MODE = 0o600 | format.S_ISVTX;
const FLAGS = file.O_RDWR | file.O_NONBLOCK;

const PID_ROOM = 32;
/** What a lock file says: nothing yet, or its holder's pid. */
const PID = /^[1-9]\d{0,9}\n$/;

/** Who has a lock: the words for an error. */
export interface Busy {
  readonly holder: string;
}

/** Null: the file at its path is another one by now. */
type Taken = LockFile | Busy | null;

/** A lock, held by way of a file with the holder's pid inside. */
export class LockFile {
  readonly #directory: Directory;
  readonly #name: string;
  readonly #handle: Fd;
  /** What there was before stays, and so does another user's. */
  #removable = false;

  private constructor(directory: Directory, name: string, handle: Fd) {
    this.#directory = directory;
    this.#name = name;
    this.#handle = handle;
  }

  /**
   * Take a lock file of the user's choice now, for life, or say who has it. Used are a file that is
   * made here, one that looks as if it had been, and an empty one, which stays, all of this user.
   *
   * @throws UnixError EADDRINUSE naming the holder; ELOOP for a link; EACCES; EINVAL for any other
   *   file: it is not touched
   */
  static take(path: string, { address, place }: { address: string; place: string }): LockFile {
    const whole = (absolute({ kind: "path", path }) as { path: string }).path;
    const directory = Directory.of(whole, "open", place);
    try {
      for (;;) {
        const taken = LockFile.#tryTake(directory, directory.name, { place, strict: true });
        if (taken instanceof LockFile) return taken;
        if (taken === null) continue;
        const hint = `${taken.holder} holds the lock file ${path}`;
        throw new UnixError("bind", -errno.EADDRINUSE, { address, hint });
      }
    } catch (error) {
      directory[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * One try to take the lock of a name in `directory`, for a moment: whoever takes that name over
   * or gives it up has it. Its file is there for that moment only. `directory` stays the caller's.
   *
   * @returns the lock; who has it; null where there are no locks
   * @throws UnixError EACCES, EPERM, EROFS: the directory is not to be changed by this process;
   *   EMFILE, ENOSPC, …; EINVAL, ELOOP for what is no lock file
   */
  static tryBeside(directory: Directory): LockFile | Busy | null {
    const name = lockName(directory.name);
    for (;;) {
      try {
        const taken = LockFile.#tryTake(directory, name, { place: "lock", strict: false });
        if (taken !== null) return taken;
      } catch (error) {
        if (error instanceof UnixError && error.syscall === "flock") {
          if (unavailable.has(-error.errno)) return null;
        }
        throw error;
      }
    }
  }

  static #tryTake(
    directory: Directory,
    name: string,
    { place, strict }: { place: string; strict: boolean },
  ): Taken {
    const address = directory.text(name);
    const made = directory.open(name, FLAGS | file.O_CREAT | file.O_EXCL, MODE);
    const fd = made === -errno.EEXIST ? directory.open(name, FLAGS) : made;
    if (fd === -errno.ENOENT && made === -errno.EEXIST) return null; // gone since
    if (forbidden.has(-fd) && made === -errno.EEXIST && !strict)
      return someoneElses(directory, name);
    const handle = Fd.adopt(check(fd, "open", { address }), place);
    const lock = new LockFile(directory, name, handle);
    try {
      const taken = fileCall(() => lock.#take(made >= 0, strict), { address });
      if (taken !== lock) handle.close();
      return taken;
    } catch (error) {
      handle.close();
      throw error;
    }
  }

  #take(made: boolean, strict: boolean): Taken {
    const { fd } = this.#handle;
    const address = this.#directory.text(this.#name);
    const stats = fstatSync(fd);
    const why = whyStrange(stats, strict);
    if (why !== null) throw strange(address, why);
    const locked = tryLock(fd);
    if (locked === -errno.EAGAIN) return { holder: holderOf(fd) };
    check(locked, "flock", { address });
    if (!this.#directory.has(stats, this.#name)) return null; // its last holder removed it
    const text = textOf(fd, stats);
    if (!made && text !== "" && !PID.test(text)) throw strange(address, "has other contents");
    const own = stats.uid === process.geteuid?.();
    const marked = (stats.mode & format.S_ISVTX) !== 0;
    this.#removable = own && (made || marked || text !== "");
    if (!own) return this;
    try {
      if (stats.size > 0) ftruncateSync(fd);
      writeSync(fd, `${process.pid}\n`, 0);
    } catch (error) {
      if (strict) throw error; // else it is for a moment, and the pid only for errors
    }
    return this;
  }

  /** Let go, of a lock that was taken for life. Never throws. */
  release(): void {
    this.releaseBeside();
    this.#directory[Symbol.dispose]();
  }

  /** Remove the file while the lock is held, then let go. Never throws. */
  releaseBeside(): void {
    if (this.#handle.closed) return;
    try {
      const { fd } = this.#handle;
      if (this.#removable) this.#directory.removeIf(fstatSync(fd), this.#name);
      else if (fstatSync(fd).uid === process.geteuid?.()) ftruncateSync(fd);
    } catch {
      // the directory is not ours to change: unlocked, it is in nobody's way
    }
    this.#handle.close();
  }
}

/** Of a name in a directory: the name of its lock's file, which is hidden. */
const lockName = (name: string): string => `.bunix-lock.${name}`;

/** Why a file is not to be used as a lock file; null where it may be. */
function whyStrange({ mode, nlink, uid, size }: Stats, strict: boolean): string | null {
  if ((mode & format.S_IFMT) !== format.S_IFREG) return "is no plain file";
  if (nlink > 1) return "has other names, too";
  if (strict && uid !== process.geteuid?.()) return `belongs to uid ${uid}`;
  return size > PID_ROOM ? "has other contents" : null;
}

function textOf(fd: number, { size }: Stats): string {
  if (size === 0) return "";
  const memory = new Memory(PID_ROOM);
  const bytes = check(read(fd, memory.address, PID_ROOM), "read");
  return new TextDecoder().decode(memory.bytes.subarray(0, bytes));
}

function strange(address: string, why: string): UnixError {
  const hint = `it ${why}, so it is no lock file of this user, and was left alone`;
  return new UnixError("open", -errno.EINVAL, { address, hint });
}

/** Another user's: it cannot be asked who holds it. */
function someoneElses(directory: Directory, name: string): Taken {
  const stats = directory.stat(name);
  if (stats === undefined) return null;
  return { holder: `uid ${stats.uid}, whose file ${directory.text(name)} is,` };
}

function holderOf(fd: number): string {
  const memory = new Memory(PID_ROOM);
  const bytes = Math.max(0, read(fd, memory.address, PID_ROOM));
  const pid = Number.parseInt(new TextDecoder().decode(memory.bytes.subarray(0, bytes)), 10);
  if (Number.isNaN(pid)) return "another process";
  return `process ${pid} (${processInfo(pid)?.command ?? "unknown"})`;
}

/** Whether a lock could not be taken because this process may not, or cannot now, make its file. */
export const isForbidden = (error: unknown): error is UnixError =>
  error instanceof UnixError && error.syscall === "open" && forbidden.has(-error.errno);

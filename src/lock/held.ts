// Locks that only a process that may open a file can take: flock(2) on it. The lock ends with its
// holder; the file may be one of our own, made only for that.

import { fstatSync, ftruncateSync, type Stats, writeSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { file, mode as format } from "../../native/file.ts";
import type { Directory } from "../address/directory.ts";
import { check, fileCall, UnixError } from "../base/errors.ts";
import { Fd } from "../fd/fd.ts";
import { tryLock, tryShareLock, unlock } from "../syscalls/fd.ts";
import { holdersOfFile, type LockHolder, nameHolders, PID, PID_ROOM, textOf } from "./holders.ts";

/** A file system without locks. */
const unavailable = new Set([
  errno.EBADF,
  errno.EINVAL,
  errno.ENOLCK,
  errno.ENOSYS,
  errno.EOPNOTSUPP,
]);

/** This process cannot make files here, or not open them for writing. */
const forbidden = new Set([errno.EACCES, errno.EPERM, errno.EROFS]);
/** The same, and a program that is running (ETXTBSY). */
const unwritable = new Set([...forbidden, errno.ETXTBSY]);

/**
 * The sticky bit has no meaning for a file; cleaners leave what has it (XDG Base Directory, and
 * tmpfiles.d(5)), and it tells our empty file from another.
 */
const MARK = format.S_ISVTX;
const FLAGS = file.O_NONBLOCK;

/** Which files are used, and what is done to them. */
export interface Rules {
  /** Who opens it, for the warning should it be forgotten. */
  readonly place: string;
  readonly shared: boolean;
  /** Permissions of a file that is made here. */
  readonly mode: number;
  /** What a lock file says as long as the lock is held; null: the file is never written to. */
  readonly content: string | Uint8Array | null;
  /**
   * "any": plain files, of which only those that were made for this are written to. "lock": files
   * that are empty or have a pid in them. "own": the same, and of this user only.
   */
  readonly files: "any" | "lock" | "own";
  /** Remove a lock file when the lock is released. */
  readonly unlink: boolean;
}

/** Who has a lock. */
export interface Busy {
  /** The words for an error. */
  readonly holder: string;
  readonly holders: readonly LockHolder[];
}

/** Whether a result is {@link Busy}. */
export const isBusy = (taken: HeldLock | Busy): taken is Busy => "holder" in taken;

/** A lock that this thread has, by way of a file. */
export class HeldLock {
  readonly #directory: Directory;
  readonly #name: string;
  readonly #handle: Fd;
  readonly #rules: Rules;
  #identity = "";
  /** A file that was there before stays, and so does another user's. */
  #removable = false;
  #written = false;

  private constructor(directory: Directory, name: string, { handle, rules }: Opened) {
    this.#directory = directory;
    this.#name = name;
    this.#handle = handle;
    this.#rules = rules;
  }

  /**
   * One try, which does not wait. `directory` stays the caller's, and open for as long as the lock.
   *
   * @throws UnixError ELOOP for a link; EACCES, EROFS; EINVAL for a file that is not to be used: it
   *   is not touched; ENOLCK and others of `flock`: there are no locks; EMFILE, ENOSPC, …
   */
  static tryTake(directory: Directory, name: string, rules: Rules): HeldLock | Busy {
    for (;;) {
      const taken = HeldLock.#try(directory, name, rules);
      if (taken !== null) return taken;
    }
  }

  /** null: the file of this name is another one by now. */
  static #try(directory: Directory, name: string, rules: Rules): HeldLock | Busy | null {
    const address = directory.text(name);
    const mode = rules.content === null ? rules.mode : rules.mode | MARK;
    const make = file.O_RDWR | FLAGS | file.O_CREAT | file.O_EXCL;
    const made = directory.open(name, make, mode);
    const fd = made === -errno.EEXIST ? openThere(directory, name, rules) : made;
    if (fd === -errno.ENOENT && made === -errno.EEXIST) return null; // removed since
    if (forbidden.has(-fd) && made === -errno.EEXIST && rules.files === "lock")
      return someoneElses(directory, name);
    check(fd, "open", { address, hint: hints.get(-fd) });
    const handle = Fd.adopt(fd, rules.place);
    const lock = new HeldLock(directory, name, { handle, rules });
    try {
      const taken = fileCall(() => lock.#take(made >= 0), { address });
      if (taken !== lock) handle.close();
      return taken;
    } catch (error) {
      handle.close();
      throw error;
    }
  }

  #take(made: boolean): HeldLock | Busy | null {
    const { fd } = this.#handle;
    const { shared, files } = this.#rules;
    const address = this.#directory.text(this.#name);
    const stats = fstatSync(fd);
    const why = whyStrange(stats, this.#rules);
    if (why !== null) throw strange(address, why);
    const locked = shared ? tryShareLock(fd) : tryLock(fd);
    if (locked === -errno.EAGAIN) {
      const holders = holdersOfFile(fd, stats);
      return { holder: nameHolders(holders), holders };
    }
    const hint = unavailable.has(-locked) ? NO_LOCKS : undefined;
    check(locked, "flock", { address, hint });
    if (!this.#directory.has(stats, this.#name)) return null; // removed before we had the lock
    this.#identity = identityOf(stats);
    const own = stats.uid === process.geteuid?.();
    let ours = own && (made || (stats.mode & MARK) !== 0);
    if (files !== "any") {
      const text = stats.size === 0 ? "" : textOf(fd);
      if (!made && text !== "" && !PID.test(text)) throw strange(address, OTHER_CONTENTS);
      ours ||= own && text !== "";
    }
    this.#removable = ours && this.#rules.unlink && !shared;
    if (ours || (own && files !== "any")) this.#write(stats);
    return this;
  }

  #write({ size }: Stats): void {
    const { content, shared, files } = this.#rules;
    if (content === null || shared) return;
    const { fd } = this.#handle;
    this.#written = true;
    try {
      if (size > 0) ftruncateSync(fd);
      if (typeof content === "string") writeSync(fd, content, 0);
      else writeSync(fd, content, 0, content.length, 0);
    } catch (error) {
      if (files === "lock") return; // the lock is short, and its pid is for error messages only
      this.#written = false;
      throw error;
    }
  }

  /** The descriptor's number; −1 once it is released. */
  get fd(): number {
    return this.#handle.fd;
  }

  /** Who has the lock: this process, and with a shared one others. */
  get holders(): LockHolder[] {
    if (this.#handle.closed) return [];
    const { fd } = this.#handle;
    return fileCall(() => holdersOfFile(fd, fstatSync(fd)));
  }

  /** Whether it is the lock of that file. */
  isOf(stats: Stats): boolean {
    return !this.#handle.closed && this.#identity === identityOf(stats);
  }

  /** Remove or empty the file while the lock is held, then let go. Never throws. */
  release(): void {
    if (this.#handle.closed) return;
    const { fd } = this.#handle;
    try {
      if (this.#removable) this.#directory.removeIf(fstatSync(fd), this.#name);
      else if (this.#written) ftruncateSync(fd);
    } catch {
      // this process may not change the directory; unlocked, the file does no harm
    }
    unlock(fd); // closing may have to wait for this process's record locks on the file
    this.#handle.close();
  }
}

interface Opened {
  readonly handle: Fd;
  readonly rules: Rules;
}

const identityOf = ({ dev, ino }: Stats): string => `${dev} ${ino}`;

const NO_LOCKS = "the file system there has no locks: use a file on a local one";
const OTHER_CONTENTS = "has other contents";

const hints: ReadonlyMap<number, string> = new Map([
  [errno.ELOOP, "it is a symbolic link, which is never followed"],
  [errno.EISDIR, "it is a directory: lock a file in it"],
]);

/** A file that this process may only read can be locked, too. */
function openThere(directory: Directory, name: string, { files }: Rules): number {
  const fd = directory.open(name, file.O_RDWR | FLAGS);
  if (files !== "any" || !unwritable.has(-fd)) return fd;
  const readable = directory.open(name, FLAGS);
  return readable < 0 ? fd : readable;
}

/** Why a file is not to be used; null if it may be. */
function whyStrange({ mode, nlink, uid, size }: Stats, { files, content }: Rules): string | null {
  if ((mode & format.S_IFMT) !== format.S_IFREG) return "is no plain file";
  if (nlink > 1 && content !== null) return "has other names, too";
  if (files === "any") return null;
  if (files === "own" && uid !== process.geteuid?.()) return `belongs to uid ${uid}`;
  return size > PID_ROOM ? OTHER_CONTENTS : null;
}

function strange(address: string, why: string): UnixError {
  const hint = `it ${why}, so it is no lock file of this user, and was left alone`;
  return new UnixError("open", -errno.EINVAL, { address, hint });
}

/** Another user's file: the holder cannot be found out. */
function someoneElses(directory: Directory, name: string): Busy | null {
  const stats = directory.stat(name);
  if (stats === undefined) return null;
  return { holder: `uid ${stats.uid}, whose file ${directory.text(name)} is,`, holders: [] };
}

/** Whether a lock could not be taken because this process may not, or cannot now, make its file. */
export const isForbidden = (error: unknown): error is UnixError =>
  error instanceof UnixError && error.syscall === "open" && forbidden.has(-error.errno);

/** Whether a lock could not be taken because there are none. */
export const isWithoutLocks = (error: unknown): boolean =>
  error instanceof UnixError && error.syscall === "flock" && unavailable.has(-error.errno);

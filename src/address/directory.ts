// The directory of a path, held open: everything that is done to a name in it goes through one
// descriptor, so that it happens there even if the path leads elsewhere by then.

import { fstatSync, lstatSync, readlinkSync, type Stats, statSync, unlinkSync } from "node:fs";
import { basename, dirname } from "node:path";
import { errno } from "../../native/errno.ts";
import { file, mode as format } from "../../native/file.ts";
import { check, fileCall, fileErrno, UnixError } from "../base/errors.ts";
import { Fd } from "../fd/fd.ts";
import { type Address, fromBytes } from "../structs/sockaddr-un.ts";
import { open } from "../syscalls/fd.ts";
import { formatAddress } from "./address.ts";
import { asLatin, fromLatin } from "./path-bytes.ts";

/** The identity of a file, whatever its name. */
export type FileIdentity = { readonly dev: number; readonly ino: number };

const isSame = (one: FileIdentity | undefined, { dev, ino }: FileIdentity): boolean =>
  one?.dev === dev && one.ino === ino;

export class Directory implements Disposable {
  readonly #path: string;
  /** Null if there is no O_PATH (macOS): then it goes by its name. */
  readonly #handle: Fd | null;
  /** The last part of the path, as latin-1 text. */
  readonly name: string;

  private constructor(path: string, handle: Fd | null) {
    this.#path = dirname(path);
    this.#handle = handle;
    this.name = basename(path);
  }

  /**
   * The directory that the file at `path` is, or would be, in.
   * @param place who opens it, for the warning should it be forgotten
   * @throws UnixError of `syscall`: ENOENT, ENOTDIR, EACCES, EMFILE
   */
  static of(path: string | Uint8Array, syscall: string, place: string): Directory {
    const whole = asLatin(path);
    const [directory, address] = [fromLatin(dirname(whole)), formatAddress({ kind: "path", path })];
    if (file.O_PATH === null) {
      check(lookAt(directory), syscall, { address });
      return new Directory(whole, null);
    }
    const fd = open(directory, file.O_PATH | file.O_DIRECTORY);
    return new Directory(whole, Fd.adopt(check(fd, syscall, { address }), place));
  }

  /** The way to the directory. */
  get directory(): Buffer {
    const own = this.#handle;
    return own === null ? fromLatin(this.#path) : Buffer.from(`/proc/self/fd/${own.fd}`);
  }

  /** The way to a file in it. */
  at(name = this.name): Buffer {
    return Buffer.concat([this.directory, fromLatin(`/${name}`)]);
  }

  /** Its path, below the path that was given. */
  address(name = this.name): Address {
    return { kind: "path", path: fromBytes(fromLatin(join(this.#path, name))) };
  }

  /** The same, to be read. */
  text(name = this.name): string {
    return formatAddress(this.address(name));
  }

  /** The directory's own mode and owner; not those of a link to it, as macOS's /tmp is one. */
  stats(): Stats {
    const own = this.#handle;
    const call = (): Stats => (own === null ? statSync(this.directory) : fstatSync(own.fd));
    return fileCall(call, { address: this.text("") });
  }

  /** What is there under that name, links not followed. @throws UnixError, but for ENOENT */
  look(name = this.name): Stats | undefined {
    const detail = { address: this.text(name) };
    return fileCall(() => lstatSync(this.at(name), { throwIfNoEntry: false }), detail);
  }

  /** The same; undefined: nothing to be seen. */
  stat(name = this.name): Stats | undefined {
    try {
      return this.look(name);
    } catch {
      return undefined; // too long, or not readable for this process: bind reports it
    }
  }

  /** Whether that very file has the name. @throws UnixError */
  has(wanted: FileIdentity, name = this.name): boolean {
    return isSame(this.look(name), wanted);
  }

  /** Remove a file if it is that very one. @throws UnixError */
  removeIf(wanted: FileIdentity, name = this.name): void {
    if (!this.has(wanted, name)) return;
    try {
      fileCall(() => unlinkSync(this.at(name)), { address: this.text(name) });
    } catch (error) {
      if (!(error instanceof UnixError && error.code === "ENOENT")) throw error;
    }
  }

  /** Open a file in it, never through a link. The number, or a negative errno. */
  open(name: string, flags: number, mode = 0): number {
    return open(this.at(name), flags | file.O_NOFOLLOW, mode);
  }

  /**
   * The path of a file in it without links, under which the kernel may be told of it, and show it
   * to others: only if no user but root and this one can make that path lead elsewhere. Null if
   * another could, and if it has no such path (removed, or outside of our root).
   */
  steadyPath(name = this.name): Buffer | null {
    if (this.#handle === null) return fromLatin(join(this.#path, name));
    try {
      const real = readlinkSync(this.directory, { encoding: "buffer" }).toString("latin1");
      const steady = real.startsWith("/") && isSteady(real, this.stats());
      return steady ? fromLatin(join(real, name)) : null;
    } catch {
      return null; // removed, or not to be looked at
    }
  }

  [Symbol.dispose](): void {
    this.#handle?.close();
  }
}

/** 0 if there is a directory, or a link to one; else why not, as a negative errno. */
function lookAt(path: Buffer): number {
  try {
    return statSync(path).isDirectory() ? 0 : -errno.ENOTDIR;
  } catch (error) {
    return fileErrno(error) ?? -errno.EIO;
  }
}

const join = (directory: string, name: string): string =>
  directory.endsWith("/") ? `${directory}${name}` : `${directory}/${name}`;

/** Whether only root and this user can rename a directory on the way, and it ends there. */
function isSteady(real: string, end: FileIdentity): boolean {
  let at = "/";
  let here = lstatSync(at);
  for (const part of real.split("/").filter((one) => one !== "")) {
    at = join(at, part);
    const next = lstatSync(fromLatin(at));
    if (!keeps(here, next)) return false;
    here = next;
  }
  return isSame(here, end);
}

/** Whether only root and this user can change a directory's entry for `child`. */
function keeps(parent: Stats, child: Stats): boolean {
  if (!isTrusted(parent)) return false;
  // the group that has its user's number is that user's own, as most systems make them
  const byGroup = (parent.mode & format.S_IWGRP) !== 0 && parent.gid !== parent.uid;
  const byAll = (parent.mode & format.S_IWOTH) !== 0;
  if (!byGroup && !byAll) return true;
  return (parent.mode & format.S_ISVTX) !== 0 && isTrusted(child);
}

const isTrusted = ({ uid }: Stats): boolean => uid === 0 || uid === process.geteuid?.();

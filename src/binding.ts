// A name that a socket of ours has taken: made with the right mode, removed only if still ours.

import { fstatSync, lstatSync, renameSync, type Stats, unlinkSync } from "node:fs";
import { basename, dirname } from "node:path";
import { errno } from "../native/errno.ts";
import { file, mode as format } from "../native/file.ts";
import { absolute, formatAddress, withShortAddress } from "./address.ts";
import { check, fileCall, UnixError } from "./errors.ts";
import { removeAtEnd, removed } from "./leftovers.ts";
import { type LockFile, withDirectoryLock, withLock } from "./locks.ts";
import { integer } from "./socket-options.ts";
import type { Address } from "./structs/sockaddr-un.ts";
import { chmod, chown, close, fchmod, open } from "./syscalls/fd.ts";
import { bind, socketName } from "./syscalls/socket.ts";

/** How a socket's file is made, and whether it goes with the socket. */
export interface FileOptions {
  /** Permissions of the socket's file, e.g. 0o660, whatever the umask. Default: 0o777 less that. */
  readonly mode?: number | undefined;
  /** Owner of the socket's file; needs root to be another. */
  readonly owner?: { readonly uid?: number; readonly gid?: number } | undefined;
  /**
   * Remove the socket's file on close, at exit, and when SIGTERM or SIGINT end the process; only if
   * it is still the file that was made here. Default true.
   */
  readonly unlinkOnClose?: boolean | undefined;
}

const MODE_MASK = 0o7777;
const KEEP = 0xffffffff; // (uid_t)-1: leave as it is

/** A path as latin-1 text, which can be cut and joined without knowing its encoding. */
export const asLatin = (path: string | Uint8Array): string =>
  Buffer.from(path as string).toString("latin1");

/** Back from latin-1 to the path's bytes. */
export const fromLatin = (text: string): Buffer => Buffer.from(text, "latin1");

/**
 * The directory of a path, itself: what is done in it stays in it, whatever its name leads to by
 * then (renamed, or replaced by a link to somewhere else).
 */
export class Place {
  readonly #path: string;
  /** −1 where there is no O_PATH (macOS): then it goes by its name. */
  #fd = -1;
  /** Whether that can be locked: not where the directory may be searched, but not read. */
  #lockable = false;
  /** The last part of the path, as latin-1 text. */
  readonly name: string;

  constructor(path: string | Uint8Array) {
    const whole = asLatin(path);
    this.#path = dirname(whole);
    this.name = basename(whole);
    const { O_PATH } = file;
    if (O_PATH === null) return;
    // never by its name instead: that may lead somewhere else each time it is used
    const fd = open(fromLatin(this.#path), file.O_RDONLY | file.O_DIRECTORY);
    this.#lockable = fd >= 0;
    const unread = (): number => open(fromLatin(this.#path), O_PATH | file.O_DIRECTORY);
    this.#fd = check(fd === -errno.EACCES ? unread() : fd, "bind", { address: whole });
  }

  /** The way to the directory. */
  get directory(): Buffer {
    return this.#fd < 0 ? fromLatin(this.#path) : Buffer.from(`/proc/self/fd/${this.#fd}`);
  }

  /** The way to a file in it. */
  at(name = this.name): Buffer {
    return Buffer.concat([this.directory, fromLatin(`/${name}`)]);
  }

  /** Where that is by the path that was given, to be read. */
  text(name = this.name): string {
    return fromLatin(`${this.#path}/${name}`).toString();
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
      return undefined; // too long, or not ours to look at: bind will say
    }
  }

  /** Remove a file if it is that very one. @throws UnixError */
  removeIf({ dev, ino }: FileIdentity, name = this.name): void {
    const now = this.look(name);
    if (now?.dev !== dev || now.ino !== ino) return;
    try {
      fileCall(() => unlinkSync(this.at(name)), { address: this.text(name) });
    } catch (error) {
      if (!(error instanceof UnixError && error.code === "ENOENT")) throw error;
    }
  }

  /**
   * Call `use` while nobody else has the directory's lock, or without where it cannot be locked. No
   * other descriptor is needed. @throws UnixError ETIMEDOUT
   */
  locked(timeoutMs: number, use: () => void): void {
    if (this.#lockable) withLock(this.#fd, this.directory, { timeoutMs, use });
    else withDirectoryLock(this.directory, { timeoutMs, use });
  }

  [Symbol.dispose](): void {
    if (this.#fd >= 0) close(this.#fd);
    this.#fd = -1;
  }
}

/** Which file it is, whatever its name. */
export type FileIdentity = { readonly dev: number; readonly ino: number };

/** A start takes about a millisecond; one that was stopped must not keep others from ending. */
const REMOVE_TIMEOUT_MS = 1000;

/** The name of a bound socket. */
export class Binding {
  /** As given, but absolute. */
  readonly address: Address;
  #made: { readonly file: FileIdentity; readonly place: Place } | null;
  #lockFile: LockFile | null = null;

  /** @param made the socket's file and its directory, if it is to go with the socket */
  constructor(address: Address, made: { file: FileIdentity; place: Place } | null) {
    this.address = address;
    this.#made = made;
    if (made !== null) removeAtEnd(this);
  }

  /** Hold the lock file for as long as the name. */
  hold(lockFile: LockFile): void {
    this.#lockFile = lockFile;
    removeAtEnd(this);
  }

  /** The file that goes with the socket; null where none does. */
  get file(): FileIdentity | null {
    return this.#made?.file ?? null;
  }

  /** Another process may have the socket by the time this one ends: then the file is left. */
  lend(): void {
    removed(this);
  }

  /** It has not taken it. */
  takeBack(): void {
    if (this.#made !== null || this.#lockFile !== null) removeAtEnd(this);
  }

  /**
   * Give the name up. The file is removed if it is still the one that bind made. To be called while
   * the socket is open: as long as it is, no other file can have the same inode (K2).
   */
  remove(): void {
    if (this.#made !== null) removeFile(this.#made);
    this.leave();
  }

  /** Give the name up, and leave the file to whoever has the socket now. */
  leave(): void {
    removed(this);
    this.#made?.place[Symbol.dispose]();
    this.#made = null;
    this.#lockFile?.release();
    this.#lockFile = null;
  }
}

/**
 * Under the directory's lock, so that no successor renames its own file to this name between the
 * look and the removal; with the descriptor that there is, so also when no other is to be had. If
 * the lock is not to be had in time, a stale file is the lesser evil.
 */
function removeFile({ file, place }: { file: FileIdentity; place: Place }): void {
  try {
    place.locked(REMOVE_TIMEOUT_MS, () => place.removeIf(file));
  } catch {
    // gone already, or not ours to remove
  }
}

/** Check what can be checked before there is a socket. */
export function checkFileOptions({ mode, owner }: FileOptions): void {
  if (mode !== undefined) integer("mode", mode, { most: MODE_MASK });
  for (const id of [owner?.uid, owner?.gid]) {
    if (id !== undefined) integer("owner", id, { most: KEEP - 1 });
  }
}

interface BindSocketOptions extends FileOptions {
  /** What makes the bound socket a server. */
  readonly ready?: () => void;
  /**
   * Bind under this name in the same directory, and rename it over the address's own when it is
   * ready: whoever connects finds the old socket or the new one, never none.
   */
  readonly aside?: string;
}

/**
 * Bind `fd` and call `ready` (listen). With `mode` the file is born with no more than that (fchmod
 * before bind, K1), and gets what the umask took away before anybody can connect.
 */
export function bindSocket(fd: number, asked: Address, options: BindSocketOptions = {}): Binding {
  const address = absolute(asked);
  const detail = { address: formatAddress(address) };
  if (options.mode !== undefined) check(fchmod(fd, options.mode), "fchmod", detail);
  if (address.kind === "path") return bindFile(fd, address, options);
  check(bind(fd, address), "bind", detail);
  options.ready?.();
  return new Binding(named(fd, address), null);
}

type PathAddress = Extract<Address, { kind: "path" }>;

function bindFile(fd: number, address: PathAddress, options: BindSocketOptions): Binding {
  const { ready, aside } = options;
  const place = new Place(address.path);
  try {
    const name = aside ?? place.name;
    const file = make(fd, { address, place, name });
    try {
      finish(place.at(name), file, options);
      ready?.();
      if (aside !== undefined) rename(place, aside);
    } catch (error) {
      removeQuietly(place, file, name);
      throw error;
    }
    if (options.unlinkOnClose !== false) return new Binding(address, { file, place });
  } catch (error) {
    place[Symbol.dispose]();
    throw error;
  }
  place[Symbol.dispose]();
  return new Binding(address, null);
}

function rename(place: Place, from: string): void {
  const address = place.text();
  fileCall(() => renameSync(place.at(from), place.at()), { address });
}

/** What is left of a name that could not be taken; why it could not is what there is to say. */
function removeQuietly(place: Place, made: FileIdentity, name: string): void {
  try {
    place.removeIf(made, name);
  } catch {
    // not ours to remove
  }
}

/** Bind, and be sure that the file in `place` is the one that bind made. */
function make(
  fd: number,
  { address, place, name }: { address: PathAddress; place: Place; name: string },
): Stats {
  const at = beside(address, name);
  const detail = { address: formatAddress(at) };
  if (place.stat(name) !== undefined) throw new UnixError("bind", -errno.EADDRINUSE, detail);
  const bound = withShortAddress(at, "bind", (short) => bind(fd, short));
  check(bound, "bind", detail);
  const made = place.look(name); // what cannot be looked at is left: it may be anybody's
  if (made !== undefined) return made;
  const hint = "its directory was replaced in the meantime";
  throw new UnixError("bind", -errno.ENOENT, { ...detail, hint });
}

function beside(address: PathAddress, name: string): PathAddress {
  return { kind: "path", path: fromLatin(`${dirname(asLatin(address.path))}/${name}`) };
}

/** The name the kernel chose, where it was asked to. */
function named(fd: number, address: Address): Address {
  if (address.kind !== "unnamed") return address;
  const name = socketName(fd, "getsockname");
  return typeof name === "number" ? address : name;
}

/** Exact mode and owner, through a descriptor of the very file that bind made. */
function finish(path: Buffer, made: Stats, { mode, owner }: FileOptions): void {
  const wrongMode = mode !== undefined && (made.mode & MODE_MASK) !== mode;
  if (!wrongMode && owner === undefined) return;
  const fd = check(open(path, (file.O_PATH ?? 0) | file.O_NOFOLLOW), "open");
  try {
    const { dev, ino, mode: found } = fileCall(() => fstatSync(fd));
    if (dev !== made.dev || ino !== made.ino || (found & format.S_IFMT) !== format.S_IFSOCK) return;
    const name = `/proc/self/fd/${fd}`;
    if (owner !== undefined) check(chown(name, owner.uid ?? KEEP, owner.gid ?? KEEP), "chown");
    if (wrongMode) check(chmod(name, mode), "chmod");
  } finally {
    close(fd);
  }
}

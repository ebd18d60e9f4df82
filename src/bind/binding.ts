// The name of a bound socket: its file gets the right mode, and is removed only if it is still
// ours.

import { fstatSync, lstatSync, renameSync, type Stats } from "node:fs";
import { errno } from "../../native/errno.ts";
import { file, mode as format, NO_ID } from "../../native/file.ts";
import { system } from "../../native/platform.ts";
import { absolute, formatAddress } from "../address/address.ts";
import { Directory, type FileIdentity } from "../address/directory.ts";
import { tooLong, withShortAddress } from "../address/short-path.ts";
import { integer } from "../base/checks.ts";
import { check, fileCall, UnixError } from "../base/errors.ts";
import { MODE_BITS } from "../base/limits.ts";
import { cleanUpAtExit, forgetCleanup } from "../fd/exit-cleanup.ts";
import { isBusy } from "../lock/held.ts";
import { type Address, fitsSockaddr, maxPathBytes } from "../structs/sockaddr-un.ts";
import { chmod, chown, close, fchmod, open } from "../syscalls/fd.ts";
import { bind, socketName } from "../syscalls/socket.ts";
import { type AddressLock, tryLockName } from "./name-lock.ts";

/** How a socket's file is made, and whether it goes with the socket. */
export interface FileOptions {
  /**
   * Permissions of the socket's file, e.g. 0o660, whatever the umask. Default: 0o777 less that. If
   * the kernel shows the socket under another path than its file's (`replace`, long paths,
   * directories that others can exchange) the sticky bit comes on top: cleaners then leave it.
   */
  readonly mode?: number | undefined;
  /** Owner of the socket's file; needs root to be another. */
  readonly owner?: { readonly uid?: number; readonly gid?: number } | undefined;
  /**
   * Remove the socket's file on close and at exit, only if it is still the file that was made here.
   * What a signal ends leaves it, for the next server to take over. Default true.
   */
  readonly unlinkOnClose?: boolean | undefined;
}

/** The name of a bound socket. */
export class Binding {
  /** As given, but absolute. */
  readonly address: Address;
  #made: { readonly file: FileIdentity; readonly place: Directory } | null;
  #lockFile: AddressLock | null = null;

  /** @param made the socket's file and its directory, if it is to go with the socket */
  constructor(address: Address, made: { file: FileIdentity; place: Directory } | null) {
    this.address = address;
    this.#made = made;
    if (made !== null) cleanUpAtExit(this);
  }

  /** Hold the lock file for as long as the name. */
  attachLockFile(lockFile: AddressLock): void {
    this.#lockFile = lockFile;
    cleanUpAtExit(this);
  }

  /** The file that goes with the socket; null if none does. */
  get file(): FileIdentity | null {
    return this.#made?.file ?? null;
  }

  /** Another process may have the socket by the time this one ends: then the file is left. */
  suspendCleanup(): void {
    forgetCleanup(this);
  }

  /** The successor gave up: this process removes the file at its exit again. */
  resumeCleanup(): void {
    if (this.#made !== null || this.#lockFile !== null) cleanUpAtExit(this);
  }

  /**
   * Give the name up. The file is removed if it is still the one that bind made. To be called while
   * the socket is open: as long as it is, no other file can have the same inode
   * (facts: #inode-of-an-open-socket).
   */
  remove(): void {
    if (this.#made !== null) removeFile(this.#made);
    this.release();
  }

  /** Give the name up, and leave the file to the process that has the socket now. */
  release(): void {
    forgetCleanup(this);
    this.#made?.place[Symbol.dispose]();
    this.#made = null;
    this.#lockFile?.release();
    this.#lockFile = null;
  }
}

/**
 * Under the name's lock, so that no successor renames its own file to this name between the look
 * and the removal. Never waits: the holder of the lock is taking the name, and a stale file does
 * less harm.
 */
function removeFile({ file, place }: { file: FileIdentity; place: Directory }): void {
  try {
    const lock = lockOf(place);
    if (lock !== null && isBusy(lock)) return;
    try {
      place.removeIf(file);
    } finally {
      lock?.release();
    }
  } catch {
    // removed already, or this process may not remove it
  }
}

/**
 * Null: it cannot be taken, because the file system has no locks, its file cannot be made (nor
 * could a successor make it), or no descriptor is left.
 */
function lockOf(place: Directory): ReturnType<typeof tryLockName> {
  try {
    return tryLockName(place);
  } catch {
    return null;
  }
}

/** Check what can be checked before there is a socket. */
export function checkFileOptions({ mode, owner }: FileOptions): void {
  if (mode !== undefined) integer("mode", mode, { max: MODE_BITS });
  for (const id of [owner?.uid, owner?.gid]) {
    if (id !== undefined) integer("owner", id, { max: NO_ID - 1 });
  }
}

interface BindSocketOptions extends FileOptions {
  /** What makes the bound socket a server. */
  readonly ready?: () => void;
  /**
   * Bind under this name in the same directory, and rename it over the address's own when it is
   * ready: a client finds the old socket or the new one, never none.
   */
  readonly aside?: string;
  /** The directory of the address's path, if it is open: the binding's, if that has a `file`. */
  readonly directory?: Directory;
}

/**
 * Bind `fd` and call `ready` (listen). With `mode` the file is made with no more than that, by
 * fchmod before bind (facts: #mode-before-bind), and gets what the umask took away before anybody
 * can connect.
 */
export function bindSocket(fd: number, asked: Address, options: BindSocketOptions = {}): Binding {
  const address = absolute(asked);
  if (address.kind === "path") return bindPath(fd, address, options);
  check(bind(fd, address), "bind", { address: formatAddress(address) });
  options.ready?.();
  return new Binding(named(fd, address), null);
}

type PathAddress = Extract<Address, { kind: "path" }>;

function bindPath(fd: number, address: PathAddress, options: BindSocketOptions): Binding {
  const { directory, unlinkOnClose = true } = options;
  const place = directory ?? Directory.of(address.path, "bind", "bind");
  let kept = false;
  try {
    const file = bindFile(fd, place, options);
    kept = unlinkOnClose;
    return new Binding(address, unlinkOnClose ? { file, place } : null);
  } finally {
    if (!kept && directory === undefined) place[Symbol.dispose]();
  }
}

function bindFile(fd: number, place: Directory, options: BindSocketOptions): Stats {
  const { ready, aside } = options;
  const name = aside ?? place.name;
  const file = make(fd, place, options);
  try {
    finish(place.at(name), file, options);
    ready?.();
    if (aside !== undefined) rename(place, aside);
  } catch (error) {
    removeQuietly(place, file, name);
    throw error;
  }
  return file;
}

function rename(place: Directory, from: string): void {
  const address = place.text();
  fileCall(() => renameSync(place.at(from), place.at()), { address });
}

/** Remove what was made for a name that could not be taken; the caller throws the reason. */
function removeQuietly(place: Directory, made: FileIdentity, name: string): void {
  try {
    place.removeIf(made, name);
  } catch {
    // this process may not remove it
  }
}

/**
 * Bind in that very directory: by its path only if that certainly leads there, so that the kernel
 * shows the socket under it (cleaners look at that), else through the directory's descriptor.
 */
function make(fd: number, place: Directory, { aside, mode }: BindSocketOptions): Stats {
  const name = aside ?? place.name;
  const detail = { address: place.text(name) };
  const path = place.steadyPath(name);
  const direct = path !== null && fitsSockaddr({ kind: "path", path });
  const shown = direct && aside === undefined;
  const born = bornWith(mode, shown);
  if (born !== undefined && system === "linux") check(fchmod(fd, born), "fchmod", detail);
  if (place.stat(name) !== undefined) throw new UnixError("bind", -errno.EADDRINUSE, detail);
  const at: Address = { kind: "path", path: direct ? path : place.at(name) };
  if (file.O_PATH !== null && !fitsSockaddr(at)) {
    throw tooLong(place.address(name), maxPathBytes - place.directory.length - 1);
  }
  const bound = withShortAddress(at, "bind", (short) => bind(fd, short));
  check(bound, "bind", detail);
  const made = place.look(name); // a file that cannot be looked at is left: it may be another's
  if (made !== undefined) return made;
  const hint = "its directory was replaced in the meantime";
  throw new UnixError("bind", -errno.ENOENT, { ...detail, hint });
}

const ALL = 0o777;

/**
 * The mode that the socket is to have before bind. systemd-tmpfiles, which knows live sockets by
 * their path, leaves what has the sticky bit; to a socket it means nothing.
 */
function bornWith(mode: number | undefined, shown: boolean): number | undefined {
  if (shown || system !== "linux") return mode;
  return (mode ?? ALL) | format.S_ISVTX;
}

/** The name the kernel chose, if it was asked to. */
function named(fd: number, address: Address): Address {
  if (address.kind !== "unnamed") return address;
  const name = socketName(fd, "getsockname");
  if (typeof name === "number") throw new UnixError("getsockname", name);
  return name;
}

/** Exact mode and owner, through a descriptor of the very file that bind made. */
function finish(path: Buffer, made: Stats, { mode: asked, owner }: FileOptions): void {
  const mode = asked === undefined ? undefined : asked | (made.mode & format.S_ISVTX);
  const wrongMode = mode !== undefined && (made.mode & MODE_BITS) !== mode;
  if (!wrongMode && owner === undefined) return;
  if (file.O_PATH === null) {
    finishByName(path, made, { mode: wrongMode ? mode : undefined, owner });
    return;
  }
  const fd = check(open(path, (file.O_PATH ?? 0) | file.O_NOFOLLOW), "open");
  try {
    const { dev, ino, mode: found } = fileCall(() => fstatSync(fd));
    if (dev !== made.dev || ino !== made.ino || (found & format.S_IFMT) !== format.S_IFSOCK) return;
    const name = `/proc/self/fd/${fd}`;
    // NO_ID: leave as it is
    if (owner !== undefined) check(chown(name, owner.uid ?? NO_ID, owner.gid ?? NO_ID), "chown");
    if (wrongMode) check(chmod(name, mode), "chmod");
  } finally {
    close(fd);
  }
}

/**
 * macOS: fchmod(2) refuses sockets there, and there are no descriptors of the file alone. The file
 * is made with what the umask leaves, and gets its mode by its name before anybody can connect (a
 * datagram may come earlier); a process that may write into its directory can put another file in
 * its place meanwhile.
 */
function finishByName(path: Buffer, made: Stats, { mode, owner }: FileOptions): void {
  const { dev, ino, mode: found } = fileCall(() => lstatSync(path));
  if (dev !== made.dev || ino !== made.ino || (found & format.S_IFMT) !== format.S_IFSOCK) return;
  if (owner !== undefined) check(chown(path, owner.uid ?? NO_ID, owner.gid ?? NO_ID), "chown");
  if (mode !== undefined) check(chmod(path.toString(), mode), "chmod");
}

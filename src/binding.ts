// A name that a socket of ours has taken: made with the right mode, removed only if still ours.

import {
  chmodSync,
  closeSync,
  fstatSync,
  lstatSync,
  openSync,
  renameSync,
  type Stats,
  unlinkSync,
} from "node:fs";
import { basename, dirname } from "node:path";
import { file, mode as format } from "../native/file.ts";
import { absolute, formatAddress, withShortAddress } from "./address.ts";
import { check } from "./errors.ts";
import { removeAtEnd, removed } from "./leftovers.ts";
import type { LockFile } from "./locks.ts";
import { integer } from "./socket-options.ts";
import type { Address } from "./structs/sockaddr-un.ts";
import { chown, close, fchmod, open } from "./syscalls/fd.ts";
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

/** A path for node:fs, byte for byte. */
export const asPath = (path: string | Uint8Array): string | Buffer =>
  typeof path === "string" ? path : Buffer.from(path);

/** A path as latin-1 text, which can be cut and joined without knowing its encoding. */
export const asLatin = (path: string | Uint8Array): string =>
  Buffer.from(path as string).toString("latin1");

/** Back from latin-1 to the path's bytes. */
export const fromLatin = (text: string): Buffer => Buffer.from(text, "latin1");

/** The name of a bound socket. */
export class Binding {
  /** As given, but absolute. */
  readonly address: Address;
  readonly #stats: { readonly dev: number; readonly ino: number } | null;
  /** The directory itself, so that its name may change meanwhile; −1 where there is none. */
  #directory = -1;
  #name = "";
  /** Held for as long as the name is. */
  lockFile: LockFile | null = null;

  /** @param stats the socket's file, if it is to go with the socket */
  constructor(address: Address, stats: Stats | null) {
    this.address = address;
    this.#stats = stats;
    if (stats === null || address.kind !== "path") return;
    const path = asLatin(address.path);
    this.#name = basename(path);
    const flags = (file.O_PATH ?? 0) | file.O_DIRECTORY;
    this.#directory = Math.max(open(fromLatin(dirname(path)), flags), -1);
    removeAtEnd(this);
  }

  /**
   * Give the name up. The file is removed if it is still the one that bind made. To be called while
   * the socket is open: as long as it is, no other file can have the same inode (K2).
   */
  remove(): void {
    this.#unlink();
    this.leave();
  }

  /** Give the name up, and leave the file to whoever has the socket now. */
  leave(): void {
    removed(this);
    if (this.#directory >= 0) close(this.#directory);
    this.#directory = -1;
    this.#name = "";
    this.lockFile?.release();
  }

  #unlink(): void {
    if (this.#stats === null || this.address.kind !== "path" || this.#name === "") return;
    const inDirectory = file.O_PATH !== null && this.#directory >= 0;
    const path = inDirectory
      ? fromLatin(`/proc/self/fd/${this.#directory}/${this.#name}`)
      : asPath(this.address.path);
    try {
      const { dev, ino } = lstatSync(path);
      if (dev === this.#stats.dev && ino === this.#stats.ino) unlinkSync(path);
    } catch {
      // gone already, or not ours to remove
    }
  }
}

/** Check what can be checked before there is a socket. */
export function checkFileOptions({ mode, owner }: FileOptions): void {
  if (mode !== undefined) integer("mode", mode, { most: MODE_MASK });
  for (const id of [owner?.uid, owner?.gid]) {
    if (id !== undefined) integer("owner", id, { most: KEEP - 1 });
  }
}

/**
 * Bind `fd` and call `ready` (listen). With `mode` the file is born with no more than that (fchmod
 * before bind, K1), and gets what the umask took away before anybody can connect.
 *
 * @param aside bind under this name in the same directory, and rename it over the address's own
 *   when it is ready: whoever connects finds the old socket or the new one, never none
 */
export function bindSocket(
  fd: number,
  asked: Address,
  options: FileOptions & { readonly ready?: () => void; readonly aside?: string } = {},
): Binding {
  const address = absolute(asked);
  const { ready, aside } = options;
  const at = aside === undefined ? address : beside(address, aside);
  const detail = { address: formatAddress(at) };
  if (options.mode !== undefined) check(fchmod(fd, options.mode), "fchmod", detail);
  check(
    withShortAddress(at, "bind", (short) => bind(fd, short)),
    "bind",
    detail,
  );
  if (at.kind !== "path" || address.kind !== "path") {
    ready?.();
    return new Binding(named(fd, address), null);
  }
  const stats = lstatSync(asPath(at.path));
  try {
    finish(at.path, stats, options);
    ready?.();
    if (aside !== undefined) renameSync(asPath(at.path), asPath(address.path));
  } catch (error) {
    new Binding(at, stats).remove();
    throw error;
  }
  return new Binding(address, options.unlinkOnClose === false ? null : stats);
}

function beside(address: Address, name: string): Address {
  if (address.kind !== "path") return address;
  return { kind: "path", path: fromLatin(`${dirname(asLatin(address.path))}/${name}`) };
}

/** The name the kernel chose, where it was asked to. */
function named(fd: number, address: Address): Address {
  if (address.kind !== "unnamed") return address;
  const name = socketName(fd, "getsockname");
  return typeof name === "number" ? address : name;
}

/** Exact mode and owner, through a descriptor of the very file that bind made. */
function finish(path: string | Uint8Array, made: Stats, { mode, owner }: FileOptions): void {
  const wrongMode = mode !== undefined && (made.mode & MODE_MASK) !== mode;
  if (!wrongMode && owner === undefined) return;
  const fd = openSync(asPath(path), (file.O_PATH ?? 0) | file.O_NOFOLLOW);
  try {
    const { dev, ino, mode: found } = fstatSync(fd);
    if (dev !== made.dev || ino !== made.ino || (found & format.S_IFMT) !== format.S_IFSOCK) return;
    const name = `/proc/self/fd/${fd}`;
    if (owner !== undefined) check(chown(name, owner.uid ?? KEEP, owner.gid ?? KEEP), "chown");
    if (wrongMode) chmodSync(name, mode);
  } finally {
    closeSync(fd);
  }
}

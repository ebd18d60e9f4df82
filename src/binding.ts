// A name that a socket of ours has taken: made with the right mode, removed only if still ours.

import {
  chmodSync,
  closeSync,
  fstatSync,
  lstatSync,
  openSync,
  type Stats,
  unlinkSync,
} from "node:fs";
import { file, mode as format } from "../native/file.ts";
import { absolute, formatAddress, withShortAddress } from "./address.ts";
import { check } from "./errors.ts";
import { integer } from "./socket-options.ts";
import type { Address } from "./structs/sockaddr-un.ts";
import { chown, fchmod } from "./syscalls/fd.ts";
import { bind, socketName } from "./syscalls/socket.ts";

/** How a socket's file is made, and whether it goes with the socket. */
export interface BindOptions {
  /** Permissions of the socket's file, e.g. 0o660. Default: 0o777 less the umask. */
  readonly mode?: number | undefined;
  /** Owner of the socket's file; needs root to be another. */
  readonly owner?: { readonly uid?: number; readonly gid?: number } | undefined;
  /** Remove the socket's file on close. Default true. */
  readonly unlinkOnClose?: boolean | undefined;
}

const MODE_MASK = 0o7777;
const KEEP = 0xffffffff; // (uid_t)-1: leave as it is

/** The name of a bound socket. */
export class Binding {
  /** As given, but absolute. */
  readonly address: Address;
  readonly #file: { readonly dev: number; readonly ino: number } | null;

  constructor(address: Address, stats: Stats | null) {
    this.address = address;
    this.#file = stats;
  }

  /**
   * Remove the file, if it is still the one that bind made. To be called while the socket is open:
   * as long as it is, no other file can have the same inode (K2).
   */
  remove(): void {
    if (this.#file === null || this.address.kind !== "path") return;
    const path = asPath(this.address.path);
    try {
      const { dev, ino } = lstatSync(path);
      if (dev === this.#file.dev && ino === this.#file.ino) unlinkSync(path);
    } catch {
      // gone already, or not ours to remove
    }
  }
}

/** A path for node:fs, byte for byte. */
export const asPath = (path: string | Uint8Array): string | Buffer =>
  typeof path === "string" ? path : Buffer.from(path);

/** Check what can be checked before there is a socket. */
export function checkBindOptions({ mode, owner }: BindOptions): void {
  if (mode !== undefined) integer("mode", mode, { most: MODE_MASK });
  for (const id of [owner?.uid, owner?.gid]) {
    if (id !== undefined) integer("owner", id, { most: KEEP - 1 });
  }
}

/**
 * Bind `fd`. With `mode` the file is born with no more than that (fchmod before bind, K1), and then
 * gets what the umask has taken away.
 */
export function bindSocket(fd: number, asked: Address, options: BindOptions = {}): Binding {
  const address = absolute(asked);
  const detail = { address: formatAddress(address) };
  if (options.mode !== undefined) check(fchmod(fd, options.mode), "fchmod", detail);
  check(
    withShortAddress(address, "bind", (short) => bind(fd, short)),
    "bind",
    detail,
  );
  if (address.kind !== "path") return new Binding(named(fd, address), null);
  const stats = lstatSync(asPath(address.path));
  const binding = new Binding(address, options.unlinkOnClose === false ? null : stats);
  try {
    finish(address.path, stats, options);
  } catch (error) {
    binding.remove();
    throw error;
  }
  return binding;
}

/** The name the kernel chose, where it was asked to. */
function named(fd: number, address: Address): Address {
  if (address.kind !== "unnamed") return address;
  const name = socketName(fd, "getsockname");
  return typeof name === "number" ? address : name;
}

/** Exact mode and owner, through a descriptor of the very file that bind made. */
function finish(path: string | Uint8Array, made: Stats, { mode, owner }: BindOptions): void {
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

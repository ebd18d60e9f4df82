// "If a process is already bound to this address, just complain": the mutual exclusion that TCP
// ports have and Unix socket files lack.

import { readdirSync, type Stats, statSync } from "node:fs";
import { dirname } from "node:path";
import { errno } from "../native/errno.ts";
import { mode as format } from "../native/file.ts";
import { absolute, formatAddress } from "./address.ts";
import {
  asLatin,
  type Binding,
  bindSocket,
  type FileOptions,
  fromLatin,
  Place,
} from "./binding.ts";
import { type Holder, socketsAt } from "./bound-sockets.ts";
import { UnixError } from "./errors.ts";
import { type Probe, probe } from "./inspect.ts";
import { LockFile, withDirectoryLock } from "./locks.ts";
import { integer } from "./socket-options.ts";
import type { SocketType } from "./sockets.ts";
import type { Address } from "./structs/sockaddr-un.ts";
import { isOwnUid } from "./user-ids.ts";

/** How an address is taken. */
export interface BindOptions extends FileOptions {
  /**
   * Take the address only if no process has it, and take over the file that a dead one left behind.
   * Default true. false is bind(2) as it is: it fails on any file of that name, stale or not.
   */
  readonly exclusive?: boolean | undefined;
  /**
   * Hold a lock on this file for as long as the socket is open, with the pid inside; for network
   * file systems and for namespaces that share a path, where nothing else can tell, and for "one
   * instance only". It is removed on close, and never the reason that a stale socket stays.
   */
  readonly lockFile?: string | undefined;
  /** Take over a stale socket file even if it belongs to another user. Never a live one. */
  readonly takeOver?: boolean | undefined;
  /**
   * Take the name from a live server of the same user: bind aside, then rename over it. The old
   * server keeps its connections and does not remove the new file. For handing over.
   */
  readonly replace?: boolean | undefined;
  /** Listen even in a directory where everybody may remove and replace the socket. */
  readonly unsafeDirectory?: boolean | undefined;
  /**
   * How long to wait for another starter that is between looking and binding, in milliseconds,
   * blocking the thread; then ETIMEDOUT. Default 5,000; a start takes about one.
   */
  readonly lockTimeoutMs?: number | undefined;
}

/**
 * EADDRINUSE with what is known of whoever is in the way.
 */
export class AddressInUseError extends UnixError {
  /** What was found at the address. */
  readonly found: Probe;
  /** The processes that have it open, as far as this process may see. */
  readonly holders: readonly Holder[];

  constructor(found: Probe, address: Address, hint: string) {
    super("bind", -errno.EADDRINUSE, { address: formatAddress(address), hint });
    this.found = found;
    this.holders = found.holders;
  }
}

const LOCK_TIMEOUT_MS = 5000;
/** Others may come and go between looking and binding, but not for ever. */
const TRIES = 16;

/** Check what can be checked before there is a socket. */
export function checkBindOptions({ lockTimeoutMs, lockFile }: BindOptions): void {
  if (lockTimeoutMs !== undefined) integer("lockTimeoutMs", lockTimeoutMs);
  if (lockFile !== undefined && (typeof lockFile !== "string" || lockFile === "")) {
    throw new TypeError("lockFile is a path");
  }
}

interface Start {
  readonly fd: number;
  readonly type: SocketType;
  readonly address: Address;
  readonly options: BindOptions;
  /** What makes the bound socket a server: listen. */
  readonly ready: () => void;
}

/**
 * Bind a socket to its address under the rules of `options`, and make it ready, before anybody else
 * can take the address.
 *
 * @throws AddressInUseError naming the holder; UnixError ERR_UNSAFE_DIRECTORY, ETIMEDOUT, …
 */
export function takeAddress(start: Start): Binding {
  const address = absolute(start.address);
  const { lockFile } = start.options;
  if (lockFile === undefined) return take({ ...start, address }, false);
  const lock = LockFile.take(lockFile, formatAddress(address));
  try {
    const binding = take({ ...start, address }, true);
    binding.hold(lock);
    return binding;
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** @param alone a lock file says that nobody else is starting, even where directories cannot */
function take(start: Start, alone: boolean): Binding {
  const { fd, address, options, ready } = start;
  const { exclusive = true, lockTimeoutMs: timeoutMs = LOCK_TIMEOUT_MS } = options;
  if (!exclusive) return bindSocket(fd, address, { ...options, ready });
  if (address.kind === "abstract") return takeName(start);
  if (address.kind === "unnamed") return bindSocket(fd, address, { ready });
  checkDirectory(start);
  if (isHeld(address)) refuse(look(start), start); // that is so without the lock, too
  const use = (locked: boolean): Binding => takePath(start, locked || alone);
  return withDirectoryLock(directoryOf(address), { timeoutMs, use });
}

function directoryOf(address: Address): Buffer {
  return fromLatin(dirname(address.kind === "path" ? asLatin(address.path) : "/"));
}

/** Abstract names are exclusive by nature, and go with their socket. */
function takeName({ fd, address, ready, type }: Start): Binding {
  try {
    return bindSocket(fd, address, { ready });
  } catch (error) {
    if (!isTaken(error)) throw error;
    const found = probe(address, { type, follow: false });
    throw new AddressInUseError(found, address, `${who(found)} has it`);
  }
}

/**
 * Where everybody may rename and remove everybody's files, no promise about a name can be kept.
 */
function checkDirectory({ address, options }: Start): void {
  if (options.unsafeDirectory === true) return;
  const directory = directoryOf(address);
  const stats = statOrNull(directory);
  if (stats === null || !stats.isDirectory()) return; // bind will say what is wrong
  if ((stats.mode & format.S_IWOTH) === 0 || (stats.mode & format.S_ISVTX) !== 0) return;
  throw new UnixError("bind", -errno.EPERM, {
    code: "ERR_UNSAFE_DIRECTORY",
    address: formatAddress(address),
    hint:
      `UnsafeDirectory: anybody may replace files in ${directory}; use a directory of your own, ` +
      "set its sticky bit, or pass unsafeDirectory: true",
  });
}

function statOrNull(path: Buffer): Stats | null {
  try {
    return statSync(path);
  } catch {
    return null;
  }
}

/** Whether the kernel knows of a socket there. Not by connecting: whom that meets may change. */
function isHeld(address: Address): boolean {
  try {
    return address.kind === "path" && (socketsAt(address.path)?.records.length ?? 0) > 0;
  } catch {
    return false; // bind will say what is wrong
  }
}

/**
 * What is there. With `place` all is asked of the name in that very directory: by its path one
 * question could be answered from here and the next from where somebody's link leads by then. What
 * is stale so must be stale by its path too, which is all that /proc/net/unix knows.
 */
function look({ address, type }: Start, place?: Place): Probe {
  const byPath = (): Probe => probe(address, { type, follow: false });
  if (place === undefined) return byPath();
  const found = { ...probe({ path: place.at() }, { type, follow: false }), address };
  if (found.state !== "stale") return found;
  const again = byPath();
  return isLive(again) ? again : found;
}

/** Look, take over what is stale, bind, listen; nobody else is doing so if `locked`. */
function takePath(start: Start, locked: boolean): Binding {
  const { fd, options, ready, address } = start;
  for (let tries = 0; tries < TRIES; tries++) {
    const binding = bindIfFree(start);
    if (binding !== null) return binding;
    using place = new Place(address.kind === "path" ? address.path : "/");
    const found = look(start, place);
    if (found.state === "free") continue;
    refuse(found, start);
    if (isLive(found)) {
      removeAsides(place);
      return bindSocket(fd, address, { ...options, ready, aside: asideName() });
    }
    if (!locked) throw new AddressInUseError(found, address, CANNOT_LOCK);
    if (found.file !== undefined) place.removeIf(found.file);
  }
  throw new AddressInUseError(look(start), address, "others keep taking it");
}

/** Whoever is live stays, unless it is to be replaced. */
function refuse(found: Probe, start: Start): void {
  refuseForeign(found, start);
  if (!isLive(found) || start.options.replace === true) return;
  throw new AddressInUseError(found, start.address, inUse(found));
}

const CANNOT_LOCK =
  "a stale socket, but the directory cannot be locked (no read permission, or a file system " +
  "without locks), so it is not certain that nobody else is taking it over: use lockFile";

/** null: something is there. */
function bindIfFree({ fd, address, options, ready }: Start): Binding | null {
  try {
    return bindSocket(fd, address, { ...options, ready });
  } catch (error) {
    if (isTaken(error)) return null;
    throw error;
  }
}

/** The address is; listen says the same of other things. */
const isTaken = (error: unknown): boolean =>
  error instanceof UnixError && error.errno === -errno.EADDRINUSE && error.syscall === "bind";

const isLive = ({ state }: Probe): boolean => state !== "stale" && state !== "free";

const UNKNOWN = "65534, which is anybody in this user namespace";

/** What is no socket, or not ours to judge, stays as it is. */
function refuseForeign(found: Probe, { address, options }: Start): void {
  if (found.state === "not-a-socket") {
    const hint = `there is ${found.found} of this name, which bunix never removes`;
    throw new AddressInUseError(found, address, hint);
  }
  if (found.state === "forbidden") {
    const hint = "there is a socket that this process may not connect to, so it may be live";
    throw new AddressInUseError(found, address, hint);
  }
  const { owner } = found;
  const live = isLive(found);
  if (owner === undefined || isOwnUid(owner)) return;
  if (options.takeOver === true && !live) return;
  const whose = `the socket belongs to uid ${owner ?? UNKNOWN}`;
  const state = live ? `${who(found)} has it` : "it is stale: remove it, or pass takeOver: true";
  throw new AddressInUseError(found, address, `${whose}; ${state}`);
}

function inUse(found: Probe): string {
  const since = found.since === undefined ? "" : ` since ${found.since.toISOString()}`;
  const what = found.state === "wrong-type" ? ` with a ${found.type} socket` : "";
  return `${who(found)} has it${what}${since}; replace: true would take the name from it`;
}

function who({ holders }: Probe): string {
  if (holders.length === 0) return "a process that cannot be seen from here";
  const names = [...new Set(holders.map(({ pid, command }) => `${pid} (${command})`))];
  return `process ${names.join(", ")}`;
}

const ASIDE = /^\.bunix-[0-9a-f]{8}$/;

const asideName = (): string => `.bunix-${crypto.randomUUID().slice(0, 8)}`;

/** What a successor left that died between bind and rename. */
function removeAsides(place: Place): void {
  for (const name of namesIn(place).filter((one) => ASIDE.test(one))) {
    const stats = place.stat(name);
    const ours = stats?.isSocket() === true && isOwnUid(stats.uid);
    if (ours && socketsAt(place.at(name))?.records.length === 0) place.removeIf(stats, name);
  }
}

function namesIn({ directory }: Place): string[] {
  try {
    return readdirSync(directory, { encoding: "latin1" });
  } catch {
    return []; // not ours to read
  }
}

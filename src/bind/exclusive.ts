// "If a process is already bound to this address, just complain": the mutual exclusion that TCP
// ports have and Unix socket files lack.

import { readdirSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { mode as format } from "../../native/file.ts";
import { system } from "../../native/platform.ts";
import { absolute, formatAddress } from "../address/address.ts";
import { Directory } from "../address/directory.ts";
import { Backoff } from "../base/backoff.ts";
import { integer } from "../base/checks.ts";
import { UnixError } from "../base/errors.ts";
import type { SocketType } from "../base/socket-type.ts";
import { type Probe, probe } from "../inspect/probe.ts";
import { kernelTells, socketsAt } from "../inspect/unix-sockets.ts";
import { type HeldLock, isBusy, isForbidden } from "../lock/held.ts";
import type { Address } from "../structs/sockaddr-un.ts";
import { monotonicMs } from "../syscalls/clock.ts";
import { isOwnUid, knownUid } from "../users/known-ids.ts";
import { type Binding, bindSocket, type FileOptions } from "./binding.ts";
import { AddressInUseError } from "./in-use.ts";
import { AddressLock, tryLockName } from "./name-lock.ts";

/** How an address is taken. */
export interface BindOptions extends FileOptions {
  /**
   * Take the address only if no process has it, and take over the file that a dead one left behind.
   * Default true. false is bind(2) as it is: it fails on any file of that name, stale or not.
   */
  readonly exclusive?: boolean | undefined;
  /**
   * Hold a lock on this file for as long as the socket is open, with the pid inside; for network
   * file systems and for namespaces that share a path, if nothing else can tell, and for "one
   * instance only". Only a file of this user that is empty or has a pid in it is used, no other is
   * touched. It is removed on close and at exit, and never the reason that a stale socket stays.
   */
  readonly lockFile?: string | undefined;
  /** Take over a stale socket file even if it belongs to another user. Never a live one. */
  readonly takeOver?: boolean | undefined;
  /**
   * Take the name from a live server of the same user: bind aside, then rename over it. The old
   * server keeps its connections and does not remove the new file. For handing over.
   */
  readonly replace?: boolean | undefined;
  /** Listen even in a directory if any user may remove and replace the socket. */
  readonly unsafeDirectory?: boolean | undefined;
  /**
   * How long to wait for another starter that is just taking over the same stale file, or replacing
   * the same server, in milliseconds, blocking the thread; then ETIMEDOUT. Default 5,000; it takes
   * about one. A free address is never waited for.
   */
  readonly lockTimeoutMs?: number | undefined;
}

const LOCK_TIMEOUT_MS = 5000;
/** Other processes may take and leave the name between looking and binding; tries are bounded. */
const TRIES = 16;

/** Check what can be checked before there is a socket. */
export function checkBindOptions({ lockTimeoutMs, lockFile }: BindOptions): void {
  if (lockTimeoutMs !== undefined) integer("lockTimeoutMs", lockTimeoutMs);
  if (lockFile === undefined) return;
  if (typeof lockFile !== "string" || !/[^/]$/.test(lockFile) || lockFile.includes("\0")) {
    throw new TypeError("lockFile is a path, without NUL, and without a slash at its end");
  }
}

interface BindRequest {
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
export function bindExclusive(start: BindRequest): Binding {
  const address = absolute(start.address);
  const { lockFile } = start.options;
  if (lockFile === undefined) return bindByRules({ ...start, address }, false);
  const place = placeOf(start);
  const lock = AddressLock.take(lockFile, { address: formatAddress(address), place });
  try {
    const binding = bindByRules({ ...start, address }, true);
    binding.attachLockFile(lock);
    return binding;
  } catch (error) {
    lock.release();
    throw error;
  }
}

const placeOf = ({ type }: BindRequest): string =>
  type === "datagram" ? "openDatagram" : "listen";

/** @param alone a lock file says that no other process is starting, even if there are no locks */
function bindByRules(start: BindRequest, alone: boolean): Binding {
  const { fd, address, options, ready } = start;
  const { exclusive = true } = options;
  if (address.kind === "abstract" && exclusive) return takeName(start);
  if (address.kind !== "path") return bindSocket(fd, address, { ...options, ready });
  const directory = Directory.of(address.path, "bind", placeOf(start));
  let kept = false;
  try {
    const binding = exclusive
      ? new Taking(start, directory).take(alone)
      : bindSocket(fd, address, { ...options, ready, directory });
    kept = binding.file !== null;
    return binding;
  } finally {
    if (!kept) directory[Symbol.dispose]();
  }
}

/** Abstract names are exclusive by nature, and go with their socket. */
function takeName({ fd, address, ready, type }: BindRequest): Binding {
  try {
    return bindSocket(fd, address, { ready });
  } catch (error) {
    if (!isTaken(error)) throw error;
    const found = probe(address, { type, follow: false });
    throw new AddressInUseError(found, address, `${who(found)} has it`);
  }
}

const LOCKED = { first: 1, max: 16 } as const;

/**
 * Taking a path. bind(2) is atomic and needs no lock; the name's lock is for a process that takes
 * the name from another file. (If only connect can tell a server between bind and listen from a
 * stale file, every process takes the lock.)
 */
class Taking {
  readonly #start: BindRequest;
  readonly #directory: Directory;
  readonly #deadline: number;
  readonly #pauses = new Backoff(LOCKED);

  constructor(start: BindRequest, directory: Directory) {
    this.#start = start;
    this.#directory = directory;
    const { lockTimeoutMs = LOCK_TIMEOUT_MS } = start.options;
    this.#deadline = monotonicMs() + lockTimeoutMs;
  }

  take(alone: boolean): Binding {
    checkDirectory(this.#start, this.#directory);
    for (let tries = 0; tries < TRIES; ) {
      const binding = kernelTells() ? this.#bindIfFree() : null;
      if (binding !== null) return binding;
      if (this.#isHeld()) refuse(this.#lookByPath(), this.#start);
      const lock = this.#tryLock();
      if (lock === "busy") continue;
      tries += 1;
      try {
        const taken = this.#takeOver({ locked: lock !== null || alone, alone });
        if (taken !== null) return taken;
      } finally {
        lock?.release();
      }
    }
    throw new AddressInUseError(
      this.#look(),
      this.#start.address,
      "other processes kept taking the address",
    );
  }

  /**
   * Whether the kernel knows of a socket there, by its path, which /proc/net/unix knows too. No
   * connection is tried without the lock: its target may change.
   */
  #isHeld(): boolean {
    const { address } = this.#start;
    try {
      return address.kind === "path" && (socketsAt(address.path)?.records.length ?? 0) > 0;
    } catch {
      return false; // bind reports what is wrong
    }
  }

  /** Null: there are no locks; "busy": another process has it, and it was waited for a while. */
  #tryLock(): HeldLock | "busy" | null {
    try {
      const lock = tryLockName(this.#directory);
      if (lock === null || !isBusy(lock)) return lock;
      if (monotonicMs() >= this.#deadline) throw heldTooLong(lock.holder, this.#start);
      Bun.sleepSync(this.#pauses.next());
      return "busy";
    } catch (error) {
      if (isForbidden(error)) return null; // nor can a stale file be taken over
      throw error;
    }
  }

  /** Look again, take over what is stale, bind, listen; null: another came first. */
  #takeOver({ locked, alone }: { locked: boolean; alone: boolean }): Binding | null {
    const [start, directory] = [this.#start, this.#directory];
    const binding = this.#bindIfFree();
    if (binding !== null) return binding;
    const found = this.#look();
    if (found.state === "free") return null;
    refuse(found, start);
    if (isLive(found)) {
      removeAsides(directory, start);
      return this.#bind(asideName());
    }
    if (!locked) throw new AddressInUseError(found, start.address, CANNOT_LOCK);
    if (REFUSED_SAYS_NOTHING && !alone && found.source === "connect") {
      throw new AddressInUseError(found, start.address, CANNOT_TELL);
    }
    if (found.file !== undefined) directory.removeIf(found.file);
    return this.#bindIfFree();
  }

  #bind(aside?: string): Binding {
    const { fd, address, options, ready } = this.#start;
    const names = aside === undefined ? {} : { aside };
    return bindSocket(fd, address, { ...options, ready, directory: this.#directory, ...names });
  }

  /** null: something is there. */
  #bindIfFree(): Binding | null {
    try {
      return this.#bind();
    } catch (error) {
      if (isTaken(error)) return null;
      throw error;
    }
  }

  /**
   * What is there, asked of the name in that very directory: by its path one question could be
   * answered from here and the next from another directory, if a link was changed in between. What
   * is stale must be so by its path too, which is all that /proc/net/unix knows.
   */
  #look(): Probe {
    const { address, type } = this.#start;
    const found = { ...probe({ path: this.#directory.at() }, { type, follow: false }), address };
    if (found.state !== "stale") return found;
    const again = this.#lookByPath();
    return isLive(again) ? again : found;
  }

  #lookByPath(): Probe {
    const { address, type } = this.#start;
    return probe(address, { type, follow: false });
  }
}

function heldTooLong(holder: string, { address }: BindRequest): UnixError {
  return new UnixError("flock", -errno.ETIMEDOUT, {
    address: formatAddress(address),
    hint: `${holder} has the lock of this name; is it stopped in the middle of starting?`,
  });
}

/** If any user may rename and remove every file, no promise about a name can be kept. */
function checkDirectory({ address, options }: BindRequest, directory: Directory): void {
  if (options.unsafeDirectory === true) return;
  const { mode } = directory.stats();
  if ((mode & format.S_IWOTH) === 0 || (mode & format.S_ISVTX) !== 0) return;
  throw new UnixError("bind", -errno.EPERM, {
    code: "ERR_UNSAFE_DIRECTORY",
    address: formatAddress(address),
    hint:
      `any user may replace files in ${directory.text("")}; use a directory of your own, set its ` +
      "sticky bit, or pass unsafeDirectory: true",
  });
}

/** A live server stays, unless it is to be replaced. */
function refuse(found: Probe, start: BindRequest): void {
  refuseForeign(found, start);
  if (!isLive(found) || start.options.replace === true) return;
  throw new AddressInUseError(found, start.address, inUse(found));
}

/** macOS: a live server whose backlog is full refuses, too (facts: #xnu-sends). */
const REFUSED_SAYS_NOTHING = system === "darwin";
const CANNOT_TELL =
  "it refuses connections, which on macOS a live server with a full backlog does, too: use " +
  "lockFile, or remove it if no server runs";

const CANNOT_LOCK =
  "a stale socket, but it cannot be locked (no permission to write to the directory, or a file " +
  "system without locks), so another process may be taking it over: use lockFile";

/** The address is; listen says the same of other things. */
const isTaken = (error: unknown): boolean =>
  error instanceof UnixError && error.errno === -errno.EADDRINUSE && error.syscall === "bind";

const isLive = ({ state }: Probe): boolean => state !== "stale" && state !== "free";

const UNKNOWN = "65534, which may be any user in this user namespace";

/** A file that is no socket, or that this process cannot judge, stays as it is. */
function refuseForeign(found: Probe, { address, options }: BindRequest): void {
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
  if (owner === undefined || isOurs(owner, options)) return;
  if (options.takeOver === true && !live) return;
  const whose = `the socket belongs to uid ${owner ?? UNKNOWN}`;
  const state = live ? `${who(found)} has it` : "it is stale: remove it, or pass takeOver: true";
  throw new AddressInUseError(found, address, `${whose}; ${state}`);
}

/**
 * Whether a stale file of that user may be taken over: this process's own user, or the `uid` of
 * this call.
 */
const isOurs = (uid: number | null, { owner }: BindOptions): boolean =>
  isOwnUid(uid) || (uid !== null && knownUid(uid) === owner?.uid);

function inUse(found: Probe): string {
  const since = found.since === undefined ? "" : ` since ${found.since.toISOString()}`;
  const what = found.state === "wrong-type" ? ` with a ${found.type} socket` : "";
  return `${who(found)} has it${what}${since}; ${whatToDo(found)}`;
}

function whatToDo({ holders }: Probe): string {
  const own = holders.some(({ pid }) => pid === process.pid);
  if (!own) return "replace: true would take the name from it";
  return (
    "that is this very process: close the other one first. After a reload of bun --hot it is " +
    "still open: keep it in globalThis, and close it there before listening again"
  );
}

function who({ holders }: Probe): string {
  if (holders.length === 0) return "a process that cannot be seen from here";
  const names = [...new Set(holders.map(({ pid, command }) => `${pid} (${command})`))];
  return `process ${names.join(", ")}`;
}

const ASIDE = /^\.bunix-[0-9a-f]{8}$/;

const asideName = (): string => `.bunix-${crypto.randomUUID().slice(0, 8)}`;

/** The files of successors that died between bind and rename. */
function removeAsides(directory: Directory, { options }: BindRequest): void {
  for (const name of namesIn(directory).filter((one) => ASIDE.test(one))) {
    const stats = directory.stat(name);
    const ours = stats?.isSocket() === true && isOurs(stats.uid, options);
    if (!ours || socketsAt(directory.at(name))?.records.length !== 0) continue;
    directory.removeIf(stats, name);
  }
}

function namesIn({ directory }: Directory): string[] {
  try {
    return readdirSync(directory, { encoding: "latin1" });
  } catch {
    return []; // this process may not read it
  }
}

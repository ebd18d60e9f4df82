import { closeSync, fstatSync, openSync, readFileSync } from "node:fs";
import { resolve } from "node:path";
import { errno } from "../../native/errno.ts";
import { file } from "../../native/file.ts";
import { procNetUnix } from "../../native/netlink.ts";
import { system } from "../../native/platform.ts";
import { fileErrno } from "../base/errors.ts";
import { typeName } from "../base/socket-type.ts";
import { mountDevice } from "../fd/mount.ts";
import { deviceNumber } from "../structs/device.ts";
import { type Address, fromBytes, toBytes } from "../structs/sockaddr-un.ts";
import { isBoundTo, type SocketFile, type UnixRecord } from "../structs/unix-diag.ts";
import { whyFatal } from "../syscalls/asked-calls.ts";
import { type Dump, dumpUnixSockets } from "../syscalls/netlink.ts";

/** How sockets were found: "proc" knows no files, and names only as far as they print. */
export type SocketSource = "sock_diag" | "proc";

/** Sockets, and who told of them. */
export interface Sockets {
  readonly records: readonly UnixRecord[];
  readonly source: SocketSource;
}

/**
 * A negative errno if sock_diag is not available, also if a filter would kill this process for
 * asking.
 */
const askKernel = (): Dump | number =>
  whyFatal("socket") === null ? dumpUnixSockets() : -errno.EPERM;

/**
 * Every Unix socket of this network namespace that a process holds, from one question to the
 * kernel. Null if it tells nothing.
 */
export function allSockets(): Sockets | null {
  const dump = askKernel();
  if (typeof dump !== "number") return { records: dump.records, source: "sock_diag" };
  const records = procSockets();
  return records === null ? null : { records, source: "proc" };
}

let tells = false;

/** Whether sock_diag is available, which always tells a bound socket from a stale file. */
export function kernelTells(): boolean {
  tells ||= typeof askKernel() !== "number";
  return tells;
}

/**
 * Whether a socket has its name for itself. An accepted connection has its listener's name and file
 * for as long as it lives, even when the listener is long gone; no client can reach it by them. A
 * client that was bound before it connected looks the same, and cannot be reached either.
 */
export function holdsItsName({ type, state }: UnixRecord): boolean {
  return state !== "connected" || type === "datagram";
}

/**
 * A dump in several pieces can miss a socket while others come and go. So a search that found
 * nothing looks a second time.
 */
function search(matches: (record: UnixRecord) => boolean): UnixRecord[] | null {
  for (let again = false; ; again = true) {
    const dump = askKernel();
    if (typeof dump === "number") return null;
    const found = dump.records.filter((record) => holdsItsName(record) && matches(record));
    if (found.length > 0 || dump.chunks === 1 || again) return found;
  }
}

/**
 * Live sockets of this network namespace that were bound to the file at `path`: listening or not,
 * under this name or one that it was renamed to. Without accepted connections (`holdsItsName`). A
 * symbolic link at its end is followed only with `follow`. If sock_diag is not available: sockets
 * that were bound to this very path, whether their file is still there or not. Null if the kernel
 * tells nothing at all. No sockets if there is no file.
 *
 * @throws Error of `open` (EACCES if a directory may not be searched)
 */
export function socketsAt(
  path: string | Uint8Array,
  { follow = false }: { follow?: boolean } = {},
): Sockets | null {
  if (file.O_PATH === null) return null;
  const fd = openPath(path, file.O_PATH | (follow ? 0 : file.O_NOFOLLOW));
  if (fd === null) return { records: [], source: "sock_diag" };
  try {
    const records = search(boundTo(fd));
    return records === null ? procSocketsAt(path) : { records, source: "sock_diag" };
  } finally {
    closeSync(fd); // until here no other file could get the same inode
  }
}

/** Files that are asked about with one question: so many descriptors are open meanwhile. */
const FILES = 64;

/**
 * Those of `paths` that this process may look at and no live socket of this network namespace was
 * bound to, as `socketsAt` finds them, with few questions to the kernel. Null if sock_diag is not
 * available.
 */
export function filesWithoutSocket(paths: readonly string[]): string[] | null {
  const found: string[] = [];
  for (let at = 0; at < paths.length; at += FILES) {
    const without = withoutSocket(paths.slice(at, at + FILES));
    if (without === null) return null;
    found.push(...without);
  }
  return found;
}

function withoutSocket(paths: readonly string[]): string[] | null {
  if (file.O_PATH === null) return null;
  const fds: number[] = [];
  const left = new Map<string, (record: UnixRecord) => boolean>();
  try {
    for (const path of paths) {
      const fd = openIfAllowed(path, file.O_PATH | file.O_NOFOLLOW);
      if (fd === null) continue;
      fds.push(fd);
      left.set(path, boundTo(fd));
    }
    const known = search((record) => {
      for (const [path, same] of left) if (same(record)) left.delete(path);
      return false; // look a second time for what is left
    });
    return known === null ? null : [...left.keys()];
  } finally {
    for (const fd of fds) closeSync(fd);
  }
}

/** Whether a socket was bound to the file of `fd`, which stays open while that is asked. */
function boundTo(fd: number): (record: UnixRecord) => boolean {
  const [plain, kernel] = [statIdentity(fd), kernelIdentity(fd)];
  return (record) => isBoundTo(record, plain) || (kernel !== null && isBoundTo(record, kernel));
}

function openPath(path: string | Uint8Array, flags: number): number | null {
  try {
    return openSync(typeof path === "string" ? path : Buffer.from(path), flags | file.O_CLOEXEC);
  } catch (error) {
    const gone = -(fileErrno(error) ?? 0);
    if (gone === errno.ENOENT || gone === errno.ENOTDIR) return null;
    throw error;
  }
}

function openIfAllowed(path: string, flags: number): number | null {
  try {
    return openPath(path, flags);
  } catch {
    return null;
  }
}

const LOW = 0xffffffffn;

function statIdentity(fd: number): SocketFile {
  const { dev, ino } = fstatSync(fd, { bigint: true });
  return { dev: Number(dev), ino: Number(ino & LOW) };
}

/**
 * Device and inode as the kernel has them inside, which is what sock_diag compares by. The inode is
 * in fdinfo since Linux 5.14.
 */
function kernelIdentity(fd: number): SocketFile | null {
  const device = mountDevice(fd);
  const ino = device && inodeInFdinfo(fd);
  if (device === null || ino === null) return null;
  return { dev: deviceNumber(device.major, device.minor), ino };
}

/** Its low 32 bits. */
function inodeInFdinfo(fd: number): number | null {
  try {
    const info = readFileSync(`/proc/self/fdinfo/${fd}`, "utf8");
    const ino = /^ino:\s+(\d+)$/m.exec(info)?.[1];
    return ino === undefined ? null : Number(BigInt(ino) & LOW);
  } catch {
    return null; // no /proc
  }
}

/** Live sockets with that abstract name. Null if the kernel tells nothing. */
export function socketsNamed(name: Uint8Array): Sockets | null {
  const wanted = Buffer.from(name);
  const records = search(({ name }) => name?.kind === "abstract" && wanted.equals(name.name));
  if (records !== null) return { records, source: "sock_diag" };
  const shown = Buffer.from(wanted.map((byte) => byte || AT)); // as /proc shows NULs
  return fromProc(({ name }) => name?.kind === "abstract" && shown.equals(name.name));
}

function procSocketsAt(path: string | Uint8Array): Sockets | null {
  const names = [Buffer.from(toBytes(path))];
  if (typeof path === "string") names.push(Buffer.from(resolve(path)));
  return fromProc(
    ({ name }) => name?.kind === "path" && names.some((one) => one.equals(toBytes(name.path))),
  );
}

function fromProc(matches: (record: UnixRecord) => boolean): Sockets | null {
  const records = procSockets()?.filter((record) => holdsItsName(record) && matches(record));
  return records === undefined ? null : { records, source: "proc" };
}

const AT = 0x40;

/** Address: RefCount Protocol Flags Type St Inode Path (proc_net(5)). */
const line =
  /^[0-9a-fA-F]+: [0-9A-F]{8} [0-9A-F]{8} ([0-9A-F]{8}) ([0-9A-F]{4}) (\d\d) +(\d+)(?: (.*))?$/s;

/**
 * /proc/net/unix, for when sock_diag is refused. It has no files, peers, queues and users, a NUL in
 * an abstract name reads "@", and a name with a line feed in it can forge a line.
 */
function procSockets(): UnixRecord[] | null {
  if (system !== "linux") return null;
  try {
    return parseProcNetUnix(readFileSync("/proc/net/unix"));
  } catch {
    return null;
  }
}

/** The sockets in a text like /proc/net/unix; lines that are not understood are left out. */
export function parseProcNetUnix(text: Uint8Array): UnixRecord[] {
  const records: UnixRecord[] = [];
  for (const one of Buffer.from(text).toString("latin1").split("\n")) {
    const match = line.exec(one);
    if (match === null) continue;
    const [, flags = "", kind = "", state = "", inode = "", path] = match;
    const type = typeName(Number.parseInt(kind, 16));
    if (type === null || inode === "0") continue; // 0: waits to be accepted, no process has it yet
    records.push({
      type,
      state: procState(Number.parseInt(flags, 16), Number.parseInt(state, 16)),
      inode: Number(inode),
      name: path === undefined ? null : procName(Buffer.from(path, "latin1")),
      file: null,
      peer: null,
      receiveQueue: null,
      sendQueue: null,
      shutdown: null,
      uid: null,
    });
  }
  return records;
}

function procState(flags: number, state: number): UnixRecord["state"] {
  if ((flags & (procNetUnix.__SO_ACCEPTCON ?? 0)) !== 0) return "listening";
  return state === procNetUnix.SS_CONNECTED ? "connected" : "unconnected";
}

function procName(bytes: Uint8Array): Address {
  if (bytes[0] === AT) return { kind: "abstract", name: Uint8Array.from(bytes.subarray(1)) };
  return { kind: "path", path: fromBytes(bytes) };
}

// What a descriptor stands for. Only the kernel knows: fstat, the link in /proc, socket options.

import { fstatSync, readlinkSync, statfsSync } from "node:fs";
import { file, MQUEUE_MAGIC, mode } from "../../native/file.ts";
import { option, socket } from "../../native/socket.ts";
import { check, fileCall } from "../base/errors.ts";
import { typeName } from "../base/socket-type.ts";
import { decodeInet, type InetName } from "../structs/sockaddr-in.ts";
import { type Address, decodeSockaddr } from "../structs/sockaddr-un.ts";
import { descriptorFlags, seals, statusFlags } from "../syscalls/fd.ts";
import { familyOf, getOption, rawName } from "../syscalls/socket.ts";

/** What {@link Fd.describe} answers. */
export interface FdDescription {
  /** The number that was asked about. */
  readonly fd: number;
  /** What the descriptor stands for. */
  readonly kind:
    | "socket"
    | "pipe"
    | "file"
    | "directory"
    | "symlink"
    | "character-device"
    | "block-device"
    | "memfd"
    | "eventfd"
    | "pidfd"
    | "epoll"
    | "signalfd"
    | "timerfd"
    | "inotify"
    | "message-queue"
    | "other";
  /** For sockets. */
  readonly socket?: {
    readonly family: "unix" | "inet" | "inet6" | "netlink" | number | null;
    readonly type: "stream" | "datagram" | "seqpacket" | number;
    readonly listening: boolean;
    /** What a Unix socket is bound to. */
    readonly address?: Address;
    /** Where a TCP or UDP socket is on this machine: "127.0.0.1", "::". */
    readonly host?: string;
    /** Its port there, also one that the kernel has chosen. */
    readonly port?: number;
  };
  /** What /proc says it is, a path or a kernel name like "anon_inode:[eventfd]"; Linux only. */
  readonly target?: string;
  /** Whether exec closes it (FD_CLOEXEC). */
  readonly closeOnExec: boolean;
  /** O_NONBLOCK, which all share who have the same open file. */
  readonly nonBlocking: boolean;
  /** What it was opened for; "path": as a name alone (O_PATH). */
  readonly access: "read" | "write" | "read-write" | "path";
}

type Kind = FdDescription["kind"];

const families = new Map<number | null, "unix" | "inet" | "inet6" | "netlink">([
  [socket.AF_UNIX, "unix"],
  [socket.AF_INET, "inet"],
  [socket.AF_INET6, "inet6"],
  [socket.AF_NETLINK, "netlink"],
]);

const byMode = new Map<number, Kind>([
  [mode.S_IFSOCK, "socket"],
  [mode.S_IFIFO, "pipe"],
  [mode.S_IFDIR, "directory"],
  [mode.S_IFCHR, "character-device"],
  [mode.S_IFBLK, "block-device"],
  [mode.S_IFLNK, "symlink"],
]);

/** The kernel's names of files that have none (proc(5), /proc/PID/fd). */
const anonymous: readonly (readonly [RegExp, Kind])[] = [
  [/^anon_inode:\[?eventfd/, "eventfd"],
  [/^anon_inode:\[?pidfd|^pidfd:/, "pidfd"],
  [/^anon_inode:\[?eventpoll/, "epoll"],
  [/^anon_inode:\[?signalfd/, "signalfd"],
  [/^anon_inode:\[?timerfd/, "timerfd"],
  [/^anon_inode:\[?inotify/, "inotify"],
  [/^anon_inode:/, "other"],
];

/** @throws UnixError EBADF */
export function describeFd(fd: number): FdDescription {
  const flags = check(statusFlags(fd), "fcntl");
  const format = fileCall(() => fstatSync(fd)).mode & mode.S_IFMT;
  const target = linkTarget(fd);
  const kind = kindOf(fd, format, target);
  return {
    fd,
    kind,
    ...(kind === "socket" ? { socket: describeSocket(fd) } : {}),
    ...(target === undefined ? {} : { target }),
    closeOnExec: (check(descriptorFlags(fd), "fcntl") & file.FD_CLOEXEC) !== 0,
    nonBlocking: (flags & file.O_NONBLOCK) !== 0,
    access: accessOf(flags),
  };
}

function linkTarget(fd: number): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return undefined; // no /proc
  }
}

function kindOf(fd: number, format: number, target = ""): Kind {
  for (const [pattern, kind] of anonymous) if (pattern.test(target)) return kind;
  const kind = byMode.get(format);
  if (kind !== undefined) return kind;
  if (format !== mode.S_IFREG) return "other";
  if (/^\/memfd:/.test(target) && seals(fd) >= 0) return "memfd";
  return isMessageQueue(fd) ? "message-queue" : "file";
}

function isMessageQueue(fd: number): boolean {
  try {
    return statfsSync(`/proc/self/fd/${fd}`).type === MQUEUE_MAGIC;
  } catch {
    return false;
  }
}

function describeSocket(fd: number): NonNullable<FdDescription["socket"]> {
  const type = check(getOption(fd, option.SO_TYPE), "getsockopt");
  const family = check(familyOf(fd), "getsockopt");
  return {
    family: families.get(family) ?? family,
    type: typeName(type) ?? type,
    listening: check(getOption(fd, option.SO_ACCEPTCONN), "getsockopt") === 1,
    ...nameOf(fd, families.get(family)),
  };
}

type SocketName = Pick<NonNullable<FdDescription["socket"]>, "address" | "host" | "port">;

function nameOf(fd: number, family: string | undefined): SocketName {
  const name = rawName(fd);
  if (typeof name === "number") return {};
  if (family === "unix") return { address: decodeSockaddr(name, name.length) };
  const inet = decodeInet(name);
  return inet === null ? {} : { host: hostText(inet), port: inet.port };
}

const HEX = 16;

/** As people write it, "::1" and not eight groups. */
function hostText({ family, host }: InetName): string {
  if (family === "inet") return [...host].join(".");
  const groups = Array.from({ length: host.length / 2 }, (_, i) =>
    ((host[2 * i]! << 8) | host[2 * i + 1]!).toString(HEX),
  );
  return new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
}

function accessOf(flags: number): FdDescription["access"] {
  if (file.O_PATH !== null && (flags & file.O_PATH) !== 0) return "path";
  const access = flags & file.O_ACCMODE;
  if (access === file.O_RDWR) return "read-write";
  return access === file.O_WRONLY ? "write" : "read";
}

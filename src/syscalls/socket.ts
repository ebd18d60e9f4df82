// Socket calls that are not messages: create, bind, connect, accept, options.

import { errno } from "../../native/errno.ts";
import { nr } from "../../native/numbers.ts";
import { socket as c, option, request, sockaddrUn } from "../../native/socket.ts";
import {
  type Address,
  addressRoom,
  decodeSockaddr,
  encodeSockaddr,
} from "../structs/sockaddr-un.ts";
import { close, type FdPair, setCloseOnExec, setNonBlocking } from "./fd.ts";
import { libc } from "./libc.ts";
import { cells, Memory } from "./memory.ts";
import { INTERRUPTED, result, uninterrupted } from "./result.ts";

/** Every descriptor of ours is close-on-exec and never blocks; atomically if the kernel can. */
const FLAGS = (c.SOCK_CLOEXEC ?? 0) | (c.SOCK_NONBLOCK ?? 0);

const name = new Memory(addressRoom);

/** macOS has no flags in the type: set them afterwards, and close what cannot be set. */
function prepared(fd: number): number {
  if (fd < 0 || c.SOCK_CLOEXEC !== null) return fd;
  const failed = Math.min(setCloseOnExec(fd, true), setNonBlocking(fd, true));
  if (failed === 0) return withoutSigpipe(fd);
  close(fd);
  return failed;
}

function withoutSigpipe(fd: number): number {
  if (option.SO_NOSIGPIPE !== null) setOption(fd, option.SO_NOSIGPIPE, 1);
  return fd;
}

export const socket = (type: number): number => socketOf(c.AF_UNIX, type);

/** Of another family. */
export const socketOf = (family: number, type: number): number =>
  prepared(result(libc.socket(family, type | FLAGS, 0)));

/** Both ends, or a negative errno. */
export function socketpair(type: number): FdPair | number {
  const made = result(libc.socketpair(c.AF_UNIX, type | FLAGS, 0, cells.address));
  if (made < 0) return made;
  const [a, b] = [cells.words[0]!, cells.words[1]!];
  const [first, second] = [prepared(a), prepared(b)];
  if (first >= 0 && second >= 0) return [a, b];
  if (first >= 0) close(a); // `prepared` has closed the other
  if (second >= 0) close(b);
  return Math.min(first, second);
}

export function bind(fd: number, address: Address): number {
  const bytes = encodeSockaddr(address, name.bytes);
  // a network's file system can be interrupted
  return uninterrupted(() => libc.bind(fd, name.address, bytes));
}

/**
 * Non-blocking. A Unix socket is connected when this returns, or it is not: a second call can meet
 * nothing between (EALREADY), but a connection that was made when the first was interrupted.
 */
export function connect(fd: number, address: Address): number {
  const bytes = encodeSockaddr(address, name.bytes);
  const first = result(libc.connect(fd, name.address, bytes));
  if (first !== INTERRUPTED) return first;
  const again = uninterrupted(() => libc.connect(fd, name.address, bytes));
  return again === -errno.EISCONN ? 0 : again;
}

export const listen = (fd: number, backlog: number): number => result(libc.listen(fd, backlog));

/** The accepted descriptor. The peer's address is asked for with getpeername if it matters. */
export function accept(fd: number): number {
  let accepted: number;
  do {
    accepted =
      c.SOCK_CLOEXEC === null
        ? prepared(result(libc.accept(fd, null, null)))
        : result(libc.accept4(fd, null, null, FLAGS));
  } while (accepted === INTERRUPTED);
  return accepted;
}

/** How many bytes wait in a stream or seqpacket socket, or a negative errno. */
export function unreadBytes(fd: number): number {
  const { SYS_ioctl } = nr;
  if (SYS_ioctl === null) return -errno.ENOTTY;
  const asked = libc.syscall(SYS_ioctl, fd, request.FIONREAD, cells.address, 0, 0, 0);
  return asked === 0 ? cells.words[0]! : result(asked);
}

export const shutdown = (fd: number, how: number): number => result(libc.shutdown(fd, how));

type NameCall = "getsockname" | "getpeername";

/** The address that `call` reports, or a negative errno. */
export function socketName(fd: number, call: NameCall): Address | number {
  cells.words[0] = name.bytes.length;
  const got = result(libc[call](fd, name.address, cells.address));
  return got < 0 ? got : decodeSockaddr(name.bytes, cells.words[0]);
}

/** The socket's own name as the kernel writes it, of any family; or a negative errno. */
export function rawName(fd: number): Uint8Array | number {
  cells.words[0] = name.bytes.length;
  const got = result(libc.getsockname(fd, name.address, cells.address));
  return got < 0 ? got : name.bytes.slice(0, cells.words[0]);
}

export function setOption(fd: number, which: number, value: number): number {
  cells.words[0] = value;
  return result(libc.setsockopt(fd, option.SOL_SOCKET, which, cells.address, 4));
}

/** Have the last close of it not wait for what is still to be sent. */
export function lingerOff(fd: number): number {
  cells.words[0] = 0;
  cells.words[1] = 0;
  return result(libc.setsockopt(fd, option.SOL_SOCKET, option.SO_LINGER, cells.address, 8));
}

/** An int option's value, or a negative errno (no option asked for here can be negative). */
export function getOption(fd: number, which: number): number {
  cells.words[1] = 4;
  const got = result(
    libc.getsockopt(fd, option.SOL_SOCKET, which, cells.address, cells.address + 4),
  );
  return got < 0 ? got : cells.words[0]!;
}

/** Beyond this a cookie is no whole number of JavaScript's: 2^21 in its upper half. */
const MAX_UPPER = 2 ** 21;

/**
 * The number that the kernel gives a socket and no other until it is started again (Linux,
 * SO_COOKIE); negative if it does not say.
 */
export function socketCookie(fd: number): number {
  if (option.SO_COOKIE === null) return -1;
  cells.words[2] = 8;
  const [at, size] = [cells.address, cells.address + 8];
  const got = result(libc.getsockopt(fd, option.SOL_SOCKET, option.SO_COOKIE, at, size));
  if (got < 0) return got;
  const [lower, upper] = [cells.words[0]! >>> 0, cells.words[1]! >>> 0];
  return upper < MAX_UPPER ? lower + upper * 2 ** 32 : -1;
}

/** Any option's bytes into `room`; the result is how many there are, or a negative errno. */
export function getOptionBytes(
  fd: number,
  { level = option.SOL_SOCKET, which, room }: { level?: number; which: number; room: Memory },
): number {
  cells.words[0] = room.bytes.length;
  const got = result(libc.getsockopt(fd, level, which, room.address, cells.address));
  return got < 0 ? got : cells.words[0]!;
}

/** AF_… of a socket, or a negative errno. If there is no option for it its name says so. */
export function familyOf(fd: number): number {
  if (option.SO_DOMAIN !== null) return getOption(fd, option.SO_DOMAIN);
  const bytes = rawName(fd);
  return typeof bytes === "number" ? bytes : bytes[sockaddrUn.at.sun_family]!;
}

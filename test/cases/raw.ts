// Calls as C makes them, for what the API keeps its callers from, and sockets without the options
// that it sets: what the kernel itself answers. Results are numbers, or the errno's name.

import { nr } from "../../native/numbers.ts";
import { epoll, poll as events } from "../../native/poll.ts";
import { message as flag, iovec, msghdr, option } from "../../native/socket.ts";
import { errnoName } from "../../src/base/errors.ts";
import type { SocketType } from "../../src/index.ts";
import {
  type ControlData,
  controlBytes,
  decodeControl,
  encodeControl,
} from "../../src/structs/cmsg.ts";
import { type Address, encodeSockaddr } from "../../src/structs/sockaddr-un.ts";
import { EpollEvents, epollCreate, epollCtl } from "../../src/syscalls/epoll.ts";
import { poll } from "../../src/syscalls/fd.ts";
import { isMusl, libc } from "../../src/syscalls/libc.ts";
import { Memory } from "../../src/syscalls/memory.ts";
import { result } from "../../src/syscalls/result.ts";
import { accept, bind, connect, listen, setOption } from "../../src/syscalls/socket.ts";
import { freshAddress } from "../api/pairs.ts";
import { Scope, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM } from "../syscalls/sockets.ts";

/** What the library never uses, as asm-generic has it; so x64 and arm64 agree. */
export const more = {
  MSG_OOB: 1,
  MSG_EOR: 0x80,
  MSG_WAITALL: 0x100,
  SO_OOBINLINE: 10,
  SO_REUSEADDR: 2,
  SO_REUSEPORT: 15,
  SO_RCVLOWAT: 18,
  SO_RCVTIMEO: 20,
  SO_SNDTIMEO: 21,
  SO_PEEK_OFF: 42,
  SO_INQ: 84,
  FIONREAD: 0x541b,
  TIOCOUTQ: 0x5411,
  SIOCATMARK: 0x8905,
  F_SETPIPE_SZ: 1031,
} as const;

export const { MSG_PEEK, MSG_TRUNC, MSG_CTRUNC, MSG_DONTWAIT, MSG_NOSIGNAL } = flag;

/** A call's value, or the name of its errno. */
export const said = (value: number): number | string => (value < 0 ? errnoName(-value) : value);

/** What is sent; `control` is used as it is, whatever it says. */
export interface Out {
  readonly data?: string | Uint8Array;
  /** The data in so many parts. */
  readonly parts?: number;
  readonly fds?: readonly number[];
  readonly credentials?: { pid: number; uid: number; gid: number };
  readonly control?: Uint8Array;
  readonly to?: Address;
  readonly flags?: number;
}

/** How it is received: bytes of data, and of room for control data. */
export interface In {
  readonly bytes?: number;
  readonly room?: number;
  readonly flags?: number;
}

export interface Got extends ControlData {
  readonly result: number | string;
  readonly text: string;
  readonly flags: number;
  /** Did the flags say so? */
  readonly cut: boolean;
  readonly controlCut: boolean;
  readonly controlBytes: number;
  readonly nameBytes: number;
  readonly control: Buffer;
}

/** What a receive that fails leaves in the flags. */
export const UNTOUCHED = 0x5555;

const MAX_BYTES = 5 << 20;
const header = new Memory(msghdr.size);
const vectors = new Memory(iovec.size * 1100);
const data = new Memory(MAX_BYTES);
const control = new Memory(4096);
const name = new Memory(128);

function setHeader(parts: number, controlLength: number, nameLength: number): void {
  const { at } = msghdr;
  header.bytes.fill(0);
  header.view.setInt32(at.msg_flags, UNTOUCHED, true);
  header.view.setBigUint64(at.msg_name, BigInt(nameLength > 0 ? name.address : 0), true);
  header.view.setUint32(at.msg_namelen, nameLength, true);
  header.view.setBigUint64(at.msg_iov, BigInt(vectors.address), true);
  header.view.setUint32(at.msg_iovlen, parts, true);
  header.view.setBigUint64(at.msg_control, BigInt(controlLength > 0 ? control.address : 0), true);
  header.view.setUint32(at.msg_controllen, controlLength, true);
}

function setParts(bytes: number, parts: number): void {
  const each = Math.ceil(bytes / parts);
  for (let i = 0; i < parts; i++) {
    const from = Math.min(bytes, i * each);
    vectors.view.setBigUint64(16 * i, BigInt(data.address + from), true);
    vectors.view.setBigUint64(16 * i + 8, BigInt(Math.min(bytes, from + each) - from), true);
  }
}

function putControl({ control: given, fds = [], credentials }: Out): number {
  if (given !== undefined) {
    control.bytes.set(given);
    return given.length;
  }
  const out = { fds, credentials };
  control.bytes.fill(0, 0, controlBytes(out));
  return encodeControl(control.view, out);
}

/** sendmsg once. */
export function send(fd: number, out: Out = {}): number | string {
  const bytes =
    typeof out.data === "string" ? Buffer.from(out.data) : (out.data ?? Buffer.from("x"));
  data.bytes.set(bytes);
  setParts(bytes.length, out.parts ?? 1);
  const length = out.to === undefined ? 0 : encodeSockaddr(out.to, name.bytes);
  setHeader(out.parts ?? 1, putControl(out), length);
  const flags = MSG_NOSIGNAL | (out.flags ?? 0);
  if (!isMusl()) return said(result(libc.sendmsg(fd, header.address, flags)));
  // musl's own has room for 1,024 bytes of control data (facts: #musl-control-room)
  return said(result(libc.syscall(nr.SYS_sendmsg ?? -1, fd, header.address, flags, 0, 0, 0)));
}

/** A scope that also owns the descriptors that it receives. */
export class Raw extends Scope {
  /** recvmsg once. */
  receive(fd: number, { bytes = 100, room = 2048, flags = 0 }: In = {}): Got {
    setParts(bytes, 1);
    setHeader(1, room, name.bytes.length);
    const value = result(libc.recvmsg(fd, header.address, flags));
    const length = value < 0 ? 0 : header.view.getUint32(msghdr.at.msg_controllen, true);
    const got = decodeControl(control.view, length);
    for (const one of got.fds) this.own(one);
    if (got.pidfd !== null && got.pidfd >= 0) this.own(got.pidfd);
    const said32 = header.view.getInt32(msghdr.at.msg_flags, true);
    return {
      ...got,
      result: said(value),
      text: value < 0 ? "" : Buffer.from(data.bytes.subarray(0, Math.min(value, bytes))).toString(),
      flags: said32,
      cut: value >= 0 && (said32 & MSG_TRUNC) !== 0,
      controlCut: value >= 0 && (said32 & MSG_CTRUNC) !== 0,
      controlBytes: length,
      control: Buffer.from(control.bytes.subarray(0, length)),
      nameBytes: header.view.getUint32(msghdr.at.msg_namelen, true),
    };
  }

  /** The text that comes, or the errno. */
  text(fd: number, how?: In): string | number {
    const { result: value, text } = this.receive(fd, how);
    return typeof value === "string" ? value : text;
  }

  /** A socket that is bound, and listens where `backlog` is given. */
  at(address: Address, type: number, backlog?: number): number {
    const fd = this.socket(type);
    done(bind(fd, address));
    if (backlog !== undefined) done(listen(fd, backlog));
    return fd;
  }

  /** A client and the server's end of it. */
  connected(address: Address, type: number): [near: number, far: number] {
    const listener = this.at(address, type, 4);
    const near = this.socket(type);
    done(connect(near, address));
    const far = this.own(accept(listener));
    this.close(listener);
    return [near, far];
  }
}

/** A call that must have worked. */
export function done(value: number): number {
  if (value < 0) throw new Error(`failed: ${errnoName(-value)}`);
  return value;
}

/** ioctl with an int to be filled in; the int, or the errno. */
export function ioctl(fd: number, request: number): number | string {
  const int = new Memory(8);
  const value = result(Number(libc.syscall(nr.SYS_ioctl ?? -1, fd, request, int.address, 0, 0, 0)));
  return value < 0 ? said(value) : int.words[0]!;
}

/** An int of getsockopt or setsockopt; `value` undefined asks. */
export function setRaw(fd: number, which: number, bytes: Uint8Array): number | string {
  const held = new Memory(bytes.length);
  held.bytes.set(bytes);
  return said(result(libc.setsockopt(fd, 1, which, held.address, bytes.length)));
}

/** A struct timeval, for SO_RCVTIMEO and SO_SNDTIMEO. */
export function timeval(seconds: number, micros: number): Uint8Array {
  const made = new DataView(new ArrayBuffer(16));
  made.setBigInt64(0, BigInt(seconds), true);
  made.setBigInt64(8, BigInt(micros), true);
  return new Uint8Array(made.buffer);
}

const names = ["POLLIN", "POLLPRI", "POLLOUT", "POLLERR", "POLLHUP", "POLLRDHUP"] as const;

/** What poll says now: "IN OUT". */
export function polled(fd: number): string {
  const all = names.reduce((sum, one) => sum | (events[one] ?? 0), 0);
  const seen = poll(fd, all, 0);
  return names
    .filter((one) => (seen & (events[one] ?? 0)) !== 0)
    .map((one) => one.slice("POLL".length))
    .join(" ");
}

/** An edge-triggered watch; each call says how many events came since the last. */
export function edges(raw: Raw, fd: number, which: number): () => number {
  const set = raw.own(epollCreate());
  done(epollCtl(set, epoll.EPOLL_CTL_ADD ?? 1, { fd, events: (which | epoll.EPOLLET!) >>> 0 }));
  const room = new EpollEvents(4);
  return () => room.wait(set);
}

const toAddress = (text: string): Address =>
  text.startsWith("@")
    ? { kind: "abstract", name: Buffer.from(text.slice(1)) }
    : { kind: "path", path: text };

export type Where = "path" | "abstract";

/** An address that nothing is at yet. */
export const fresh = (where: Where): Address => toAddress(freshAddress(where));

/** One row of the matrix. */
export interface RawVariant {
  readonly name: string;
  readonly kind: SocketType;
  readonly type: number;
  readonly stream: boolean;
  readonly open: (raw: Raw) => [near: number, far: number];
}

const types: Readonly<Record<SocketType, number>> = {
  stream: SOCK_STREAM,
  seqpacket: SOCK_SEQPACKET,
  datagram: SOCK_DGRAM,
};

function datagrams(raw: Raw, where: Where): [number, number] {
  const [a, b] = [fresh(where), fresh(where)];
  const near = raw.at(a, SOCK_DGRAM);
  const far = raw.at(b, SOCK_DGRAM);
  done(connect(near, b));
  done(connect(far, a));
  return [near, far];
}

function variant(kind: SocketType, where: Where | "pair", reversed: boolean): RawVariant {
  const type = types[kind];
  const make = (raw: Raw): [number, number] => {
    if (where === "pair") return raw.pair(type);
    return kind === "datagram" ? datagrams(raw, where) : raw.connected(fresh(where), type);
  };
  const open = (raw: Raw): [number, number] => {
    const [a, b] = make(raw);
    return reversed ? [b, a] : [a, b];
  };
  const name = `${kind} over ${where}${reversed ? ", reversed" : ""}`;
  return { name, kind, type, stream: kind === "stream", open };
}

const kinds = ["stream", "seqpacket", "datagram"] as const;

/** All kinds × all addresses × both ends. */
export const rawVariants: readonly RawVariant[] = kinds.flatMap((kind) =>
  (["path", "abstract", "pair"] as const).flatMap((where) => [
    variant(kind, where, false),
    variant(kind, where, true),
  ]),
);

export const ofKind = (kind: SocketType): readonly RawVariant[] =>
  rawVariants.filter((one) => one.kind === kind);

/** Stream and seqpacket sockets. */
export const connections = rawVariants.filter(({ kind }) => kind !== "datagram");

/** Seqpacket and datagram sockets. */
export const packets = rawVariants.filter(({ kind }) => kind !== "stream");

/**
 * Why control data and buffers are not the kernel's to judge; null where they are. An emulator
 * makes its own of both: it is asked for credentials in room for a part of them.
 */
export function translated(): string | null {
  using raw = new Raw();
  const [near, far] = raw.pair(SOCK_STREAM);
  done(setOption(far, option.SO_PASSCRED ?? -1, 1));
  send(near);
  const got = raw.receive(far, { room: 20 });
  if (got.controlCut && got.controlBytes === 20) return null;
  return "an emulator translates what recvmsg is given";
}

// Sockets that other code opened: adopted, or used once by their number.

import { errno } from "../../native/errno.ts";
import { system } from "../../native/platform.ts";
import { socket as c, option } from "../../native/socket.ts";
import { integer } from "../base/checks.ts";
import type { Payload } from "../base/data.ts";
import { check, UnixError } from "../base/errors.ts";
import { type SocketType, typeName } from "../base/socket-type.ts";
import { type FdLike, fdNumber, ownFd } from "../fd/fd.ts";
import type { DatagramSocket } from "../socket/datagram.ts";
import { reportBacklog } from "../socket/kernel-limits.ts";
import type { Message } from "../socket/message.ts";
import { applySettings, type SocketOptions, toSettings } from "../socket/options.ts";
import { receiveOnce } from "../socket/receive.ts";
import {
  closeTransferred,
  prepare,
  type SendOptions,
  sendError,
  sendOnce,
  wouldBlock,
} from "../socket/send.ts";
import type { SeqpacketSocket } from "../socket/seqpacket.ts";
import type { StreamSocket } from "../socket/stream.ts";
import { wrapSocket } from "../socket/types.ts";
import { setCloseOnExec, setNonBlocking } from "../syscalls/fd.ts";
import { familyOf, getOption, listen } from "../syscalls/socket.ts";
import { type AdmissionOptions, adoptListener, checkAdmission, type Listener } from "./listener.ts";

/** @throws UnixError ENOTSOCK, EBADF, EAFNOSUPPORT */
function unixSocketType(fd: number): SocketType {
  const type = typeName(check(getOption(fd, option.SO_TYPE), "getsockopt"));
  if (check(familyOf(fd), "getsockopt") === c.AF_UNIX && type !== null) return type;
  const hint = "it is not a Unix socket; Bun.connect({ fd }) and Bun.listen({ fd }) take others";
  throw new UnixError("getsockopt", -errno.EAFNOSUPPORT, { hint });
}

/**
 * How to take a socket over. `allow`, `maxConnections` and `backlog` are for one that listens: the
 * kernel keeps no rules with a socket, so the process that accepts from it brings them. Socket
 * options hold for what is accepted.
 */
export interface AdoptSocketOptions extends SocketOptions, AdmissionOptions {
  /**
   * What it has to be; the result is of that type, and what is another is EPROTOTYPE, and left as
   * it was. Default: whatever it is.
   */
  readonly expect?: keyof AdoptedSockets | undefined;
  /**
   * Connections that wait to be accepted, as `listen` has it: set anew, for all who share the
   * socket; clients are then told that this process listens. Default: as it is.
   */
  readonly backlog?: number | undefined;
}

/** What `adoptSocket` makes of which kind of socket. */
export interface AdoptedSockets {
  /** A connection, or a stream socket that is to be one. */
  readonly stream: StreamSocket;
  /** The same, of messages. */
  readonly seqpacket: SeqpacketSocket;
  /** One of datagrams. */
  readonly datagram: DatagramSocket;
  /** One that listens, on a stream or a seqpacket address. */
  readonly listener: Listener;
}

const kinds: readonly unknown[] = ["stream", "seqpacket", "datagram", "listener"];

/** @throws TypeError */
function checkExpect(expect: unknown): void {
  if (expect === undefined || kinds.includes(expect)) return;
  throw new TypeError(`expect is one of ${kinds.join(", ")}`);
}

/** @throws UnixError EPROTOTYPE */
function checkKind(kind: keyof AdoptedSockets, expect: keyof AdoptedSockets | undefined): void {
  if (expect === undefined || expect === kind) return;
  const hint = `${expect} was expected, and this is ${kind}`;
  throw new UnixError("getsockopt", -errno.EPROTOTYPE, { hint });
}

/**
 * Adopt a Unix socket that other code opened; the kernel says of which kind it is. A number or an
 * Fd is owned by the result from then on, an object with an `fd` (a Bun socket) keeps its own and a
 * duplicate is used. On failure everything is as it was.
 *
 * A listener on an abstract name admits this process's own user only, exactly as `listen` has it,
 * unless `allow` says otherwise: also if the process that opened it had other rules.
 *
 * With `expect` the result has one type, and no other kind of socket is taken.
 *
 * @throws UnixError ENOTSOCK, EBADF, EAFNOSUPPORT (not a Unix socket), EPROTOTYPE (not `expect`)
 * @throws TypeError, RangeError; TypeError for rules of a listener if the socket is none
 * @see getsockopt(2), socket(7)
 */
export function adoptSocket<K extends keyof AdoptedSockets>(
  from: FdLike,
  options: AdoptSocketOptions & { readonly expect: K },
): AdoptedSockets[K];
/** Any kind: `instanceof` tells which. */
export function adoptSocket(
  from: FdLike,
  options?: AdoptSocketOptions,
): AdoptedSockets[keyof AdoptedSockets];
/** Both of the above. */
export function adoptSocket(
  from: FdLike,
  options: AdoptSocketOptions = {},
): AdoptedSockets[keyof AdoptedSockets] {
  const settings = toSettings(options);
  checkAdmission(options);
  const { allow, maxConnections, backlog, expect } = options;
  checkExpect(expect);
  if (backlog !== undefined) integer("backlog", backlog);
  const number = fdNumber(from);
  const type = unixSocketType(number);
  const listening = check(getOption(number, option.SO_ACCEPTCONN), "getsockopt") === 1;
  const isListener = listening && type !== "datagram";
  checkKind(isListener ? "listener" : type, expect);
  if (!listening && (allow ?? maxConnections ?? backlog) !== undefined) {
    throw new TypeError("allow, maxConnections and backlog are for a socket that listens");
  }
  applySettings(number, settings);
  check(setCloseOnExec(number, true), "fcntl");
  // MSG_DONTWAIT does not keep a send from sleeping there (facts: #xnu-sends)
  if (system === "darwin") check(setNonBlocking(number, true), "fcntl");
  if (backlog !== undefined) {
    check(listen(number, backlog), "listen");
    reportBacklog(backlog);
  }
  const handle = ownFd(from, number, "adoptSocket", "anybody");
  if (!isListener) return wrapSocket(type, handle, settings);
  return adoptListener(handle, { type, settings, admission: options });
}

/**
 * One try to send one message on a socket that stays whose it is: the bytes taken (on a stream
 * perhaps not all), or null if it would block.
 *
 * @throws UnixError as `send` does
 * @see sendmsg(2)
 */
export function sendMessage(socket: FdLike, data: Payload, options?: SendOptions): number | null {
  const message = prepare(data, options);
  const fd = fdNumber(socket);
  const sent = sendOnce(fd, message, { fds: message.numbers });
  if (wouldBlock(sent)) return null;
  if (sent < 0) throw sendError(sent, message);
  closeTransferred(message);
  return sent;
}

/** What `receiveMessage` can be told. */
export type ReceiveMessageOptions = Pick<SocketOptions, "acceptFds" | "maxMessageBytes">;

/**
 * One try to receive one message, with its descriptors, on a socket that stays whose it is: null at
 * the end, undefined if nothing is here. (On a seqpacket socket an empty message reads as the end
 * here; `adoptSocket` tells them apart.)
 *
 * @throws UnixError ECONNRESET, ENOTSOCK, EBADF
 * @see recvmsg(2)
 */
export function receiveMessage(
  socket: FdLike,
  options?: ReceiveMessageOptions,
): Message | null | undefined {
  const fd = fdNumber(socket);
  const { acceptFds, maxMessageBytes } = toSettings(options);
  const type = unixSocketType(fd);
  const wantSender = type === "datagram";
  const zeroBytes = (
    { stream: "end", seqpacket: "end-unless-ancillary", datagram: "message" } as const
  )[type];
  return receiveOnce(
    fd,
    { place: "receiveMessage", acceptFds, wantSender, zeroBytes },
    maxMessageBytes,
  );
}

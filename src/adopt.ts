// Sockets that somebody else opened: taken over, or used once by their number.

import { errno } from "../native/errno.ts";
import { socket as c, option } from "../native/socket.ts";
import type { DatagramSocket } from "./datagram.ts";
import { check, UnixError } from "./errors.ts";
import { Fd, type FdLike, fdNumber } from "./fd.ts";
import { receiveOnce } from "./incoming.ts";
import { adoptListener, type Listener } from "./listener.ts";
import type { Message, Payload } from "./message.ts";
import {
  closeTransferred,
  prepare,
  type SendOptions,
  sendError,
  sendOnce,
  wouldBlock,
} from "./outgoing.ts";
import type { SeqpacketSocket } from "./seqpacket.ts";
import { applySettings, type SocketOptions, toSettings } from "./socket-options.ts";
import { type SocketType, socketOf, typeName } from "./sockets.ts";
import type { StreamSocket } from "./stream.ts";
import { setCloseOnExec, setNonBlocking } from "./syscalls/fd.ts";
import { getOption } from "./syscalls/socket.ts";

/** @throws UnixError ENOTSOCK, EBADF, EAFNOSUPPORT */
function unixSocketType(fd: number): SocketType {
  const type = typeName(check(getOption(fd, option.SO_TYPE), "getsockopt"));
  const family =
    option.SO_DOMAIN === null ? c.AF_UNIX : check(getOption(fd, option.SO_DOMAIN), "getsockopt");
  if (family === c.AF_UNIX && type !== null) return type;
  const hint = "it is not a Unix socket; Bun.connect({ fd }) and Bun.listen({ fd }) take others";
  throw new UnixError("getsockopt", -errno.EAFNOSUPPORT, { hint });
}

/**
 * Take over a Unix socket that somebody else opened; the kernel says of which kind it is. A number
 * or an Fd is owned by the result from then on, an object with an `fd` (a Bun socket) keeps its own
 * and a duplicate is used. On failure everything is as it was.
 *
 * @throws UnixError ENOTSOCK, EBADF, EAFNOSUPPORT (not a Unix socket)
 * @see getsockopt(2), socket(7)
 */
export function adoptSocket(
  from: FdLike,
  options?: SocketOptions,
): StreamSocket | SeqpacketSocket | DatagramSocket | Listener {
  const settings = toSettings(options);
  const number = fdNumber(from);
  const type = unixSocketType(number);
  const listening = check(getOption(number, option.SO_ACCEPTCONN), "getsockopt") === 1;
  applySettings(number, settings);
  check(setCloseOnExec(number, true), "fcntl");
  const handle = take(from, number);
  if (!listening || type === "datagram") return socketOf(type, handle, settings);
  setNonBlocking(handle.fd, true); // accept has no MSG_DONTWAIT
  return adoptListener(handle, type, settings);
}

function take(from: FdLike, number: number): Fd {
  if (from instanceof Fd) return Fd.adopt(from.release(), "adoptSocket");
  return typeof from === "number" ? Fd.adopt(number, "adoptSocket") : Fd.duplicate(number);
}

/**
 * One try to send one message on a socket that stays whose it is: the bytes taken (on a stream
 * perhaps not all), or null where it would block.
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
 * the end, undefined where nothing is here. (On a seqpacket socket an empty message reads as the
 * end here; `adoptSocket` tells them apart.)
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
  const named = type === "datagram";
  const empty = ({ stream: "end", seqpacket: "marked", datagram: "message" } as const)[type];
  return receiveOnce(fd, { place: "receiveMessage", acceptFds, named, empty }, maxMessageBytes);
}

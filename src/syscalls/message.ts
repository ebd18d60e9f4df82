// send, sendmsg, recvmsg and their batches. Nothing here waits: MSG_DONTWAIT is on every call, so
// that it does not matter whether the descriptor itself blocks.

import { errno } from "../../native/errno.ts";
import { nr } from "../../native/numbers.ts";
import { system } from "../../native/platform.ts";
import { MSG_NBIO, message } from "../../native/socket.ts";
import { addressRoom } from "../structs/sockaddr-un.ts";
import { controlRoom, type MessageHeader } from "./header.ts";
import { isMusl, libc } from "./libc.ts";
import type { Lent } from "./memory.ts";
import { INTERRUPTED, result } from "./result.ts";
import { xnuSent } from "./xnu.ts";

const XNU = system === "darwin";

const SENDING = message.MSG_DONTWAIT | message.MSG_NOSIGNAL | (XNU ? MSG_NBIO : 0);
const RECEIVING = message.MSG_DONTWAIT | (message.MSG_CMSG_CLOEXEC ?? 0);

/** musl copies control data into this many bytes and refuses more (facts: #musl-control-room). */
const MUSL_CONTROL_ROOM = 1024;

/** Bytes taken, or a negative errno. */
export function send(fd: number, from: Lent | number, bytes: number): number {
  let sent: number;
  do sent = result(libc.send(fd, from, bytes, SENDING));
  while (sent === INTERRUPTED);
  return XNU && sent < 0 ? xnuSent(fd, sent, false) : sent;
}

export function sendmsg(fd: number, header: MessageHeader): number {
  if (header.controlBytes > MUSL_CONTROL_ROOM && isMusl()) return sendmsgDirectly(fd, header);
  let sent: number;
  do sent = result(libc.sendmsg(fd, header.address, SENDING));
  while (sent === INTERRUPTED);
  return XNU && sent < 0 ? xnuSent(fd, sent, header.controlBytes > 0) : sent;
}

function sendmsgDirectly(fd: number, { address }: MessageHeader): number {
  let sent: number;
  do sent = result(libc.syscall(nr.SYS_sendmsg ?? -1, fd, address, SENDING, 0, 0, 0));
  while (sent === INTERRUPTED);
  return sent;
}

/** Bytes received, or a negative errno; the header then says how much control data and name. */
export function recvmsg(fd: number, header: MessageHeader, withName: boolean): number {
  let received: number;
  let lost = false;
  do {
    header.nameBytes = withName ? addressRoom : 0;
    header.controlBytes = controlRoom;
    received = result(libc.recvmsg(fd, header.address, RECEIVING));
    if (XNU && received === -errno.EMSGSIZE && !lost) {
      // the table of descriptors is full: they are gone, and the data is still there
      lost = true;
      received = INTERRUPTED;
    }
  } while (received === INTERRUPTED);
  if (lost) header.flags |= message.MSG_CTRUNC;
  return received;
}

/**
 * Look at what a receive would bring, leaving it there, with room for that many bytes of control
 * data: the flags say MSG_CTRUNC if there is more. Room for a descriptor would get one.
 */
export function peek(fd: number, header: MessageHeader, room: number): number {
  let received: number;
  do {
    header.nameBytes = 0;
    header.controlBytes = room;
    const flags = message.MSG_DONTWAIT | message.MSG_PEEK;
    received = result(libc.recvmsg(fd, header.address, flags));
  } while (received === INTERRUPTED);
  return received;
}

/** How many of the first `count` headers were sent: an error only if the first one failed. */
export function sendmmsg(fd: number, batch: readonly MessageHeader[], count: number): number {
  if (XNU) return oneByOne(batch, count, (header) => sendmsg(fd, header));
  const address = batch[0]!.address;
  let sent: number;
  do {
    sent = isMusl()
      ? result(libc.syscall(nr.SYS_sendmmsg ?? -1, fd, address, count, SENDING, 0, 0))
      : result(libc.sendmmsg(fd, address, count, SENDING));
  } while (sent === INTERRUPTED);
  return sent;
}

/** How many messages came, at most `count`. */
export function recvmmsg(
  fd: number,
  batch: readonly MessageHeader[],
  count: number,
  withName: boolean,
): number {
  if (XNU) return oneByOne(batch, count, (header) => recvmsg(fd, header, withName));
  let received: number;
  do {
    for (let i = 0; i < count; i++) {
      batch[i]!.nameBytes = withName ? addressRoom : 0;
      batch[i]!.controlBytes = controlRoom;
    }
    received = result(libc.recvmmsg(fd, batch[0]!.address, count, RECEIVING, null));
  } while (received === INTERRUPTED);
  return received;
}

/** If there are no calls for batches: how many were done, or the errno of the first one. */
function oneByOne(
  batch: readonly MessageHeader[],
  count: number,
  call: (header: MessageHeader) => number,
): number {
  for (let i = 0; i < count; i++) {
    const header = batch[i]!;
    const done = call(header);
    if (done < 0) return i > 0 ? i : done;
    header.transferred = done;
  }
  return count;
}

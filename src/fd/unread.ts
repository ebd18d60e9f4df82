// What lies unread in a Unix socket that is about to be closed: closing it closes that too.

import { poll } from "../../native/poll.ts";
import { socket as c, message, option } from "../../native/socket.ts";
import { cmsgSpace } from "../structs/cmsg.ts";
import { pollNow } from "../syscalls/fd.ts";
import { MessageHeader } from "../syscalls/header.ts";
import { Memory } from "../syscalls/memory.ts";
import { peek } from "../syscalls/message.ts";
import { AGAIN } from "../syscalls/result.ts";
import { getOption, setOption, unreadBytes } from "../syscalls/socket.ts";

/** Bytes that one call looks at. */
const ROOM = 64 * 1024;
/** Calls until a queue is too long to be looked at: a full one of the default size takes fewer. */
const MAX_LOOKS = 512;

const ASKED = poll.POLLIN | poll.POLLPRI;

let seen: { readonly header: MessageHeader; readonly memory: Memory } | undefined;

/**
 * Whether something may be in the socket's queue that is more than bytes: descriptors, or
 * connections that were not accepted. What comes after the look is not seen.
 * @param stream whether it is known to be a stream
 */
export function holdsMore(fd: number, stream: boolean): boolean {
  if (stream && unreadBytes(fd) === 0) return false; // on a stream a byte goes with descriptors
  const found = pollNow(fd, ASKED);
  if (found >= 0 && (found & ASKED) === 0) return false;
  // bytes out of band end what a look sees
  if (found < 0 || (found & poll.POLLPRI) !== 0) return true;
  return !isPlain(fd) && !isPlainWithout(fd);
}

/** Credentials are no descriptors, but the look has no room for them: switched off meanwhile. */
function isPlainWithout(fd: number): boolean {
  const on = [option.SO_PASSCRED, option.SO_PASSPIDFD, option.SO_PASSSEC].filter(
    (which) => which !== null && getOption(fd, which) === 1,
  ) as number[];
  if (on.length === 0) return false;
  for (const which of on) setOption(fd, which, 0);
  const plain = isPlain(fd);
  for (const which of on) setOption(fd, which, 1);
  return plain;
}

/** A time stamp: it tells an empty message from the end (seqpacket.ts), and leaves no more room. */
const STAMP = cmsgSpace(16);
const OFF = -1;

/** True if nothing but bytes is there: the end is readable, too. */
function isPlain(fd: number): boolean {
  const type = getOption(fd, option.SO_TYPE);
  if (type === c.SOCK_STREAM) return isShort(fd) ?? inSteps(fd, 0);
  const { SO_TIMESTAMP } = option;
  // without stamps an empty message, which may have descriptors, looks like the end
  const stamped = SO_TIMESTAMP !== null && getOption(fd, SO_TIMESTAMP) === 1;
  return type === c.SOCK_SEQPACKET && stamped && inSteps(fd, STAMP);
}

/** Look again and again, each time where the last look ended; an emulator may not have that. */
function inSteps(fd: number, room: number): boolean {
  const { SO_PEEK_OFF } = option;
  if (SO_PEEK_OFF === null || setOption(fd, SO_PEEK_OFF, 0) < 0) return false;
  const plain = allBytes(fd, room);
  setOption(fd, SO_PEEK_OFF, OFF);
  return plain;
}

/**
 * Whether a stream has nothing but bytes; null: one look does not see all of it. A look passes over
 * send after send, as far as the first with descriptors.
 */
function isShort(fd: number): boolean | null {
  const { header } = look();
  const bytes = peek(fd, header, 0);
  if (bytes < 0 || (header.flags & message.MSG_CTRUNC) !== 0) return false;
  return bytes < ROOM ? true : null;
}

function look(): NonNullable<typeof seen> {
  if (seen !== undefined) return seen;
  const memory = new Memory(ROOM);
  const header = MessageHeader.single(1);
  header.part(0, memory.address, ROOM);
  seen = { header, memory };
  return seen;
}

/** @param room for control data that is not more than bytes */
function allBytes(fd: number, room: number): boolean {
  const { header } = look();
  for (let looks = 0; looks < MAX_LOOKS; looks++) {
    const bytes = peek(fd, header, room);
    if (bytes === AGAIN) return true;
    if (bytes < 0 || (header.flags & message.MSG_CTRUNC) !== 0) return false;
    if (bytes === 0 && header.controlBytes === 0) return true;
  }
  return false;
}

// What lies unread in a Unix socket that is about to be closed: closing it closes that too.

import { poll } from "../native/poll.ts";
import { socket as c, message, option } from "../native/socket.ts";
import { Envelope } from "./syscalls/envelope.ts";
import { pollNow } from "./syscalls/fd.ts";
import { Memory } from "./syscalls/memory.ts";
import { peek } from "./syscalls/message.ts";
import { getOption } from "./syscalls/socket.ts";

/** So much of a stream is looked at. */
const ROOM = 64 * 1024;

const ASKED = poll.POLLIN | poll.POLLPRI;

let seen: { readonly envelope: Envelope; readonly memory: Memory } | undefined;

/**
 * Whether something may be in the socket's queue that is more than bytes: descriptors, or
 * connections that nobody has accepted. What comes after the look is not seen.
 */
export function holdsMore(fd: number): boolean {
  const found = pollNow(fd, ASKED);
  if (found >= 0 && (found & ASKED) === 0) return false;
  // bytes out of band end what a look sees
  return found < 0 || (found & poll.POLLPRI) !== 0 || !isPlain(fd);
}

/** True where nothing but bytes is there: the end is readable, too. */
function isPlain(fd: number): boolean {
  const type = getOption(fd, option.SO_TYPE);
  if (type !== c.SOCK_STREAM && type !== c.SOCK_SEQPACKET) return false;
  if (seen === undefined) {
    const memory = new Memory(ROOM);
    const envelope = Envelope.single(1);
    envelope.part(0, memory.address, ROOM);
    seen = { envelope, memory };
  }
  // one look passes over message after message as far as the first with descriptors (K16)
  const bytes = peek(fd, seen.envelope);
  if (bytes < 0 || bytes === ROOM) return false;
  if ((seen.envelope.flags & message.MSG_CTRUNC) !== 0) return false;
  if (type === c.SOCK_STREAM) return true;
  // an empty message looks like the end, but for its time stamp where that is on (K15)
  const stamped = option.SO_TIMESTAMP !== null && getOption(fd, option.SO_TIMESTAMP) === 1;
  return bytes === 0 && stamped;
}

// What XNU's answers mean if they are not POSIX's (facts: #xnu-sends). Nothing here was run on a
// Mac: it was read in the source of xnu-11417.101.15.

import { errno } from "../../native/errno.ts";
import { socket as c, option } from "../../native/socket.ts";
import { libc } from "./libc.ts";
import { cells } from "./memory.ts";
import { AGAIN, result } from "./result.ts";

/** SO_TYPE, or a negative errno. */
function typeOf(fd: number): number {
  cells.words[1] = 4;
  const { address } = cells;
  const got = result(libc.getsockopt(fd, option.SOL_SOCKET, option.SO_TYPE, address, address + 4));
  return got < 0 ? got : cells.words[0]!;
}

/**
 * A send that failed, in the words that the callers know.
 *
 * - EMSGSIZE of a stream with descriptors: its buffer has no room for them now. The sender's buffer
 *   shrinks to nothing as the peer's queue fills (uipc_usrreq.c, uipc_send).
 * - ENOBUFS of a datagram: the receiver's queue is full.
 * - EPROTOTYPE of a stream: the socket is being torn down.
 */
export function xnuSent(fd: number, sent: number, withControl: boolean): number {
  switch (-sent) {
    case errno.EMSGSIZE:
      return withControl && typeOf(fd) === c.SOCK_STREAM ? AGAIN : sent;
    case errno.ENOBUFS:
      return typeOf(fd) === c.SOCK_DGRAM ? AGAIN : sent;
    case errno.EPROTOTYPE: // of a datagram: the receiver is of another type
      return typeOf(fd) === c.SOCK_STREAM ? -errno.EPIPE : sent;
    default:
      return sent;
  }
}

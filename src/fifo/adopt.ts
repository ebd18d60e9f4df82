// An end of a pipe that another process opened: a service manager (ListenFIFO=), a parent, a peer.

import { errno } from "../../native/errno.ts";
import { check, UnixError } from "../base/errors.ts";
import { describeFd } from "../fd/description.ts";
import { Fd, type FdLike, fdNumber, ownFd } from "../fd/fd.ts";
import { setCloseOnExec, setNonBlocking } from "../syscalls/fd.ts";
import { notAFifo } from "./file.ts";
import { NotAFifoError } from "./not-a-fifo.ts";

/** An end, and what /proc says it is: the FIFO's path, or "pipe:[4711]". */
export interface AdoptedEnd {
  readonly end: Fd;
  readonly path: string;
}

/**
 * On failure everything is as it was, but for flags of the descriptor.
 * @throws TypeError, RangeError; UnixError EBADF; NotAFifoError
 */
export function adoptEnd(from: FdLike, access: "read" | "write", place: string): AdoptedEnd {
  const number = fdNumber(from);
  const { kind, access: opened, target } = describeFd(number);
  const path = target ?? `descriptor ${number}`;
  if (kind !== "pipe") throw new NotAFifoError(place, path, notAFifo(kind));
  if (opened !== access && opened !== "read-write") {
    const hint = `it was opened to ${opened}`;
    throw new UnixError(place, -errno.EBADF, { address: path, hint });
  }
  check(setNonBlocking(number, true), "fcntl", { address: path });
  const owned = from instanceof Fd || typeof from === "number";
  if (owned) check(setCloseOnExec(number, true), "fcntl", { address: path });
  return { end: ownFd(from, number, place, "ours"), path };
}

// How it shows that the peer has closed its end.

import { poll as events } from "../../native/poll.ts";
import { UnixError } from "../base/errors.ts";
import { poll } from "../syscalls/fd.ts";

/** A send found it closed. Reading will tell, after what it had sent. */
export const isPeerGone = (error: unknown, fd: number): boolean =>
  error instanceof UnixError &&
  (error.code === "EPIPE" || error.code === "ECONNRESET") &&
  hungUp(fd);

/** The peer has closed, rather than said that it sends no more. */
export function hungUp(fd: number): boolean {
  const found = poll(fd, 0, 0);
  return found > 0 && (found & events.POLLHUP) !== 0;
}

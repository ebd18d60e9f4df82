// errno is looked at here and nowhere else, right after the call.

import { errno } from "../../native/errno.ts";
import { lastError } from "./libc.ts";

/** The value of a call, or its errno as a negative number. */
export function result(value: number): number {
  return value < 0 ? -lastError.read() : value;
}

/** Negative results that more than one layer looks for. */
export const AGAIN = -errno.EAGAIN;
export const INTERRUPTED = -errno.EINTR;

/**
 * Make a call again for as long as signals interrupt it: bursts of 64 have been seen
 * (facts: #eintr-in-bursts).
 */
export function uninterrupted(call: () => number): number {
  let value: number;
  do value = result(call());
  while (value === INTERRUPTED);
  return value;
}

// Waiting for any descriptor on Bun's event loop.

import { errno } from "../../native/errno.ts";
import { system } from "../../native/platform.ts";
import { poll as events } from "../../native/poll.ts";
import { integer } from "../base/checks.ts";
import type { Abortable } from "../base/deadline.ts";
import { UnixError } from "../base/errors.ts";
import { iterate } from "../base/iterate.ts";
import { type FdLike, fdNumber } from "../fd/fd.ts";
import { attempt } from "../loop/attempt.ts";
import { rejected, settled } from "../loop/gate.ts";
import { Watch } from "../loop/poller.ts";
import { setBusyPoll } from "../loop/rounds.ts";
import { poll } from "../syscalls/fd.ts";
import { isReady } from "../syscalls/select.ts";

/** What poll(2) says of a descriptor. */
export interface Readiness {
  /** There is something to read or accept, or the end. */
  readonly readable: boolean;
  /** There is room to write. */
  readonly writable: boolean;
  /** The other end has closed, or shut down writing. There may still be data to read. */
  readonly ended: boolean;
  /** POLLERR: an error is pending, or the last reader has closed. */
  readonly error: boolean;
}

/** How long to wait: until the signal. */
export interface WaitOptions extends Abortable {}

const hangUp = events.POLLHUP | (events.POLLRDHUP ?? 0);
const asked = {
  read: events.POLLIN | (events.POLLRDHUP ?? 0),
  write: events.POLLOUT,
} as const;

function readiness(fd: number, direction: "read" | "write"): Readiness | undefined {
  const found = poll(fd, asked[direction], 0);
  if (found === 0) return system === "darwin" ? endOfFifo(fd, direction) : undefined;
  if (found < 0) throw new UnixError("poll", found);
  if ((found & events.POLLNVAL) !== 0) throw new UnixError("poll", -errno.EBADF);
  return {
    readable: (found & events.POLLIN) !== 0,
    writable: (found & events.POLLOUT) !== 0,
    ended: (found & hangUp) !== 0,
    error: (found & events.POLLERR) !== 0,
  };
}

/** macOS: select(2) tells what poll(2) does not of a FIFO (facts: #kqueue-and-fifos). */
function endOfFifo(fd: number, direction: "read" | "write"): Readiness | undefined {
  if (!isReady(fd, direction)) return undefined;
  const read = direction === "read";
  return { readable: read, writable: !read, ended: read, error: !read };
}

function wait(
  from: FdLike,
  direction: "read" | "write",
  { signal }: WaitOptions,
): Promise<Readiness> {
  const fd = fdNumber(from);
  if (signal?.aborted === true) return rejected(signal.reason);
  try {
    const now = readiness(fd, direction);
    if (now !== undefined) return settled(now);
    const tryOnce = (): Readiness | undefined => readiness(fd, direction);
    return attempt({ watch: Watch.of(fd, false), direction, signal }, { tryOnce });
  } catch (error) {
    return rejected(error);
  }
}

/**
 * Wait until a read on `fd` would not block: data, a connection, the end or an error. Works for
 * whatever poll(2) works for: sockets, pipes, eventfds, pidfds, message queues, terminals. The
 * descriptor is borrowed and must stay open meanwhile.
 *
 * @throws UnixError EBADF; the signal's reason
 * @see poll(2)
 */
export function waitReadable(fd: FdLike, options: WaitOptions = {}): Promise<Readiness> {
  return wait(fd, "read", options);
}

/**
 * Wait until a write on `fd` would not block, or fail at once.
 * @throws as {@link waitReadable}
 * @see poll(2)
 */
export function waitWritable(fd: FdLike, options: WaitOptions = {}): Promise<Readiness> {
  return wait(fd, "write", options);
}

/**
 * Every time you ask, the next moment at which `fd` is ready; until the signal aborts, or the other
 * end is gone and nothing is left to read. Ask again only after you have read (or written): a
 * descriptor that is still ready answers at once.
 *
 * @throws as {@link waitReadable}, but when the signal aborts it ends
 * @see poll(2)
 */
export function watchReadiness(
  fd: FdLike,
  options: WaitOptions & { direction?: "read" | "write" | undefined } = {},
): AsyncIterableIterator<Readiness> {
  const { direction = "read", signal } = options;
  const stopped = (): boolean => signal?.aborted === true;
  return iterate(async () => {
    if (stopped()) return null;
    try {
      const found = await wait(fd, direction, { signal });
      return found.ended && !found.readable && !found.writable ? null : found;
    } catch (error) {
      if (stopped()) return null;
      throw error;
    }
  });
}

/** How this JS thread waits. */
export interface LoopOptions {
  /**
   * After an event, keep polling for the next one for this many microseconds, 0 to 1,000, before
   * the thread sleeps. Default 0.
   *
   * A sleeping thread takes tens of microseconds to wake on another processor; one that still looks
   * takes none. The price is processor time: up to that much after each pause in the traffic,
   * during which nothing else in this thread runs. Nothing is spent while nothing comes, and after
   * two milliseconds of traffic without a pause the rest of Bun's loop has its turn.
   */
  readonly busyPollMicros?: number | undefined;
}

const MAX_MICROS = 1000;
const MICROS_PER_MS = 1000;

/**
 * Set how the loop of this JS thread behaves, from its next event on.
 * @throws RangeError, TypeError
 */
export function configureLoop({ busyPollMicros }: LoopOptions): void {
  if (busyPollMicros === undefined) return;
  const micros = integer("busyPollMicros", busyPollMicros, { max: MAX_MICROS });
  setBusyPoll(micros / MICROS_PER_MS);
}

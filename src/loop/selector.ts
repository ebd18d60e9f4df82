// What the poller asks: which descriptors are ready? One file for each kernel's way, the same verbs
// for both.

import { epoll, poll } from "../../native/poll.ts";
import type { Asked } from "../syscalls/select.ts";

/** Of our own if the kernel has no word for it. */
const READ_HANG_UP = 0x2000;

/** What happened to a descriptor: epoll's words, which on Linux are the kernel's. */
export const eventFlag = {
  in: epoll.EPOLLIN ?? poll.POLLIN,
  out: epoll.EPOLLOUT ?? poll.POLLOUT,
  readHangUp: epoll.EPOLLRDHUP ?? READ_HANG_UP,
  urgent: epoll.EPOLLPRI ?? poll.POLLPRI,
  gone: poll.POLLERR | poll.POLLHUP,
} as const;

/** What is asked for as long as there is a waiter. */
export const READING = eventFlag.in | eventFlag.readHangUp | eventFlag.urgent;

/** A descriptor to be asked about. */
export interface Selected {
  readonly fd: number;
  /** Comes back with its events: tells them from those of an earlier file with its number. */
  readonly tag: number;
  /** What the kernel was asked for so far; 0: nothing. The selector writes it. */
  registered: number;
  /** Whether there is a waiter in this direction. */
  hasWaiters(direction: "read" | "write"): boolean;
}

/**
 * Every registration is edge-triggered: what stays ready while no waiter acts on it (a listener at
 * EMFILE, a FIFO without writers) wakes us once and not again (facts:
 * #accept-at-emfile-stays-readable, #readable-for-ever).
 */
export interface Selector {
  /** Readable while something is ready; ours to close. */
  readonly fd: number;
  /** What the waker has to look at beside it, if there is such a thing. */
  readonly beside: SelectSet | null;
  /** Ask for `events` from now on, or once more, and be told of what holds now. Or an errno. */
  change(watch: Selected, events: number): number;
  /** Ask no more. */
  remove(watch: Selected): void;
  /** Take what is ready: how many events; never waits. */
  take(): number;
  /** The same, after at most that many nanoseconds; negative if this kernel cannot. */
  takeWithin(nanoseconds: number): number;
  /** Of event `index` of the last take: whose, and what. */
  fdOf(index: number): number;
  tagOf(index: number): number;
  eventsOf(index: number): number;
}

/** Descriptors that the selector itself is not told enough of, for select(2). */
export interface SelectSet {
  /** Those that have waiters now, and for which directions. */
  asked(): readonly Asked[];
}

/** Events taken from the kernel at once. */
export const BATCH = 256;

// A close that may take long, on a thread that does nothing else. The thread starts with libc's own
// close and runs no code of ours; only the kernel keeps it waiting. It runs no JavaScript and needs
// no heap.

import { clock, timespec } from "../../native/time.ts";
import { libc, symbol } from "./libc.ts";
import { Memory } from "./memory.ts";

/**
 * Of what such a thread needs, a signal handler of others included: the kernel's frame of one is
 * some kilobytes. It is address space; what is not touched takes no memory.
 */
const STACK_BYTES = 128 * 1024;
/** A pthread_attr_t has 56 or 64 bytes, whose meaning is libc's. */
const ATTRIBUTE_BYTES = 256;
const NANOSECONDS_PER_MS = 1e6;
const NANOSECONDS = 1_000_000_000;
const HIGH = 2 ** 32;

/** One thread, by its pthread_t. */
export type ClosingThread = number;

interface Prepared {
  readonly attributes: Memory;
  readonly thread: Memory;
  readonly until: Memory;
  readonly close: number;
}

let prepared: Prepared | undefined;

function prepare(): Prepared {
  const attributes = new Memory(ATTRIBUTE_BYTES);
  libc.pthread_attr_init(attributes.address);
  libc.pthread_attr_setstacksize(attributes.address, STACK_BYTES); // or else libc's default
  return {
    attributes,
    thread: new Memory(8),
    until: new Memory(timespec.size),
    close: symbol("close"),
  };
}

/** Close `fd` on a thread of its own, which must be joined; 0: none can be started. */
export function startClosing(fd: number): ClosingThread {
  const { attributes, thread, close } = (prepared ??= prepare());
  const failed = libc.pthread_create(thread.address, attributes.address, close, fd);
  if (failed !== 0) return 0;
  return thread.view.getUint32(0, true) + HIGH * thread.view.getUint32(4, true);
}

/** Whether it has ended; if so there is nothing left of it. */
export const hasEnded = (thread: ClosingThread): boolean =>
  libc.pthread_tryjoin_np(thread, null) === 0;

/** The same, after this thread has slept for at most that many milliseconds. */
export function endsWithin(thread: ClosingThread, ms: number): boolean {
  const { until } = (prepared ??= prepare());
  const { tv_sec, tv_nsec } = timespec.at;
  libc.clock_gettime(clock.CLOCK_REALTIME, until.address);
  const nanoseconds = until.words[tv_nsec >> 2]! + ms * NANOSECONDS_PER_MS;
  const seconds = Math.floor(nanoseconds / NANOSECONDS);
  until.words[tv_nsec >> 2] = nanoseconds % NANOSECONDS;
  until.view.setBigInt64(tv_sec, until.view.getBigInt64(tv_sec, true) + BigInt(seconds), true);
  return libc.pthread_timedjoin_np(thread, null, until.address) === 0;
}

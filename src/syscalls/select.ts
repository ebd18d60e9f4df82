// select(2), on macOS: of a FIFO it tells what kqueue does not, nor poll(2), which asks a kqueue
// there (facts: #kqueue-and-fifos).

import { timeval } from "../../native/time.ts";
import { libc } from "./libc.ts";
import { Memory } from "./memory.ts";
import { result } from "./result.ts";

/** A descriptor, and for which directions it is asked about. */
export interface Asked {
  readonly fd: number;
  readonly read: boolean;
  readonly write: boolean;
}

const WORD_BITS = 32;
const WORD_BYTES = 4;
const MS_PER_S = 1000;
const US_PER_MS = 1000;
const FIRST_ROOM = 1024;

/** Both sets, one behind the other. */
let sets = new Memory((2 * FIRST_ROOM) / 8);
const duration = new Memory(timeval.size);

/**
 * Which of them are ready, after this thread has slept for at most that many milliseconds
 * (negative: for ever); or a negative errno: EBADF if one is closed, EINTR.
 */
export function select(asked: readonly Asked[], timeoutMs: number): Asked[] | number {
  const count = asked.reduce((most, { fd }) => Math.max(most, fd + 1), 0);
  const words = 2 * Math.ceil(count / (2 * WORD_BITS));
  if (sets.words.length < 2 * words) sets = new Memory(2 * WORD_BYTES * words);
  const { words: bits, address } = sets;
  bits.fill(0, 0, 2 * words);
  for (const { fd, read, write } of asked) {
    if (read) bits[fd >> 5]! |= 1 << (fd % WORD_BITS);
    if (write) bits[words + (fd >> 5)]! |= 1 << (fd % WORD_BITS);
  }
  const { view } = duration;
  const wait = Math.max(timeoutMs, 0);
  view.setBigInt64(timeval.at.tv_sec, BigInt(Math.floor(wait / MS_PER_S)), true);
  view.setInt32(timeval.at.tv_usec, Math.floor((wait % MS_PER_S) * US_PER_MS), true);
  const until = timeoutMs < 0 ? null : duration.address;
  const writeSet = address + WORD_BYTES * words;
  const ready = result(libc.select$DARWIN_EXTSN(count, address, writeSet, null, until));
  if (ready < 0) return ready;
  const has = (from: number, fd: number): boolean =>
    (bits[from + (fd >> 5)]! & (1 << (fd % WORD_BITS))) !== 0;
  return asked
    .map(({ fd, read, write }) => ({
      fd,
      read: read && has(0, fd),
      write: write && has(words, fd),
    }))
    .filter(({ read, write }) => read || write);
}

/** Whether one is ready, now or within that many milliseconds. A signal counts as that time. */
export function isReady(fd: number, direction: "read" | "write", timeoutMs = 0): boolean {
  const asked = [{ fd, read: direction === "read", write: direction === "write" }];
  const found = select(asked, timeoutMs);
  return typeof found === "number" ? false : found.length > 0;
}

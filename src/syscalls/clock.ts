// The kernel's clock. Bun's own begin with the process, so other processes cannot compare them; and
// in tests of a program they may stand still (Jest's fake timers).

import { clock, timespec } from "../../native/time.ts";
import { integer } from "../base/checks.ts";
import { libc } from "./libc.ts";
import { cells } from "./memory.ts";
import { result } from "./result.ts";

const NANOSECONDS = 1_000_000_000n;

/** CLOCK_MONOTONIC in nanoseconds, or a negative errno. */
export function monotonicNanoseconds(): bigint {
  const got = result(libc.clock_gettime(clock.CLOCK_MONOTONIC, cells.address));
  if (got < 0) return BigInt(got);
  const seconds = cells.view.getBigInt64(timespec.at.tv_sec, true);
  return seconds * NANOSECONDS + cells.view.getBigInt64(timespec.at.tv_nsec, true);
}

const NANOSECONDS_PER_MS = 1_000_000;
const MS_PER_SECOND = 1000;

/** Milliseconds of a clock that no test of a program stops. */
export function monotonicMs(): number {
  libc.clock_gettime(clock.CLOCK_MONOTONIC, cells.address);
  const { tv_sec, tv_nsec } = timespec.at;
  const [seconds, nanoseconds] = [cells.words[tv_sec >> 2]!, cells.words[tv_nsec >> 2]!];
  return seconds * MS_PER_SECOND + nanoseconds / NANOSECONDS_PER_MS;
}

/** The time left until `end` on that clock, as poll(2) takes it. */
export const msUntil = (end: number): number => Math.max(0, Math.ceil(end - monotonicMs()));

/** The time left of `timeoutMs`, from now on; −1 without one. */
export function remaining(timeoutMs: number | undefined): () => number {
  if (timeoutMs === undefined) return () => -1;
  const limit = integer("timeoutMs", timeoutMs);
  const end = monotonicMs() + limit;
  return () => msUntil(end);
}

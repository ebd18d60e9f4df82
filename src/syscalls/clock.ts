// Clocks. Bun's own clocks begin with the process, so other processes cannot compare them.

import { clock, timespec } from "../../native/time.ts";
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

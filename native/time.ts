// Time: time.h.

import { constants, layout } from "./table.ts";

export const clock = constants(["time.h"], { CLOCK_REALTIME: [0, 0], CLOCK_MONOTONIC: [1, 6] });

/** select(2)'s. */
export const timeval = layout("struct timeval", ["sys/time.h"], [16, 16], {
  tv_sec: [
    [0, 0],
    [8, 8],
  ],
  tv_usec: [
    [8, 8],
    [8, 4],
  ],
});

export const timespec = layout("struct timespec", ["time.h"], [16, 16], {
  tv_sec: [
    [0, 0],
    [8, 8],
  ],
  tv_nsec: [
    [8, 8],
    [8, 8],
  ],
});

// Clocks: time.h.

import { constants } from "./table.ts";

export const clock = constants(["time.h"], { CLOCK_MONOTONIC: [1, 6] });

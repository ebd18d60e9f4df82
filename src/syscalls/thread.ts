import { libc } from "./libc.ts";

/**
 * Let another thread that is ready to run on this processor go first; returns at once if there is
 * none.
 */
export const schedYield = (): number => libc.sched_yield();

import { libc } from "./libc.ts";

/** Let another thread that is ready to run on this processor go first; at once if none is. */
export const schedYield = (): number => libc.sched_yield();

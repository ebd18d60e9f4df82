// Pipes and FIFOs: what limits.h says of them, and how large they can be.

import { constants } from "./table.ts";

export const pipe = constants(["limits.h"], {
  PIPE_BUF: [4096, 512],
});

export const pipeSize = constants(["fcntl.h"], { F_SETPIPE_SZ: [1031, null] });

/** fs.pipe-max-size as the kernel sets it; a process that may not have that much gets less. */
export const MAX_PIPE_BYTES = 1 << 20;

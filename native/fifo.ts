// FIFOs: what limits.h says of pipes.

import { constants } from "./table.ts";

export const pipe = constants(["limits.h"], {
  PIPE_BUF: [4096, 512],
});

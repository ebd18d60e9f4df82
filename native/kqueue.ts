// kqueue: macOS's readiness. sys/event.h.

import { constants, layout } from "./table.ts";

const headers = ["sys/types.h", "sys/event.h"] as const;

export const filter = constants(headers, {
  EVFILT_READ: [null, -1],
  EVFILT_WRITE: [null, -2],
});

export const action = constants(headers, {
  EV_ADD: [null, 0x1],
  EV_DELETE: [null, 0x2],
  EV_CLEAR: [null, 0x20],
  EV_ERROR: [null, 0x4000],
  EV_EOF: [null, 0x8000],
});

export const kevent = layout("struct kevent", headers, [null, 32], {
  ident: [
    [null, 0],
    [null, 8],
  ],
  filter: [
    [null, 8],
    [null, 2],
  ],
  flags: [
    [null, 10],
    [null, 2],
  ],
  fflags: [
    [null, 12],
    [null, 4],
  ],
  data: [
    [null, 16],
    [null, 8],
  ],
  udata: [
    [null, 24],
    [null, 8],
  ],
});

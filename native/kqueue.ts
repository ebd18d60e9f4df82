// kqueue: macOS's readiness, and the end of processes. sys/event.h.

import { constants, layout } from "./table.ts";

const headers = ["sys/types.h", "sys/event.h"] as const;

export const filter = constants(headers, {
  EVFILT_READ: [null, -1],
  EVFILT_WRITE: [null, -2],
  EVFILT_PROC: [null, -5],
});

/** What is asked of a process, and told of it. */
export const note = constants(headers, {
  NOTE_EXIT: [null, 0x80000000],
  NOTE_EXITSTATUS: [null, 0x04000000],
  /** The part of `data` that is a wait status. */
  NOTE_PDATAMASK: [null, 0x000fffff],
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

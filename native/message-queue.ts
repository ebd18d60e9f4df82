// POSIX message queues: mqueue.h, mq_overview(7). macOS has none.

import { constants, layout } from "./table.ts";

/** A priority is less than this. */
export const priorities = constants(["limits.h"], { MQ_PRIO_MAX: [32768, null] });

export const mqAttr = layout("struct mq_attr", ["mqueue.h"], [64, null], {
  mq_maxmsg: [
    [8, null],
    [8, null],
  ],
  mq_msgsize: [
    [16, null],
    [8, null],
  ],
  mq_curmsgs: [
    [24, null],
    [8, null],
  ],
});

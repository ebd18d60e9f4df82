// Zero downtime: one process hands its listeners, and other descriptors, to the next one.

export { Handover, type HandoverOptions } from "./handover/handover.ts";
export type { NamedFd } from "./handover/table.ts";

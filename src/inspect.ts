// Who is there? What an address is, who has it, and every Unix socket that there is.

export type { Container } from "./inspect/container.ts";
export {
  type GraphConnection,
  type GraphEnd,
  type GraphListener,
  type GraphProcess,
  type SocketGraph,
  type SocketGraphOptions,
  socketGraph,
} from "./inspect/graph.ts";
export type { SocketHolder } from "./inspect/holders.ts";
export { listSockets, type UnixSocketInfo } from "./inspect/list.ts";
export { type Probe, type ProbeOptions, type ProbeState, probe } from "./inspect/probe.ts";
export type { SocketSource } from "./inspect/unix-sockets.ts";
export type { SocketFile } from "./structs/unix-diag.ts";

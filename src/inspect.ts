// Who is there? What an address is, who has it, and every Unix socket that there is.

export {
  listSockets,
  type Probe,
  type ProbeOptions,
  type ProbeState,
  probe,
  type UnixSocketInfo,
} from "./inspect/probe.ts";
export type { Holder, SocketSource } from "./inspect/unix-sockets.ts";
export type { SocketFile } from "./structs/unix-diag.ts";

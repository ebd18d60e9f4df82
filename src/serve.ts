// Bun's servers on a socket that Bun did not open: from systemd, a predecessor, this library.

export {
  type AdoptOptions,
  adoptServer,
  type PlaceholderAddress,
  type Startable,
  serveOn,
} from "./serve/adopt.ts";
export {
  type Drainable,
  type DrainOptions,
  drain,
  drainable,
  isDraining,
  resumeServer,
} from "./serve/drain.ts";
export { type ListenTcpOptions, listenTcp } from "./serve/listen-tcp.ts";

// Listening sockets.

export type { BindOptions } from "./bind/exclusive.ts";
export { AddressInUseError } from "./bind/in-use.ts";
export {
  type AdmissionOptions,
  Listener,
  type ListenOptions,
  listen,
  type ServeConnectionsOptions,
} from "./listener/listener.ts";

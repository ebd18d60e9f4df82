// Listening sockets.

export { AddressInUseError, type BindOptions } from "./bind/exclusive.ts";
export {
  type AdmissionOptions,
  Listener,
  type ListenOptions,
  listen,
  type ServeConnectionsOptions,
} from "./listener/listener.ts";

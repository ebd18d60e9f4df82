// Everything public. Each line is also a subpath: bunix/fd, bunix/address, …

export { type Address, type AddressInput, formatAddress, parseAddress } from "./address.ts";
export { type Capabilities, type Capability, capabilities } from "./capabilities.ts";
export { UnixError, UnsupportedError } from "./errors.ts";
export { Fd, type FdDescription, type FdLike } from "./fd.ts";
export {
  type Holder,
  listSockets,
  type Probe,
  type ProbeOptions,
  type ProbeState,
  probe,
  type SocketFile,
  type UnixSocketInfo,
} from "./inspect.ts";
export {
  AddressInUseError,
  type BindOptions,
  Listener,
  type ListenOptions,
  listen,
} from "./listener.ts";
export {
  type Readiness,
  type WaitOptions,
  waitReadable,
  waitWritable,
  watchReadiness,
} from "./readiness.ts";
export * from "./socket.ts";

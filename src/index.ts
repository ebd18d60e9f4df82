// Everything public. Each line is also a subpath: bunix/fd, bunix/address, …

export { type Address, type AddressInput, formatAddress, parseAddress } from "./address.ts";
export { type Capabilities, type Capability, capabilities } from "./capabilities.ts";
export { UnixError, UnsupportedError } from "./errors.ts";
export { Fd, type FdDescription, type FdLike } from "./fd.ts";
export {
  FifoReader,
  type FifoReaderOptions,
  type FifoWaitOptions,
  type FifoWriteOptions,
  FifoWriter,
  type FifoWriterOptions,
  type LinesOptions,
  type MakeFifoOptions,
  makeFifo,
  type NotAFifo,
  NotAFifoError,
  openFifo,
  pipeBuf,
} from "./fifo.ts";
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
  type MapMemoryOptions,
  type Seal,
  SharedMemory,
  type SharedMemoryOptions,
} from "./memory.ts";
export {
  MessageQueue,
  maxPriority,
  type QueueAttributes,
  type QueueLimit,
  QueueLimitError,
  QueueMessage,
  type QueueOptions,
  type QueueSendOptions,
} from "./message-queue.ts";
export {
  type ExitStatus,
  ProcessHandle,
  type ProcessInfo,
  type SendSignalOptions,
  sendSignal,
} from "./process.ts";
export {
  type Readiness,
  type WaitOptions,
  waitReadable,
  waitWritable,
  watchReadiness,
} from "./readiness.ts";
export {
  type SignalEvent,
  type SignalOrigin,
  SignalWatcher,
  signalName,
  signalNumber,
  type WatchSignalsOptions,
  watchSignals,
} from "./signals.ts";
export * from "./socket.ts";

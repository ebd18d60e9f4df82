// Everything public. Each line is also a subpath: bunix/fd, bunix/address, …

export {
  type InheritedFd,
  inheritedFds,
  inheritedFdsByName,
  type NotifyOptions,
  type NotifyState,
  notify,
  Watchdog,
  type WatchdogOptions,
  watchdog,
} from "./activation.ts";
export { type Address, type AddressInput, formatAddress, parseAddress } from "./address.ts";
export { type Capabilities, type Capability, capabilities } from "./capabilities.ts";
export {
  Channel,
  ChannelMessage,
  type ChannelOptions,
  type ChannelSendOptions,
  type Codec,
  type Encoded,
  openChannel,
  RemoteError,
  Reply,
  type ReplyOptions,
  RequestContext,
  type RequestHandler,
  type RequestOptions,
} from "./channel.ts";
export { UnixError, UnsupportedError } from "./errors.ts";
export { Fd, type FdDescription, type FdLike, type Pipe, type PipeOptions, pipe } from "./fd.ts";
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
export { Handover, type HandoverOptions, type NamedFd } from "./handover.ts";
export {
  listSockets,
  type Probe,
  type ProbeOptions,
  type ProbeState,
  probe,
  type SocketFile,
  type SocketHolder,
  type SocketSource,
  type UnixSocketInfo,
} from "./inspect.ts";
export {
  AddressInUseError,
  type AdmissionOptions,
  type BindOptions,
  Listener,
  type ListenOptions,
  listen,
} from "./listener.ts";
export {
  FileLock,
  type LockHolder,
  type LockOptions,
  type LockWaitOptions,
  lockFile,
  lockFileSync,
  lockHolders,
  tryLockFile,
} from "./lock.ts";
export {
  type MapMemoryOptions,
  type Seal,
  SharedMemory,
  type SharedMemoryOptions,
} from "./memory.ts";
export {
  MessageQueue,
  maxPriority,
  type QueueAccess,
  type QueueAttributes,
  type QueueLimit,
  QueueLimitError,
  QueueMessage,
  type QueueNotification,
  type QueueOptions,
  type QueueOwner,
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
  adoptQueueSocket,
  type ConnectQueueOptions,
  connectQueue,
  connectQueueSync,
  type InheritOptions,
  type ListenQueueOptions,
  listenQueue,
  openQueueDatagram,
  type QueueAddress,
  QueueDatagram,
  type QueueDatagramOptions,
  QueueDatagramSocket,
  QueueListener,
  type QueueOwnerOptions,
  type QueueProcess,
  type QueueReceiveOptions,
  type QueueSizeOptions,
  QueueSocket,
  type SendDatagramOptions,
} from "./queue-socket.ts";
export {
  configureLoop,
  type LoopOptions,
  type Readiness,
  type WaitOptions,
  waitReadable,
  waitWritable,
  watchReadiness,
} from "./readiness.ts";
export {
  FdReceiver,
  type RealtimeSignal,
  type ReceivedFd,
  type ReceiveFdsOptions,
  receiveFds,
  type SendFdOptions,
  sendFd,
} from "./send-fd.ts";
export {
  type AdoptOptions,
  adoptServer,
  type Drainable,
  type DrainOptions,
  drain,
  drainable,
  isDraining,
  type ListenTcpOptions,
  listenTcp,
  type PlaceholderAddress,
  resumeServer,
  type Startable,
  serveOn,
} from "./serve.ts";
export {
  type SignalEvent,
  type SignalName,
  type SignalOrigin,
  SignalWatcher,
  signalName,
  signalNumber,
  type WatchSignalsOptions,
  watchSignals,
} from "./signals.ts";
export * from "./socket.ts";
export {
  type BunSocket,
  detachBunSocket,
  type MessagesOptions,
  parentChannel,
  parentMessages,
  type SpawnChannel,
  type SpawnExtras,
  type SpawnedProcess,
  type SpawnFds,
  type SpawnOptions,
  type SpawnSyncOptions,
  spawn,
  spawnSync,
} from "./spawn.ts";

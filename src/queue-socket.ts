// Sockets whose transport is POSIX message queues: docs/queue-socket.md says how.

export type { QueueOwner, QueueOwnerOptions } from "./message-queue/owner.ts";
export type { ConnectQueueOptions } from "./queue-socket/connect.ts";
export {
  type QueueAddress,
  QueueDatagram,
  type QueueDatagramOptions,
  QueueDatagramSocket,
  type SendDatagramOptions,
} from "./queue-socket/datagram.ts";
export type { InheritOptions } from "./queue-socket/inherit.ts";
export { type ListenQueueOptions, QueueListener } from "./queue-socket/listener.ts";
export {
  adoptQueueSocket,
  connectQueue,
  connectQueueSync,
  listenQueue,
  openQueueDatagram,
} from "./queue-socket/open.ts";
export type { QueueProcess } from "./queue-socket/peer-process.ts";
export type { QueueSizeOptions } from "./queue-socket/receive-queue.ts";
export { type QueueReceiveOptions, QueueSocket } from "./queue-socket/stream.ts";

// bunix/socket: stream, seqpacket and datagram sockets.

export type { Data, Payload } from "./base/data.ts";
export type { Abortable, SyncOptions, TimeLimited } from "./base/deadline.ts";
export type { SocketType } from "./base/socket-type.ts";
export {
  type AdoptedSockets,
  type AdoptSocketOptions,
  adoptSocket,
  type ReceiveMessageOptions,
  receiveMessage,
  sendMessage,
} from "./listener/adopt.ts";
export {
  peerCredentials,
  peerGroups,
  peerPidfd,
  peerSecurity,
} from "./peer/credentials.ts";
export { type VerifiedPeer, verifyPeer } from "./peer/verify.ts";
export type { BatchMessage } from "./socket/batch.ts";
export {
  type ConnectionType,
  type ConnectOptions,
  connect,
  connectSync,
} from "./socket/connect.ts";
export { DatagramSocket, type Recipient } from "./socket/datagram.ts";
export { Message, Received } from "./socket/message.ts";
export type { SendWaitOptions } from "./socket/messaging.ts";
export type { DescriptorDuplex, DuplexOptions } from "./socket/node-stream.ts";
export { bindDatagram, type DatagramOptions, openDatagram } from "./socket/open-datagram.ts";
export type { SocketOptions } from "./socket/options.ts";
export type { ReceiveBatchOptions } from "./socket/packet.ts";
export { type SocketPair, socketPair } from "./socket/pair.ts";
export { type ReaderOptions, type ReadOptions, SocketReader } from "./socket/reader.ts";
export type { ReceiveOptions } from "./socket/receiving.ts";
export { maxFdsPerMessage, type SendOptions } from "./socket/send.ts";
export { SeqpacketSocket } from "./socket/seqpacket.ts";
export { StreamSocket } from "./socket/stream.ts";
export type { SocketKinds } from "./socket/types.ts";
export type { AuditToken, Credentials } from "./structs/credentials.ts";

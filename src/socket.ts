// bunix/socket: stream, seqpacket and datagram sockets.

export { adoptSocket, type ReceiveMessageOptions, receiveMessage, sendMessage } from "./adopt.ts";
export type { BatchMessage } from "./batch.ts";
export { type ConnectionType, type ConnectOptions, connect, connectSync } from "./connect.ts";
export {
  type Credentials,
  peerCredentials,
  peerGroups,
  peerPidfd,
  peerSecurity,
  type VerifiedPeer,
  verifyPeer,
} from "./credentials.ts";
export { DatagramSocket, type Recipient } from "./datagram.ts";
export type { DescriptorDuplex } from "./duplex.ts";
export type { SyncOptions } from "./endpoint.ts";
export { type Data, Message, type Payload, Received } from "./message.ts";
export { type DatagramOptions, openDatagram } from "./open-datagram.ts";
export { maxFdsPerMessage, type SendOptions } from "./outgoing.ts";
export type { ReceiveBatchOptions } from "./packet.ts";
export { socketPair } from "./pair.ts";
export { SeqpacketSocket } from "./seqpacket.ts";
export type { ReceiveOptions, SendWaitOptions } from "./socket-base.ts";
export type { SocketOptions } from "./socket-options.ts";
export { type ReaderOptions, type ReadOptions, SocketReader } from "./socket-reader.ts";
export type { SocketKinds, SocketType } from "./sockets.ts";
export { StreamSocket } from "./stream.ts";

// From a descriptor to the class of its kind.

import type { Fd } from "../fd/fd.ts";
import { DatagramSocket } from "./datagram.ts";
import type { Settings } from "./options.ts";
import { SeqpacketSocket } from "./seqpacket.ts";
import { StreamSocket } from "./stream.ts";

/** The three kinds by their names in this library. */
export interface SocketKinds {
  /** Bytes in order, without boundaries. */
  stream: StreamSocket;
  /** Messages in order, on a connection. */
  seqpacket: SeqpacketSocket;
  /** Messages, each with its address. */
  datagram: DatagramSocket;
}

import type { SocketType } from "../base/socket-type.ts";
/** The object for a socket of that kind; it owns `handle`. */
export function wrapSocket<T extends SocketType>(
  type: T,
  handle: Fd,
  settings: Settings,
): SocketKinds[T] {
  return (
    type === "stream"
      ? new StreamSocket(handle, settings)
      : type === "seqpacket"
        ? new SeqpacketSocket(handle, settings)
        : new DatagramSocket(handle, settings)
  ) as SocketKinds[T];
}

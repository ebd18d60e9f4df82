// From a descriptor to the class of its kind.

import { socket as c } from "../../native/socket.ts";
import type { Fd } from "../fd/fd.ts";
import { toJson } from "../structs/printable.ts";
import { DatagramSocket } from "./datagram.ts";
import type { Settings } from "./options.ts";
import { SeqpacketSocket } from "./seqpacket.ts";
import { StreamSocket } from "./stream.ts";

/** The three kinds by their names in this library. */
export interface SocketKinds {
  stream: StreamSocket;
  seqpacket: SeqpacketSocket;
  datagram: DatagramSocket;
}

/** A kind of Unix socket. */
export type SocketType = keyof SocketKinds;

const numbers: Readonly<Record<SocketType, number>> = {
  stream: c.SOCK_STREAM,
  seqpacket: c.SOCK_SEQPACKET,
  datagram: c.SOCK_DGRAM,
};

/** SOCK_… of a kind. @throws TypeError */
export function typeNumber(type: SocketType): number {
  const number = Object.hasOwn(numbers, type) ? numbers[type] : undefined;
  if (number !== undefined) return number;
  throw new TypeError(`a socket's type is ${Object.keys(numbers).join(", ")}, not ${toJson(type)}`);
}

/** The kind of a SOCK_… number. */
export function typeName(number: number): SocketType | null {
  for (const [name, value] of Object.entries(numbers)) {
    if (value === number) return name as SocketType;
  }
  return null;
}

/** The object for a socket of that kind; it owns `handle`. */
export function socketOf<T extends SocketType>(
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

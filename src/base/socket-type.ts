// The kinds of Unix sockets, by name and by number.

import { system } from "../../native/platform.ts";
import { socket as c } from "../../native/socket.ts";
import { UnsupportedError } from "./errors.ts";
import { toJson } from "./printable.ts";

/** A kind of Unix socket. "seqpacket" is not on macOS. */
export type SocketType = "stream" | "seqpacket" | "datagram";

const numbers: Readonly<Record<SocketType, number>> = {
  stream: c.SOCK_STREAM,
  seqpacket: c.SOCK_SEQPACKET,
  datagram: c.SOCK_DGRAM,
};

const names = new Map<number, SocketType>();
for (const [name, number] of Object.entries(numbers)) names.set(number, name as SocketType);

/** SOCK_… of a kind. @throws TypeError; UnsupportedError for what the system does not have */
export function typeNumber(type: SocketType): number {
  const number = Object.hasOwn(numbers, type) ? numbers[type] : undefined;
  if (type === "seqpacket" && system === "darwin") {
    throw new UnsupportedError("seqpacket", "macOS has no such Unix sockets");
  }
  if (number !== undefined) return number;
  throw new TypeError(`a socket's type is ${Object.keys(numbers).join(", ")}, not ${toJson(type)}`);
}

/** The kind of a SOCK_… number. */
export function typeName(number: number): SocketType | null {
  return names.get(number) ?? null;
}

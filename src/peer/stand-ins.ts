// Connections from this process that a server of Bun has accepted in the place of a client's, which
// follows (src/serve/doorway.ts). Meanwhile the peer of such a connection is the client.

import { socketName } from "../syscalls/socket.ts";

/** The name that the other end of a stand-in has → the client's connection. */
const clients = new Map<string, number>();

/** The abstract name that the other end of a socket has, as latin-1 text; null: it has none. */
export function nameAtOtherEnd(fd: number): string | null {
  const peer = socketName(fd, "getpeername");
  if (typeof peer === "number" || peer.kind !== "abstract") return null;
  return Buffer.from(peer.name).toString("latin1");
}

/** From now on until `standInNoLonger`, the socket whose peer has this name stands for `client`. */
export const standIn = (name: string, client: number): unknown => clients.set(name, client);

export const standInNoLonger = (name: string): unknown => clients.delete(name);

/** The descriptor to ask about the peer of `fd`: itself, but for a stand-in. */
export function whoseEnd(fd: number): number {
  if (clients.size === 0) return fd;
  return clients.get(nameAtOtherEnd(fd) ?? "") ?? fd;
}

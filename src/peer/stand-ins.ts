// Connections from this process that a server of Bun accepts in the place of a client's, until the
// two are exchanged (src/serve/stand-in.ts). Meanwhile the peer of such a connection is the client.

import { socketName } from "../syscalls/socket.ts";

/** Stand-ins: the name of our end → the descriptor of the client's connection. */
const clients = new Map<string, number>();

/** The abstract name of a socket's peer, as latin-1 text; null: it has none. */
export function nameAtOtherEnd(fd: number): string | null {
  const peer = socketName(fd, "getpeername");
  if (typeof peer === "number" || peer.kind !== "abstract") return null;
  return Buffer.from(peer.name).toString("latin1");
}

/** From now on until `removeStandIn`, the socket whose peer has this name stands for `client`. */
export const addStandIn = (name: string, client: number): unknown => clients.set(name, client);

export const removeStandIn = (name: string): unknown => clients.delete(name);

/** The descriptor to ask about the peer of `fd`: for a stand-in the client's, else `fd`. */
export function whoseEnd(fd: number): number {
  if (clients.size === 0) return fd;
  return clients.get(nameAtOtherEnd(fd) ?? "") ?? fd;
}

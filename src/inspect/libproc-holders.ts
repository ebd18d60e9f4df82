// Who has a socket of some path open, as macOS's libproc tells. It knows names only, as they were
// given to bind(2), and of other users' processes only root is told: a socket that is not found
// here may exist all the same.

import { socket as c } from "../../native/socket.ts";
import { type SocketType, typeName } from "../base/socket-type.ts";
import { toBytes } from "../structs/sockaddr-un.ts";
import { allPids, shortInfo, socketsOf, unixSocketOf } from "../syscalls/libproc.ts";
import type { SocketHolder } from "./holders.ts";

/** Live sockets that were bound to one path. */
export interface NamedSocket {
  readonly type: SocketType;
  readonly state: "listening" | "bound";
  readonly holders: readonly SocketHolder[];
}

/** The one that answers, of the type that is asked for; null if none is to be seen. */
export function findNamed(
  path: string | Uint8Array,
  wanted: SocketType | undefined,
): NamedSocket | null {
  const bytes = toBytes(path);
  const found = new Map<string, NamedSocket & { readonly holders: SocketHolder[] }>();
  for (const pid of allPids()) {
    for (const fd of socketsOf(pid)) {
      const one = unixSocketOf(pid, fd);
      if (one === null || one.address.kind !== "path") continue;
      // an accepted connection has its listener's name
      if (one.type === c.SOCK_STREAM && one.connected) continue;
      if (Buffer.compare(toBytes(one.address.path), bytes) !== 0) continue;
      const type = typeName(one.type);
      if (type === null) continue;
      const takes = type === "datagram" ? !one.connected : one.listening;
      const state = takes ? "listening" : "bound";
      const holder: SocketHolder = { pid, command: shortInfo(pid)?.command ?? "", fd };
      const known = found.get(`${type} ${state}`);
      if (known === undefined) found.set(`${type} ${state}`, { type, state, holders: [holder] });
      else known.holders.push(holder);
    }
  }
  const rank = (one: NamedSocket): number =>
    (one.type === wanted ? 2 : 0) + (one.state === "listening" ? 1 : 0);
  return [...found.values()].sort((a, b) => rank(b) - rank(a))[0] ?? null;
}

// Every Unix socket of this network namespace.

import { UnsupportedError } from "../base/errors.ts";
import type { SocketType } from "../base/socket-type.ts";
import type { Address } from "../structs/sockaddr-un.ts";
import type { SocketFile, UnixRecord } from "../structs/unix-diag.ts";
import { knownUid } from "../users/known-ids.ts";
import { holdersOf, type SocketHolder } from "./holders.ts";
import { allSockets } from "./unix-sockets.ts";

/** A Unix socket of this network namespace, as {@link listSockets} tells it. */
export interface UnixSocketInfo {
  /** The socket's type. */
  readonly type: SocketType;
  /** A datagram socket is also "connected" once a peer has connected to it: look at `peer`. */
  readonly state: "listening" | "connected" | "unconnected";
  /** The socket's own inode, as in `socket:[4711]`. */
  readonly inode: number;
  /** Its name; an accepted socket has its listener's. Null if it has none. */
  readonly address: Address | null;
  /** The file that bind made, even if it was renamed or removed since; see {@link SocketFile}. */
  readonly file: SocketFile | null;
  /** The other end: its inode, its name if it has one. Null: none, closed, or not accepted yet. */
  readonly peer: { readonly inode: number; readonly address: Address | null } | null;
  /** Bytes to be received; of a listener: connections to be accepted. Null: the kernel hides it. */
  readonly receiveQueue: number | null;
  /** Bytes that the other end has not received; of a listener: its backlog. */
  readonly sendQueue: number | null;
  /** Which directions were shut down; null: the kernel hides it. */
  readonly shutdown: "none" | "read" | "write" | "both" | null;
  /** The user that made it; null: not told, or none that this user namespace can name. */
  readonly uid: number | null;
  /** Who has it open, as far as this process may see; empty with `holders: false`. */
  readonly holders: readonly SocketHolder[];
}

/**
 * All Unix sockets of this network namespace, as `ss -x` lists them: one question to the kernel,
 * and one walk through /proc for the processes, which takes most of the time; `holders: false`
 * leaves it out. Sockets that wait to be accepted are not in the list; their listener's
 * `receiveQueue` counts them. If sock_diag is refused, /proc/net/unix has less: some fields are
 * null.
 *
 * @throws UnsupportedError if the system tells nothing: not on macOS
 * @see sock_diag(7), ss(8)
 */
export function listSockets(
  options: { readonly holders?: boolean | undefined } = {},
): UnixSocketInfo[] {
  const all = allSockets();
  if (all === null) throw new UnsupportedError("sockDiag", "neither sock_diag nor /proc/net/unix");
  const byInode = new Map<number, UnixRecord>();
  for (const record of all.records) byInode.set(record.inode, record);
  const holders = options.holders === false ? null : holdersOf(byInode);
  const list: UnixSocketInfo[] = [];
  for (const record of byInode.values()) {
    const { type, state, inode, file, receiveQueue, sendQueue, shutdown, uid, peer } = record;
    list.push({
      type,
      state,
      inode,
      file,
      receiveQueue,
      sendQueue,
      shutdown,
      uid: uid === null ? null : knownUid(uid),
      address: record.name,
      peer: peer ? { inode: peer, address: byInode.get(peer)?.name ?? null } : null,
      holders: holders?.get(inode) ?? [],
    });
  }
  return list;
}

// Who talks to whom: the sockets of this machine as processes, listeners and connections.

import { readFileSync, statSync } from "node:fs";
import type { SocketType } from "../base/socket-type.ts";
import { processInfo } from "../process/proc-info.ts";
import type { Address } from "../structs/sockaddr-un.ts";
import { knownUid } from "../users/known-ids.ts";
import { userName } from "../users/names.ts";
import { type Container, containerOf } from "./container.ts";
import { listSockets, type UnixSocketInfo } from "./list.ts";
import { staleFiles } from "./stale-files.ts";

/** A process that has at least one Unix socket open, as far as this one may see. */
export interface GraphProcess {
  /** The process, in this pid namespace. */
  readonly pid: number;
  /** The process's name (comm, at most 15 bytes). */
  readonly command: string;
  /** The user that it runs as; null: not to be seen, or none that this user namespace can name. */
  readonly uid: number | null;
  /** That user's name, as `userName` has it; null: it has none. */
  readonly user: string | null;
  /** The container that its control group says it is in; null: none that is known. */
  readonly container: Container | null;
}

/** A socket that takes connections, or datagrams of anybody. */
export interface GraphListener {
  /** The socket's own inode. */
  readonly inode: number;
  /** The socket's type. */
  readonly type: SocketType;
  /** What it is bound to. */
  readonly address: Address;
  /** Connections that wait to be accepted; of a datagram socket: bytes. Null: not told. */
  readonly waiting: number | null;
  /** How many may wait; null: not told, or a datagram socket. */
  readonly backlog: number | null;
  /** The processes that have it open; of a pre-fork server several. */
  readonly pids: readonly number[];
}

/** One end of a connection. */
export interface GraphEnd {
  /** The socket's own inode. */
  readonly inode: number;
  /** The processes that have it open. Empty: none that this process may see. */
  readonly pids: readonly number[];
  /** Bytes that wait to be received here. Null: not told. */
  readonly queue: number | null;
}

/** A connection of two sockets. */
export interface GraphConnection {
  /** The sockets' type. */
  readonly type: SocketType;
  /**
   * "client": `from` connected to the address that `to` has. "pair": neither has an address:
   * socketpair(2), or inherited. "datagram": `from` sends to `to`, which need not send back.
   */
  readonly kind: "client" | "pair" | "datagram";
  /** Who connected; of a pair the lower inode. */
  readonly from: GraphEnd;
  /** The other end: the server. */
  readonly to: GraphEnd;
  /** The address that was connected to; null for a pair. */
  readonly address: Address | null;
}

/** What {@link socketGraph} finds. */
export interface SocketGraph {
  /** By pid. */
  readonly processes: readonly GraphProcess[];
  /** By inode, as all that follow. */
  readonly listeners: readonly GraphListener[];
  /** Each once. */
  readonly connections: readonly GraphConnection[];
  /** Socket files whose socket is gone, by path. */
  readonly stale: readonly string[];
}

/** What is looked at. */
export interface SocketGraphOptions {
  /**
   * Directories that are searched for stale socket files, and those in them, three deep. Default:
   * /run, /tmp, /var/run, $XDG_RUNTIME_DIR, and the directories of all sockets that are there. []:
   * none. To tell a stale file from a socket of another network namespace, one that the kernel does
   * not know here is connected to and closed at once, as `probe` does.
   */
  readonly directories?: readonly string[] | undefined;
}

/**
 * Processes, what they listen at, and who is connected to whom, with what waits in the queues: one
 * question to the kernel and one walk through /proc. Only sockets of this network namespace; of
 * other users' processes only root sees anything, and what it may not see has no `pids`.
 *
 * @throws TypeError; UnsupportedError if the system tells nothing: not on macOS
 * @see sock_diag(7), ss(8)
 */
export function socketGraph(options: SocketGraphOptions = {}): SocketGraph {
  const { directories } = options;
  if (directories !== undefined && !Array.isArray(directories)) {
    throw new TypeError("directories is an array of paths");
  }
  const sockets = listSockets().sort((a, b) => a.inode - b.inode);
  return {
    processes: processesOf(sockets),
    listeners: sockets.filter(isListener).map(toListener),
    connections: connectionsOf(sockets),
    stale: staleFiles(sockets, directories),
  };
}

const pidsOf = ({ holders }: UnixSocketInfo): number[] =>
  [...new Set(holders.map(({ pid }) => pid))].sort((a, b) => a - b);

type Bound = UnixSocketInfo & { readonly address: Address };

const isListener = (one: UnixSocketInfo): one is Bound =>
  one.address !== null && (one.type === "datagram" ? one.peer === null : one.state === "listening");

function toListener(socket: Bound): GraphListener {
  const { inode, type, address, receiveQueue, sendQueue } = socket;
  const backlog = type === "datagram" ? null : sendQueue;
  return { inode, type, address, waiting: receiveQueue, backlog, pids: pidsOf(socket) };
}

function connectionsOf(sockets: readonly UnixSocketInfo[]): GraphConnection[] {
  const byInode = new Map(sockets.map((one) => [one.inode, one]));
  const found: GraphConnection[] = [];
  for (const one of sockets) {
    if (one.peer === null || one.state === "listening") continue;
    const other = byInode.get(one.peer.inode);
    const mutual = other?.peer?.inode === one.inode;
    if (mutual && !isFirst(one, other)) continue;
    found.push(connection(one, other, mutual));
  }
  return found;
}

/** Of two that are connected to each other: who connected, and of equals the lower inode. */
function isFirst(one: UnixSocketInfo, other: UnixSocketInfo): boolean {
  const [named, otherNamed] = [one.address !== null, other.address !== null];
  return named === otherNamed ? one.inode <= other.inode : otherNamed;
}

function connection(
  one: UnixSocketInfo,
  other: UnixSocketInfo | undefined,
  mutual: boolean,
): GraphConnection {
  const address = other?.address ?? one.peer?.address ?? null;
  const to = other === undefined ? unseen(one.peer!.inode) : end(other);
  const ends = { type: one.type, from: end(one), to, address };
  if (one.type === "datagram" && !mutual) return { ...ends, kind: "datagram" };
  // an accepted socket of another network namespace is not seen, and looks like a pair's end
  return { ...ends, kind: address === null ? "pair" : "client" };
}

const end = (socket: UnixSocketInfo): GraphEnd => ({
  inode: socket.inode,
  pids: pidsOf(socket),
  queue: socket.receiveQueue,
});
const unseen = (inode: number): GraphEnd => ({ inode, pids: [], queue: null });

function processesOf(sockets: readonly UnixSocketInfo[]): GraphProcess[] {
  const commands = new Map<number, string>();
  for (const { pid, command } of sockets.flatMap(({ holders }) => holders)) {
    commands.set(pid, command);
  }
  return [...commands]
    .sort(([a], [b]) => a - b)
    .map(([pid, command]) => {
      const uid = uidOf(pid);
      const user = uid === null ? null : userName(uid);
      const name = command || (processInfo(pid)?.command ?? "");
      return { pid, command: name, uid, user, container: containerOf(pid) };
    });
}

/** Its effective uid: /proc/PID is that user's, but for processes that may not be dumped. */
function uidOf(pid: number): number | null {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    const [, effective] = /^Uid:\s+\d+\s+(\d+)/m.exec(status) ?? [];
    return knownUid(effective === undefined ? statSync(`/proc/${pid}`).uid : Number(effective));
  } catch {
    return null; // gone meanwhile
  }
}

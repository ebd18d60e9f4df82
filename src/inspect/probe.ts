import { lstatSync, type Stats, statSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { system } from "../../native/platform.ts";
import { type AddressInput, formatAddress, parseAddress } from "../address/address.ts";
import { withShortAddress } from "../address/short-path.ts";
import { fileCall, fileErrno, isShortage, UnixError } from "../base/errors.ts";
import { fileKindInWords } from "../base/file-kind.ts";
import { MODE_BITS } from "../base/limits.ts";
import { typeNumber } from "../base/socket-type.ts";
import { peerCredentials } from "../peer/credentials.ts";
import { processInfo } from "../process/proc-info.ts";
import type { Address } from "../structs/sockaddr-un.ts";
import type { SocketFile, UnixRecord } from "../structs/unix-diag.ts";
import { close } from "../syscalls/fd.ts";
import { hasLibproc } from "../syscalls/libproc.ts";
import { connect, socket } from "../syscalls/socket.ts";
import { knownUid } from "../users/known-ids.ts";
import { holdersOf, type SocketHolder } from "./holders.ts";
import { findNamed } from "./libproc-holders.ts";
import { type SocketSource, type Sockets, socketsAt, socketsNamed } from "./unix-sockets.ts";

type SocketType = UnixRecord["type"];

/**
 * What an address is.
 *
 * - `free`: nothing is there; bind can have it, if its directory lets it.
 * - `listening`: a process takes connections here, or, with a datagram socket, messages. It may be
 *   stopped or overloaded: that the address is taken says nothing about an answer.
 * - `bound`: a live socket has the address but takes nothing: between `bind` and `listen`, shut
 *   down, or a datagram socket that is connected to another peer.
 * - `wrong-type`: live, but not of the type that was asked for.
 * - `stale`: a socket's file whose socket is gone; connecting is always refused.
 * - `not-a-socket`: a file of another kind, or a symbolic link to nowhere; see `found`.
 * - `forbidden`: this process may not look, or there is a socket's file that no process of this
 *   network namespace has, and that it may not connect to: stale, or alive in another namespace.
 */
export type ProbeState =
  | "free"
  | "listening"
  | "bound"
  | "wrong-type"
  | "stale"
  | "not-a-socket"
  | "forbidden";

/** What {@link probe} answers. */
export interface Probe {
  /** What is there, in one word. */
  readonly state: ProbeState;
  /** The address that was asked about, parsed. */
  readonly address: Address;
  /** The live socket's type. */
  readonly type?: SocketType;
  /** The live socket's own inode, as in `socket:[4711]` and `ss -x`. */
  readonly inode?: number;
  /**
   * The processes that have the socket open, as far as this one may see; only root sees other
   * users'. If the socket lives in another network namespace: who called `listen`.
   */
  readonly holders: readonly SocketHolder[];
  /** What kind of file is there, in words: "a socket", "a regular file", … */
  readonly found?: string;
  /**
   * The file's owner; of an abstract name, the user that made the socket. null: one that this user
   * namespace cannot name.
   */
  readonly owner?: number | null;
  /** The file's permissions: 0o600. Connecting takes the right to write. */
  readonly mode?: number;
  /** The very file at this path (not what a link leads to), to be recognized later. */
  readonly file?: SocketFile;
  /** When the socket's file was made, if the file system knows. */
  readonly since?: Date;
  /**
   * How the state was found out. "sock_diag": the kernel said so. "proc": /proc/net/unix did, which
   * knows names only. "connect": by trying. "lstat": the file, or its absence, says it all.
   * "libproc" (macOS): connecting is refused, but a process that this one may look at has a socket
   * of that name, which may be a server's with a full backlog.
   */
  readonly source: SocketSource | "connect" | "lstat" | "libproc";
}

/** How to probe. */
export interface ProbeOptions {
  /** The type that is wanted: a live socket of another one is "wrong-type". Default: any. */
  readonly type?: SocketType | undefined;
  /** Follow a symbolic link at the path's end, as `connect` does. Default true. */
  readonly follow?: boolean | undefined;
}

/**
 * What is at `address`, and which process has it?
 *
 * The kernel is asked first, and then no server notices. Only if no socket of this network
 * namespace has the file (another namespace's may) a connection is tried and closed at once. Never
 * waits. The answer is true of the moment it is given.
 *
 * Abstract names stand apart for each type: with `type` only that one is looked at. On macOS there
 * are the connection, which is refused there when the server's backlog is full, too, and libproc,
 * which tells of this user's processes only: "stale" is not certain there, and no holders means
 * that they are unknown.
 *
 * @throws TypeError, RangeError for what is no address; UnixError, e.g. ENOTDIR, EMFILE
 * @see unix(7), sock_diag(7)
 */
export function probe(address: AddressInput, options: ProbeOptions = {}): Probe {
  const name = parseAddress(address);
  if (options.type !== undefined) typeNumber(options.type);
  if (name.kind === "unnamed") throw new TypeError("an unnamed socket cannot be looked for");
  return name.kind === "abstract" ? probeName(name, options) : probePath(name, options);
}

const order: readonly SocketType[] =
  system === "darwin" ? ["stream", "datagram"] : ["stream", "seqpacket", "datagram"];

type PathAddress = Extract<Address, { kind: "path" }>;
type AbstractAddress = Extract<Address, { kind: "abstract" }>;

function probePath(address: PathAddress, { type, follow = true }: ProbeOptions): Probe {
  const seen = lookAtFile(address, follow);
  const begun = { address, ...seen.facts };
  if (seen.state !== null) return { ...begun, state: seen.state, holders: [], source: "lstat" };
  const live = sockets(() => socketsAt(address.path, { follow }));
  const record = answering(live?.records, type);
  if (live !== null && record !== undefined) {
    return { ...begun, ...answerOf(record, type), source: live.source };
  }
  return { ...begun, ...answerOfConnect(address, type) };
}

/** What connecting tells. */
function answerOfConnect(address: PathAddress, type: SocketType | undefined) {
  const tried = tryConnect(address, type);
  const answer = outcomeOfConnect(tried, { address, type, refused: "stale" });
  if (hasLibproc && answer.state !== "free") return seenBy(answer, address, type);
  return { ...answer, source: "connect" } as const;
}

/** Whether a file that no socket of this network namespace has is a stale socket's. */
export function isLeftOver(path: string): boolean {
  const address = { kind: "path", path } as const;
  if (lookAtFile(address, false).state !== null) return false;
  return answerOfConnect(address, undefined).state === "stale";
}

/**
 * macOS: what libproc adds to what connect told: who has it, and whether a refusal was a live
 * server's, because its backlog is full. libproc knows a path only as a name: the process that
 * answers has it, and one that was bound to it may have lost it since, which connect knows better.
 */
function seenBy(answer: Answer, address: PathAddress, wanted: SocketType | undefined) {
  const named = findNamed(address.path, wanted);
  if (named === null) return { ...answer, source: "connect" } as const;
  if (answer.state !== "stale") {
    const holders = named.type === answer.type ? named.holders : answer.holders;
    return { ...answer, holders, source: "connect" } as const;
  }
  const { type, holders } = named;
  const state = wanted === undefined || wanted === type ? named.state : "wrong-type";
  return { state, type, holders, source: "libproc" } as const;
}

function probeName(address: AbstractAddress, { type }: ProbeOptions): Probe {
  const live = sockets(() => socketsNamed(address.name));
  const wanted = live?.records.filter((record) => type === undefined || record.type === type);
  const record = answering(wanted, type);
  if (live !== null && record !== undefined) {
    const owner = record.uid === null ? {} : { owner: knownUid(record.uid) };
    return { address, ...owner, ...answerOf(record, type), source: live.source };
  }
  for (const one of type === undefined ? order : [type]) {
    const tried = { type: one, ...connectOnce(address, one) };
    if (tried.result === -errno.ECONNREFUSED) continue;
    const answer = outcomeOfConnect(tried, { address, type, refused: "free" });
    return { address, ...answer, source: "connect" };
  }
  return { address, holders: [], state: "free", source: live?.source ?? "connect" };
}

/**
 * Null if the kernel tells nothing, for example because /proc may not be searched.
 * @throws UnixError EMFILE, …: what connect says is not enough to go by (a server that has bound
 *   and does not listen yet refuses, too)
 */
function sockets(ask: () => Sockets | null): Sockets | null {
  try {
    return fileCall(ask);
  } catch (error) {
    if (isShortage(error)) throw error;
    return null; // connect reports what is forbidden
  }
}

interface Look {
  /** Null: it is a socket, and has to be looked at closely. */
  readonly state: ProbeState | null;
  readonly facts: Pick<Probe, "found" | "owner" | "mode" | "file" | "since">;
}

function lookAtFile(address: PathAddress, follow: boolean): Look {
  const path = typeof address.path === "string" ? address.path : Buffer.from(address.path);
  const here = stat(() => lstatSync(path), address);
  if (typeof here === "string") return { state: here, facts: {} };
  const link = here.isSymbolicLink();
  const there = link && follow ? stat(() => statSync(path), address) : here;
  const file = { dev: here.dev, ino: here.ino };
  if (there === "free") {
    return { state: "not-a-socket", facts: { found: "a symbolic link to nowhere", file } };
  }
  if (there === "forbidden") {
    return { state: "forbidden", facts: { found: "a symbolic link", file } };
  }
  const found = `${link && follow ? "a symbolic link to " : ""}${fileKindInWords(there)}`;
  const facts = { found, owner: knownUid(there.uid), mode: there.mode & MODE_BITS, file };
  if (!there.isSocket()) return { state: "not-a-socket", facts };
  const since = there.birthtimeMs > 0 ? { since: there.birthtime } : {};
  return { state: null, facts: { ...facts, ...since } };
}

function stat(call: () => Stats, address: Address): Stats | "free" | "forbidden" {
  try {
    return call();
  } catch (error) {
    const number = fileErrno(error) ?? -errno.EIO;
    if (number === -errno.ENOENT || number === -errno.ELOOP) return "free";
    if (number === -errno.EACCES) return "forbidden";
    const hint = number === -errno.ENOTDIR ? "a part of its path is a file" : undefined;
    throw new UnixError("lstat", number, { address: formatAddress(address), hint, cause: error });
  }
}

/** Of the sockets that have an address, the one that answers: of the type asked for, listening. */
function answering(records: readonly UnixRecord[] = [], type: SocketType | undefined) {
  const rank = (one: UnixRecord): number =>
    (one.type === type ? 2 : 0) + (stateOf(one) === "listening" ? 1 : 0);
  return records.toSorted((a, b) => rank(b) - rank(a))[0];
}

function stateOf(record: UnixRecord): "listening" | "bound" {
  const shut = record.shutdown === "read" || record.shutdown === "both";
  const takes = record.type === "datagram" ? record.peer === null : record.state === "listening";
  return takes && !shut ? "listening" : "bound";
}

type Answer = Pick<Probe, "state" | "type" | "inode" | "holders">;

/** What the kernel told of the live socket. */
function answerOf(record: UnixRecord, wanted: SocketType | undefined): Answer {
  const { type, inode } = record;
  const state = wanted === undefined || wanted === type ? stateOf(record) : "wrong-type";
  return { state, type, inode, holders: holdersOf(new Set([inode])).get(inode) ?? [] };
}

interface Tried {
  readonly type: SocketType;
  readonly result: number;
  /** Who called `listen`, if a connection was made. */
  readonly server?: SocketHolder;
}

/** Connect with each type until one fits. */
function tryConnect(address: Address, wanted: SocketType | undefined): Tried {
  const first = wanted ?? "stream";
  let tried: Tried = { type: first, ...connectOnce(address, first) };
  for (const type of order) {
    if (tried.result !== -errno.EPROTOTYPE) break;
    if (type !== first) tried = { type, ...connectOnce(address, type) };
  }
  return tried;
}

function connectOnce(address: Address, type: SocketType): Omit<Tried, "type"> {
  const fd = socket(typeNumber(type));
  if (fd < 0) throw new UnixError("socket", fd);
  try {
    const result = withShortAddress(address, "connect", (short) => connect(fd, short));
    const server = result < 0 ? null : serverOf(fd);
    return server === null ? { result } : { result, server };
  } catch (error) {
    const missing = error instanceof UnixError && /^(?:ENOENT|EACCES)$/.test(error.code);
    if (missing) return { result: error.errno };
    throw error;
  } finally {
    close(fd);
  }
}

function serverOf(fd: number): SocketHolder | null {
  try {
    const { pid } = peerCredentials(fd);
    return pid === null ? null : { pid, command: processInfo(pid)?.command ?? "", fd: null };
  } catch {
    return null; // the kernel records no peer of a datagram socket
  }
}

interface Question {
  readonly address: Address;
  readonly type: SocketType | undefined;
  /** What a refused connection means. */
  readonly refused: "stale" | "free";
}

/** What a try to connect told. */
function outcomeOfConnect({ result, type, server }: Tried, asked: Question): Answer {
  const holders = server === undefined ? [] : [server];
  const wrong = asked.type !== undefined && asked.type !== type;
  switch (-result) {
    case errno.ECONNREFUSED:
      return { state: asked.refused, holders };
    case errno.ENOENT: // gone since
      return { state: "free", holders };
    case errno.EACCES:
      return { state: "forbidden", holders };
    case errno.EPERM: // a datagram socket that is connected to another socket
      return { state: wrong ? "wrong-type" : "bound", type, holders };
    default:
      if (result < 0 && result !== -errno.EAGAIN) {
        throw new UnixError("connect", result, { address: formatAddress(asked.address) });
      }
      return { state: wrong ? "wrong-type" : "listening", type, holders };
  }
}

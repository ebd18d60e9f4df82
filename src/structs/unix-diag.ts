// unix_diag: the question "tell me all Unix sockets" and the kernel's answer (sock_diag(7)). The
// decoder never reads past what it is given, never trusts a length, and always ends.

import {
  attribute,
  netlink,
  nlattr,
  nlmsgerr,
  nlmsghdr,
  show,
  sockDiag,
  state,
  unixDiagMsg,
  unixDiagReq,
  unixDiagRqlen,
  unixDiagVfs,
} from "../../native/netlink.ts";
import { sockaddrUn, socket } from "../../native/socket.ts";
import { typeName } from "../base/socket-type.ts";
import { statDevice } from "./device.ts";
import { type Address, decodeSockaddr } from "./sockaddr-un.ts";

/** A file as `stat` has it: `st_dev`, and the low 32 bits of `st_ino`: the kernel tells no more. */
export interface SocketFile {
  /** `st_dev`. */
  readonly dev: number;
  /** The low 32 bits of `st_ino`. */
  readonly ino: number;
}

/** What the kernel says of one Unix socket. */
export interface UnixRecord {
  readonly type: "stream" | "datagram" | "seqpacket";
  /** A datagram socket is also "connected" once a peer has connected to it: look at `peer`. */
  readonly state: "listening" | "connected" | "unconnected";
  /** The socket's own inode, as in `socket:[4711]`. */
  readonly inode: number;
  /** The name it is bound to; accepted sockets have their listener's. */
  readonly name: Address | null;
  /** The file that bind made, wherever it is now; accepted sockets have their listener's. */
  readonly file: SocketFile | null;
  /** The inode of the socket at the other end; 0 if it is closed, or not accepted yet. */
  readonly peer: number | null;
  /** Bytes to be received; of a listener: connections to be accepted. Null if not told. */
  readonly receiveQueue: number | null;
  /** Bytes that the other side has to receive; of a listener: its backlog. Null if not told. */
  readonly sendQueue: number | null;
  /** What was shut down; null if not told. */
  readonly shutdown: "none" | "read" | "write" | "both" | null;
  /** The user that made it; null if the kernel does not say (before Linux 5.3). */
  readonly uid: number | null;
}

/** A word of netlink has two halves: the first is the lower one. */
const HALF_BITS = 16;
const LOW_HALF = 0xffff;

const align = (bytes: number): number => (bytes + 3) & ~3;

/** Bytes of the request. */
export const requestBytes = nlmsghdr.size + unixDiagReq.size;

const EVERYTHING =
  (show.UDIAG_SHOW_NAME ?? 0) |
  (show.UDIAG_SHOW_VFS ?? 0) |
  (show.UDIAG_SHOW_PEER ?? 0) |
  (show.UDIAG_SHOW_RQLEN ?? 0) |
  (show.UDIAG_SHOW_UID ?? 0);

const ANY = 0xffffffff;

/** Write the request for all Unix sockets of this network namespace at the start of `view`. */
export function encodeDumpRequest(view: DataView): void {
  const flags = (netlink.NLM_F_REQUEST ?? 0) | (netlink.NLM_F_DUMP ?? 0);
  view.setUint32(nlmsghdr.at.nlmsg_len, requestBytes, true);
  view.setUint16(nlmsghdr.at.nlmsg_type, sockDiag.SOCK_DIAG_BY_FAMILY ?? 0, true);
  view.setUint16(nlmsghdr.at.nlmsg_flags, flags, true);
  const body = nlmsghdr.size;
  view.setUint8(body + unixDiagReq.at.sdiag_family, socket.AF_UNIX);
  view.setUint32(body + unixDiagReq.at.udiag_states, ANY, true);
  view.setUint32(body + unixDiagReq.at.udiag_show, EVERYTHING, true);
  view.setUint32(body + unixDiagReq.at.udiag_cookie, ANY, true);
  view.setUint32(body + unixDiagReq.at.udiag_cookie + 4, ANY, true);
}

/** Paths by their bytes as Latin-1: accepted sockets have their listener's. */
type Paths = Map<string, Address>;

/**
 * Add the sockets in the first `length` bytes of `view` to `records`. The result: 1 when more is to
 * come, 0 at the end of the dump, a negative errno if the kernel refused. `paths`: those of earlier
 * parts of the same dump.
 */
export function decodeDump(
  view: DataView,
  length: number,
  records: UnixRecord[],
  paths: Paths = new Map(),
): number {
  const end = Math.min(length, view.byteLength);
  const source = sourceOf(view);
  let at = 0;
  while (at + nlmsghdr.size <= end) {
    const stated = view.getUint32(at + nlmsghdr.at.nlmsg_len, true);
    if (stated < nlmsghdr.size) break;
    const type = view.getUint16(at + nlmsghdr.at.nlmsg_type, true);
    const [from, to] = [at + nlmsghdr.size, Math.min(at + stated, end)];
    if (type === netlink.NLMSG_DONE) return errorOf(view, from, to);
    if (type === netlink.NLMSG_ERROR) return errorOf(view, from, to);
    if (type === sockDiag.SOCK_DIAG_BY_FAMILY) {
      const record = decodeRecord(source, from, to, paths);
      if (record !== null) records.push(record);
    }
    at += stated + 3 - ((stated + 3) % 4);
  }
  return 1;
}

/**
 * The same bytes as arrays: before code is compiled, reading one costs a fraction of a call of a
 * DataView. Netlink aligns all that it has to four bytes.
 */
interface Source {
  readonly bytes: Buffer;
  readonly words: Uint32Array;
}

function sourceOf({ buffer, byteOffset, byteLength }: DataView): Source {
  const bytes = Buffer.from(buffer as ArrayBuffer, byteOffset, byteLength);
  const aligned = byteOffset % 4 === 0 ? bytes : Uint8Array.from(bytes);
  return { bytes, words: new Uint32Array(aligned.buffer, aligned.byteOffset, byteLength >> 2) };
}

/** The errno of an NLMSG_ERROR; NLMSG_DONE has one at the same place. Never positive. */
function errorOf(view: DataView, from: number, to: number): number {
  const at = from + nlmsgerr.at.error;
  return at + 4 <= to ? Math.min(view.getInt32(at, true), 0) : 0;
}

const shutdowns = ["none", "read", "write", "both"] as const;

type Draft = { -readonly [K in keyof UnixRecord]: UnixRecord[K] };

function stateOf(number: number): UnixRecord["state"] {
  if (number === state.TCP_LISTEN) return "listening";
  return number === state.TCP_ESTABLISHED ? "connected" : "unconnected";
}

/**
 * Null for what is no Unix socket. One function with a loop: it runs once for each socket of the
 * machine, and a short program pays for each function that is compiled.
 */
function decodeRecord(
  { bytes, words }: Source,
  from: number,
  to: number,
  paths: Paths,
): UnixRecord | null {
  if (from + unixDiagMsg.size > to) return null;
  if (bytes[from + unixDiagMsg.at.udiag_family] !== socket.AF_UNIX) return null;
  const type = typeName(bytes[from + unixDiagMsg.at.udiag_type]!);
  if (type === null) return null;
  const record: Draft = {
    type,
    state: stateOf(bytes[from + unixDiagMsg.at.udiag_state]!),
    inode: words[(from + unixDiagMsg.at.udiag_ino) >> 2]!,
    name: null,
    file: null,
    peer: null,
    receiveQueue: null,
    sendQueue: null,
    shutdown: null,
    uid: null,
  };
  for (let at = from + unixDiagMsg.size; at + nlattr.size <= to; ) {
    const header = words[at >> 2]!; // nla_len, then nla_type
    const stated = header & LOW_HALF;
    if (stated < nlattr.size) break;
    const kind = header >>> HALF_BITS;
    const data = at + nlattr.size;
    const size = Math.min(at + stated, to) - data;
    if (kind === attribute.UNIX_DIAG_NAME && size > 0) {
      record.name = nameAt(bytes, data, data + size, paths);
    } else if (kind === attribute.UNIX_DIAG_VFS && size >= unixDiagVfs.size) {
      const dev = statDevice(words[(data + unixDiagVfs.at.udiag_vfs_dev) >> 2]!);
      record.file = { dev, ino: words[(data + unixDiagVfs.at.udiag_vfs_ino) >> 2]! };
    } else if (kind === attribute.UNIX_DIAG_PEER && size >= 4) {
      record.peer = words[data >> 2]!;
    } else if (kind === attribute.UNIX_DIAG_RQLEN && size >= unixDiagRqlen.size) {
      record.receiveQueue = words[(data + unixDiagRqlen.at.udiag_rqueue) >> 2]!;
      record.sendQueue = words[(data + unixDiagRqlen.at.udiag_wqueue) >> 2]!;
    } else if (kind === attribute.UNIX_DIAG_SHUTDOWN && size >= 1) {
      record.shutdown = shutdowns[bytes[data]! & 3]!;
    } else if (kind === attribute.UNIX_DIAG_UID && size >= 4) {
      record.uid = words[data >> 2]!;
    }
    at += align(stated);
  }
  return record;
}

/** An address whose family is not there: decoded as if the bytes before it were that. */
function nameAt(bytes: Buffer, from: number, to: number, paths: Paths): Address {
  const key = bytes.toString("latin1", from, to);
  const known = paths.get(key);
  if (known !== undefined) return known;
  const length = to - from + sockaddrUn.at.sun_path;
  const start = bytes.byteOffset + from - sockaddrUn.at.sun_path;
  const name = decodeSockaddr(new Uint8Array(bytes.buffer, start, length), length);
  // a text cannot be changed by who gets it; bytes can
  if (name.kind === "path" && typeof name.path === "string") paths.set(key, name);
  return name;
}

/** Whether that socket was bound to that file; only the inode's low 32 bits can be compared. */
export function isBoundTo({ file }: UnixRecord, { dev, ino }: SocketFile): boolean {
  return file !== null && file.dev === dev && file.ino === ino >>> 0;
}

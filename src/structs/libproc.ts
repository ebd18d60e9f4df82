// What macOS's libproc fills in: bytes → values.

import {
  processStatus,
  procFdInfo,
  procInfo,
  procShortInfo,
  socketFdInfo,
  socketKind,
} from "../../native/libproc.ts";
import { option } from "../../native/socket.ts";
import { type Address, decodeSockaddr } from "./sockaddr-un.ts";

/** What any user may know of a process. */
export interface ShortInfo {
  readonly pid: number;
  readonly ppid: number;
  readonly uid: number;
  readonly gid: number;
  /** At most 15 bytes. */
  readonly command: string;
  /** It has ended, and its parent has not waited for it (a zombie). */
  readonly zombie: boolean;
}

export const shortInfoBytes = procShortInfo.size;

export function decodeShortInfo(view: DataView): ShortInfo {
  const { at, bytes } = procShortInfo;
  const number = (offset: number): number => view.getUint32(offset, true);
  const name = new Uint8Array(view.buffer, view.byteOffset + at.pbsi_comm, bytes.pbsi_comm);
  const end = name.indexOf(0);
  return {
    pid: number(at.pbsi_pid),
    ppid: number(at.pbsi_ppid),
    uid: number(at.pbsi_uid),
    gid: number(at.pbsi_gid),
    command: new TextDecoder().decode(end < 0 ? name : name.subarray(0, end)),
    zombie: number(at.pbsi_status) === processStatus.SZOMB,
  };
}

export const fdInfoBytes = procFdInfo.size;

/** The numbers of the descriptors that are sockets, from `bytes` bytes. */
export function decodeSocketFds(view: DataView, bytes: number): number[] {
  const { at, size } = procFdInfo;
  const found: number[] = [];
  for (let from = 0; from + size <= bytes; from += size) {
    const kind = view.getUint32(from + at.proc_fdtype, true);
    if (kind === procInfo.PROX_FDTYPE_SOCKET) found.push(view.getInt32(from + at.proc_fd, true));
  }
  return found;
}

/** A Unix socket of some process. */
export interface UnixSocketFd {
  /** SOCK_…. */
  readonly type: number;
  readonly listening: boolean;
  readonly connected: boolean;
  readonly address: Address;
}

export const socketInfoBytes = socketFdInfo.size;

/** Null for a socket of another family. */
export function decodeSocketInfo(view: DataView): UnixSocketFd | null {
  const { at, bytes } = socketFdInfo;
  if (view.getInt32(at["psi.soi_kind"], true) !== socketKind.SOCKINFO_UN) return null;
  const from = at["psi.soi_proto.pri_un.unsi_addr"];
  const name = new Uint8Array(
    view.buffer,
    view.byteOffset + from,
    bytes["psi.soi_proto.pri_un.unsi_addr"],
  );
  const length = name[0]!; // sun_len; 0: it is not bound
  return {
    type: view.getInt32(at["psi.soi_type"], true),
    listening: (view.getInt16(at["psi.soi_options"], true) & option.SO_ACCEPTCONN) !== 0,
    connected: view.getBigUint64(at["psi.soi_proto.pri_un.unsi_conn_so"], true) !== 0n,
    address: length === 0 ? { kind: "unnamed" } : decodeSockaddr(name, length),
  };
}

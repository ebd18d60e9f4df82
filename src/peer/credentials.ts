import { errno } from "../../native/errno.ts";
import { local, option } from "../../native/socket.ts";
import { check, UnixError, UnsupportedError } from "../base/errors.ts";
import { Fd, type FdLike, fdNumber } from "../fd/fd.ts";
import {
  type AuditToken,
  auditTokenBytes,
  type Credentials,
  decodeAuditToken,
  decodeUcred,
  decodeXucred,
  securityLabel,
} from "../structs/credentials.ts";
import { Memory } from "../syscalls/memory.ts";
import { getOption, getOptionBytes } from "../syscalls/socket.ts";
import { knownGid, knownIds } from "../users/known-ids.ts";
import { whoseEnd } from "./stand-ins.ts";

const NGROUPS_MAX = 65_536;
const LABEL_ROOM = 4096;
const small = new Memory(128);

/**
 * The process that called connect, or for the connecting side the one that called listen: recorded
 * by the kernel at that moment, and true of that moment. The process may since have changed its
 * user, passed the descriptor on, or died. On macOS that holds for user and group; `pid` is the
 * process that used the peer's socket last.
 *
 * @throws UnixError ENODATA if the kernel recorded no process (an unconnected socket, any datagram
 *   socket that was not made by socketPair); ENOTSOCK, EBADF
 * @see unix(7), SO_PEERCRED
 */
export function peerCredentials(socket: FdLike): Credentials {
  const fd = whoseEnd(fdNumber(socket));
  if (option.SO_PEERCRED === null) return darwinCredentials(fd);
  check(getOptionBytes(fd, { which: option.SO_PEERCRED, room: small }), "getsockopt");
  const credentials = decodeUcred(small.view, 0);
  if (credentials === null) throw unknownPeer();
  return knownIds(credentials);
}

function unknownPeer(): UnixError {
  const hint =
    "the kernel recorded no process: not connected, or a datagram socket " +
    "(there, turn on passCredentials and look at each message)";
  return new UnixError("getsockopt", -errno.ENODATA, { hint });
}

/** macOS: user and groups from xucred, the process from LOCAL_PEERPID. */
function darwinCredentials(fd: number): Credentials {
  const { uid, groups } = darwinUser(fd);
  return { pid: darwinPid(fd, local.LOCAL_PEERPID), uid, gid: groups[0] ?? 0 };
}

/** The process that used the peer's socket last, or on whose behalf it did (LOCAL_PEEREPID). */
function darwinPid(fd: number, which: number | null): number | null {
  const { SOL_LOCAL: level } = local;
  if (level === null || which === null) return null;
  return getOptionBytes(fd, { level, which, room: small }) < 0
    ? null
    : small.view.getInt32(0, true);
}

/** What macOS knows of the process that used the peer's socket last. */
export interface LastUser {
  readonly token: AuditToken;
  readonly effectivePid: number | null;
}

/**
 * macOS: the audit token of the process that now has the pid that used the peer's socket last: XNU
 * looks it up when it is asked (bsd/kern/uipc_usrreq.c, uipc_ctloutput). Null if that process has
 * ended, and on other systems.
 */
export function lastUser(socket: FdLike): LastUser | null {
  const fd = whoseEnd(fdNumber(socket));
  const { SOL_LOCAL: level, LOCAL_PEERTOKEN: which, LOCAL_PEEREPID: onBehalf } = local;
  if (level === null || which === null) return null;
  const got = getOptionBytes(fd, { level, which, room: small });
  if (got < auditTokenBytes) return null;
  const token = decodeAuditToken(small.view);
  return { token, effectivePid: darwinPid(fd, onBehalf) };
}

function darwinUser(fd: number): { uid: number; groups: number[] } {
  const { SOL_LOCAL: level, LOCAL_PEERCRED: which } = local;
  if (level === null || which === null) {
    throw new UnsupportedError("peerCredentials", "no option for it on this system");
  }
  const said = getOptionBytes(fd, { level, which, room: small });
  // ENOTCONN of a stream, EINVAL of a datagram socket (uipc_usrreq.c, uipc_ctloutput)
  if (said === -errno.ENOTCONN || said === -errno.EINVAL) throw unknownPeer();
  check(said, "getsockopt");
  const user = decodeXucred(small.view);
  if (user === null) throw unknownPeer();
  return user;
}

/**
 * The supplementary groups of the peer when it called connect or listen; those that this user
 * namespace cannot name are left out. macOS records at most 16, its group among them.
 * @throws UnixError ENODATA; UnsupportedError if the system has no such option
 * @see unix(7), SO_PEERGROUPS (Linux 4.13)
 */
export function peerGroups(socket: FdLike): number[] {
  const fd = whoseEnd(fdNumber(socket));
  if (option.SO_PEERGROUPS === null) return darwinUser(fd).groups;
  const which = option.SO_PEERGROUPS;
  let room = small;
  let bytes = getOptionBytes(fd, { which, room });
  if (bytes === -errno.ERANGE) {
    room = new Memory(4 * NGROUPS_MAX);
    bytes = getOptionBytes(fd, { which, room });
  }
  if (bytes === -errno.ENODATA) throw unknownPeer();
  check(bytes, "getsockopt");
  const all = Array.from({ length: bytes / 4 }, (_, i) => room.view.getUint32(4 * i, true));
  return all.filter((gid) => knownGid(gid) !== null);
}

/**
 * A descriptor for the peer's process, which stays that process's even if its pid is used again.
 * Yours to close.
 * @throws UnixError ENODATA if the kernel recorded no process; ESRCH before Linux 6.16, if it has
 *   ended and was waited for
 * @throws UnsupportedError before Linux 6.5. Not on macOS: it has no pidfds.
 * @see unix(7), SO_PEERPIDFD; pidfd_open(2)
 */
export function peerPidfd(socket: FdLike): Fd {
  const fd = whoseEnd(fdNumber(socket));
  const got =
    option.SO_PEERPIDFD === null ? -errno.ENOPROTOOPT : getOption(fd, option.SO_PEERPIDFD);
  if (got === -errno.ENOPROTOOPT) {
    throw new UnsupportedError("peerPidfd", "SO_PEERPIDFD came with Linux 6.5");
  }
  if (got === -errno.ENODATA) throw unknownPeer();
  // facts: #pidfd-of-a-peer
  if (got === -errno.EINVAL || got === -errno.ESRCH) {
    const hint = "it has ended and was waited for: Linux has its pidfd all the same since 6.16";
    throw new UnixError("getsockopt", -errno.ESRCH, { hint });
  }
  return Fd.of(check(got, "getsockopt"), "peerPidfd", "ours");
}

/**
 * The peer's security label (SELinux context, AppArmor profile), null if no module sets one.
 *
 * @throws UnixError EBADF, ENOTSOCK
 * @see unix(7), SO_PEERSEC
 */
export function peerSecurity(socket: FdLike): string | null {
  const fd = whoseEnd(fdNumber(socket));
  if (option.SO_PEERSEC === null) return null;
  const room = new Memory(LABEL_ROOM);
  const bytes = getOptionBytes(fd, { which: option.SO_PEERSEC, room });
  if (bytes === -errno.ENOPROTOOPT) return null;
  check(bytes, "getsockopt");
  return securityLabel(room.bytes.subarray(0, bytes));
}

// struct ucred (Linux), struct xucred and audit_token_t (macOS): bytes ↔ values.

import { NO_ID } from "../../native/file.ts";
import { auditToken, auditTokenWord, ucred, xucred } from "../../native/socket.ts";

/**
 * Who is at the other end, by numbers.
 *
 * `pid` is null if the kernel cannot name the process: it lives outside this process's pid
 * namespace, or no process had asked for credentials when the message was sent.
 *
 * `uid` and `gid` are null if this user namespace has no name for them. The kernel then shows the
 * overflow id (65534), which can stand for any user, so it compares equal to none. In a namespace
 * with a partial map that number is always null.
 *
 * @see unix(7), SO_PEERCRED and SCM_CREDENTIALS; user_namespaces(7), "Unmapped user and group IDs"
 */
export interface Credentials {
  /** The process, in this pid namespace; null if it has no number there. */
  readonly pid: number | null;
  /** The effective user; null: none that this user namespace can name. */
  readonly uid: number | null;
  /** The effective group; null: none that this user namespace can name. */
  readonly gid: number | null;
}

/** What a ucred says, in the kernel's numbers: the overflow id is one of them. */
export interface RawCredentials {
  readonly pid: number | null;
  readonly uid: number;
  readonly gid: number;
}

const decoder = new TextDecoder();

/** A security label as text; some modules end theirs with a NUL. */
export const securityLabel = (bytes: Uint8Array): string =>
  decoder.decode(bytes).replace(/\0$/, "");

/** Bytes of a struct ucred. */
export const ucredBytes = ucred.size;

/**
 * Read a ucred at byte `at`; null if the kernel recorded no process, which it reports as 0, −1, −1
 * (facts: #nobody-recorded).
 */
export function decodeUcred(view: DataView, at: number): RawCredentials | null {
  const pid = view.getInt32(at + ucred.at.pid, true);
  const uid = view.getUint32(at + ucred.at.uid, true);
  const gid = view.getUint32(at + ucred.at.gid, true);
  if (uid === NO_ID && gid === NO_ID) return null;
  return { pid: pid > 0 ? pid : null, uid, gid };
}

/** Write a ucred at byte `at`. */
export function encodeUcred(
  view: DataView,
  at: number,
  { pid, uid, gid }: { pid: number; uid: number; gid: number },
): void {
  view.setInt32(at + ucred.at.pid, pid, true);
  view.setUint32(at + ucred.at.uid, uid, true);
  view.setUint32(at + ucred.at.gid, gid, true);
}

const XUCRED_VERSION = 0;

/** Read macOS's xucred: effective uid and all groups, the first being the gid. No pid in it. */
export function decodeXucred(view: DataView): { uid: number; groups: number[] } | null {
  const at = xucred.at;
  if (view.getUint32(at.cr_version, true) !== XUCRED_VERSION) return null;
  const max = xucred.bytes.cr_groups / 4;
  const count = Math.min(Math.max(view.getInt16(at.cr_ngroups, true), 0), max);
  const groups: number[] = [];
  for (let i = 0; i < count; i++) groups.push(view.getUint32(at.cr_groups + 4 * i, true));
  return { uid: view.getUint32(at.cr_uid, true), groups };
}

/** What macOS's audit token says of a process, and what else it was asked with. */
export interface AuditToken {
  /** The process. */
  readonly pid: number;
  /** Another number for each process that gets this pid, and after each exec. */
  readonly pidVersion: number;
  /** Its effective user. */
  readonly uid: number;
  /** Its effective group. */
  readonly gid: number;
}

/** @internal */
export const auditTokenBytes = auditToken.size;

/** Read an audit token. */
export function decodeAuditToken(view: DataView): AuditToken {
  const word = (which: keyof typeof auditTokenWord): number =>
    view.getUint32(auditToken.at.val + 4 * auditTokenWord[which], true);
  return {
    pid: word("pid"),
    pidVersion: word("pidVersion"),
    uid: word("euid"),
    gid: word("egid"),
  };
}

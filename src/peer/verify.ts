// The peer's process, looked at closely.

import { poll as events } from "../../native/poll.ts";
import { UnixError, UnsupportedError } from "../base/errors.ts";
import type { Fd, FdLike } from "../fd/fd.ts";
import { isRunning, type ProcessInfo, processInfo } from "../process/proc-info.ts";
import type { AuditToken, Credentials } from "../structs/credentials.ts";
import { poll } from "../syscalls/fd.ts";
import {
  type LastUser,
  lastUser,
  peerCredentials,
  peerGroups,
  peerPidfd,
  peerSecurity,
} from "./credentials.ts";

const GONE: ProcessInfo = { executable: null, command: null, arguments: null };

/** The peer as a process, with what /proc said of it while it was certainly the same process. */
export interface VerifiedPeer extends Credentials, Disposable {
  /** Supplementary groups; null if the system cannot tell. */
  readonly groups: readonly number[] | null;
  /**
   * The process. Closed with this object. Null if the kernel has no SO_PEERPIDFD; and, before Linux
   * 6.16, if the process has ended and was waited for.
   */
  readonly pidfd: Fd | null;
  /** What was read from /proc; each is null if it is not allowed or the process has gone. */
  readonly executable: string | null;
  /** Its name as the kernel keeps it, at most 15 bytes; the process chooses it. Null as above. */
  readonly command: string | null;
  /** Its command line, which the process can change. Null as above. */
  readonly arguments: readonly string[] | null;
  /** Its security label (SELinux, AppArmor, …). Null as above, or if there is none. */
  readonly security: string | null;
  /** False if the process had already ended. */
  readonly alive: boolean;
  /**
   * How far to trust `executable`, `command` and `arguments`. "peerpidfd": read while the very
   * process that connected was alive. "peercred": read by pid, which another process may have got
   * in the meantime. "peertoken" (macOS): read while the process that used the peer's socket last
   * was the same one (its pid's version was). It has the effective user that connected, and need
   * not be the process that did.
   */
  readonly source: "peerpidfd" | "peercred" | "peertoken";
  /**
   * macOS: the process that now has the pid that used the peer's socket last (LOCAL_PEERTOKEN). Its
   * `pidVersion` tells another process of that pid. Null if it has ended, and elsewhere.
   */
  readonly auditToken: AuditToken | null;
  /**
   * macOS: the process on whose behalf that one acts (LOCAL_PEEREPID), by its pid alone; mostly the
   * same. Null elsewhere.
   */
  readonly effectivePid: number | null;
  /** Close its pidfd; the rest is text and numbers. */
  close(): void;
}

/**
 * The peer, looked at closely: credentials, groups, pidfd, executable. What /proc says is read
 * first and believed only if the pidfd shows the process still alive afterwards.
 *
 * A program is not a person: the executable of a peer is a hint for people to read. Decide by uid.
 *
 * @throws UnixError ENODATA if the kernel recorded no process
 * @see unix(7), pidfd_open(2)
 */
export function verifyPeer(socket: FdLike): VerifiedPeer {
  const credentials = peerCredentials(socket);
  const groups = optional(() => peerGroups(socket));
  const security = peerSecurity(socket);
  const before = lastUser(socket);
  const found = pidfdOf(socket); // the last that can throw: nothing leaks
  const pidfd = found === "ended" ? null : found;
  const read = processInfo(credentials.pid);
  const alive =
    found === null
      ? read !== null && isRunning(credentials.pid) // facts: #zombies-look-alive
      : pidfd !== null && poll(pidfd.fd, events.POLLIN, 0) === 0;
  const after = before === null ? null : lastUser(socket);
  const sure = isSame(before, after) && before?.token.uid === credentials.uid;
  const close = (): void => pidfd?.close();
  return {
    ...credentials,
    groups,
    security,
    pidfd,
    ...((alive ? read : null) ?? GONE),
    alive,
    source: found !== null ? "peerpidfd" : sure ? "peertoken" : "peercred",
    auditToken: after?.token ?? null,
    effectivePid: after?.effectivePid ?? null,
    close,
    [Symbol.dispose]: close,
  };
}

const isSame = (one: LastUser | null, other: LastUser | null): boolean =>
  one !== null &&
  one.token.pid === other?.token.pid &&
  one.token.pidVersion === other.token.pidVersion;

/** The peer's process. "ended": it has no pidfd any more; null: the system has none. */
function pidfdOf(socket: FdLike): Fd | "ended" | null {
  try {
    return optional(() => peerPidfd(socket));
  } catch (error) {
    if (error instanceof UnixError && error.code === "ESRCH") return "ended";
    throw error;
  }
}

/** null if the system does not have it. */
function optional<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (error instanceof UnsupportedError) return null;
    throw error;
  }
}

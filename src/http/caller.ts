// Who is at the other end of an HTTP request: whom the kernel recorded when the connection was
// made, found again from whatever a framework hands to its handlers.

import { closedError } from "../base/errors.ts";
import { peerGroups } from "../peer/credentials.ts";
import type { VerifiedPeer } from "../peer/verify.ts";
import type { StreamSocket } from "../socket/stream.ts";

/**
 * Who connected: the process that called connect(2), as it was then. A connection can be handed on,
 * so who sends a request over it now may be another process, which that one trusts.
 */
export interface Caller {
  /** Its pid as this process sees it; null where the system does not say. It may be reused. */
  readonly pid: number | null;
  /** The effective user; null: one that this user namespace cannot name. */
  readonly uid: number | null;
  /** The effective group, likewise. */
  readonly gid: number | null;
  /**
   * Its supplementary groups, those of connect time too.
   * @throws UnixError ERR_CLOSED when the connection is closed and this was not asked before
   */
  groups(): readonly number[];
  /**
   * The process, looked at closely, and now: pidfd, executable. Close it.
   * @throws UnixError ERR_CLOSED when the connection is closed
   */
  peer(): VerifiedPeer;
}

/** On each stream that a server got from us. Not exported: nobody else can write it. */
const CALLER = Symbol("caller");

const issued = new WeakSet<object>();

/** The kernel's word, taken now. @throws UnixError where there is none */
export function callerFor(socket: StreamSocket): Caller {
  const { pid, uid, gid } = socket.peerCredentials();
  let known: readonly number[] | null = null;
  const caller: Caller = Object.freeze({
    pid,
    uid,
    gid,
    groups(): readonly number[] {
      if (known === null) {
        if (socket.closed) throw closedError("getsockopt");
        known = Object.freeze(peerGroups(socket));
      }
      return known;
    },
    peer: () => socket.peer(),
  });
  issued.add(caller);
  return caller;
}

/** From now on `callerOf` finds the caller on this stream. */
export function markCaller(stream: object, caller: Caller): void {
  Object.defineProperty(stream, CALLER, { value: caller });
}

function read(from: unknown, key: PropertyKey): unknown {
  if (typeof from !== "object" || from === null) return undefined;
  try {
    return (from as Record<PropertyKey, unknown>)[key];
  } catch {
    return undefined; // a getter that does not want to be asked now
  }
}

function marked(stream: unknown): Caller | undefined {
  const caller = read(stream, CALLER);
  return typeof caller === "object" && caller !== null && issued.has(caller)
    ? (caller as Caller)
    : undefined;
}

/** Who connected; undefined for what did not come through serveHttp. */
export function callerOf(of: unknown): Caller | undefined {
  return marked(of) ?? marked(read(of, "socket"));
}

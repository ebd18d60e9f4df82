// Admission: the one place where a callback decides which client may come in.

import type { Credentials } from "../structs/credentials.ts";
import { isOwnUid } from "../users/known-ids.ts";

/** Whether this peer may come in: `true` is yes, and nothing else is. It is not waited for. */
export type Allow = (peer: Credentials) => boolean;

/**
 * The same user, and no other, not even root. A user that this namespace cannot name is not the
 * same.
 */
export const sameUser: Allow = ({ uid }) => isOwnUid(uid);

export const everybody: Allow = () => true;

/** @throws TypeError for what cannot be called */
export function checkAllow(allow: unknown): Allow | undefined {
  if (allow === undefined || typeof allow === "function") return allow as Allow | undefined;
  throw new TypeError(`allow is a function, not ${allow === null ? "null" : typeof allow}`);
}

/**
 * Ask `allow`. Only `true` admits the client.
 *
 * @throws what `allow` throws; TypeError if it returns a promise. The client has to be refused on
 *   either, and the listener's caller is told
 */
export function admits(allow: Allow, peer: Credentials): boolean {
  const answer: unknown = allow(peer);
  if (answer === true) return true;
  if (isThenable(answer)) {
    answer.then(undefined, () => {}); // the caller gets one TypeError, and no unhandled rejection
    throw new TypeError("allow must return true or false, not a promise: it is not waited for");
  }
  return false;
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  const may = (typeof value === "object" && value !== null) || typeof value === "function";
  return may && typeof (value as { then?: unknown }).then === "function";
}

/** The rules by which a listener accepts, and how many of its connections are open. */
export class Rules {
  /** null: every client that the permissions of the socket's file admit. */
  readonly allow: Allow | null;
  /** Infinity: as many as come. */
  readonly maxConnections: number;
  /** Accepted, and not seen to be closed yet. */
  open = 0;
  /**
   * Look again, for connections whose end is not reported because other code has the descriptor.
   */
  readonly recount = new Set<() => void>();

  constructor(allow: Allow | null, maxConnections = Infinity) {
    this.allow = allow;
    this.maxConnections = maxConnections;
  }

  /** Connections that are open now. */
  count(): number {
    for (const look of this.recount) look();
    return this.open;
  }

  /** No more are admitted now. */
  get full(): boolean {
    return this.open >= this.maxConnections && this.count() >= this.maxConnections;
  }

  /** Whether every client is admitted: then Bun may accept in our place. */
  get none(): boolean {
    return this.allow === null && this.maxConnections === Infinity;
  }
}

// Who may come in: the one place where a callback decides about that.

import type { Credentials } from "../structs/credentials.ts";
import { isOwnUid } from "../users/known-ids.ts";

/** Whether this peer may come in: `true` is yes, and nothing else is. It is not waited for. */
export type Allow = (peer: Credentials) => boolean;

/** The same user, and nobody else, not even root. Who cannot be named is not the same. */
export const sameUser: Allow = ({ uid }) => isOwnUid(uid);

export const everybody: Allow = () => true;

/** @throws TypeError for what cannot be called */
export function checkAllow(allow: unknown): Allow | undefined {
  if (allow === undefined || typeof allow === "function") return allow as Allow | undefined;
  throw new TypeError(`allow is a function, not ${allow === null ? "null" : typeof allow}`);
}

/**
 * Ask `allow`. Only `true` lets somebody in.
 *
 * @throws what `allow` throws; TypeError where it returns a promise: who calls has to be refused on
 *   either, and whoever listens is told
 */
export function admits(allow: Allow, peer: Credentials): boolean {
  const answer: unknown = allow(peer);
  if (answer === true) return true;
  if (isThenable(answer)) {
    answer.then(undefined, () => {}); // it is told here, once
    throw new TypeError("allow has to return true or false, not a promise: nobody waits for it");
  }
  return false;
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  const may = (typeof value === "object" && value !== null) || typeof value === "function";
  return may && typeof (value as { then?: unknown }).then === "function";
}

/** The rules by which a listener accepts, and how many of its connections are open. */
export class Rules {
  /** null: everybody whom the socket's file lets in. */
  readonly allow: Allow | null;
  /** Infinity: as many as come. */
  readonly maxConnections: number;
  /** Accepted, and not closed yet as far as was noticed. */
  open = 0;
  /** Look again, where the end of a connection makes no noise: others have its descriptor. */
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

  /** No more may come now. */
  get full(): boolean {
    return this.open >= this.maxConnections && this.count() >= this.maxConnections;
  }

  /** Whether everybody may come: then somebody else may accept, too. */
  get none(): boolean {
    return this.allow === null && this.maxConnections === Infinity;
  }
}

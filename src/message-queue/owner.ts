// Whose queue it may be. Any user can take a queue's name, so a writer checks the queue's owner
// first, on the open descriptor.

import { errno } from "../../native/errno.ts";
import { NO_ID } from "../../native/file.ts";
import { integer } from "../base/checks.ts";
import { UnixError } from "../base/errors.ts";
import { knownUid } from "../users/known-ids.ts";

/** A user's id, or any user. */
export type QueueOwner = number | "anybody";

/** Which users may be at the other end. */
export interface QueueOwnerOptions {
  /**
   * The user (uid) to whom the other end's queue must belong; "anybody": any user. Another user's
   * is refused (EACCES) before anything is written into it. Default: this process's effective user.
   */
  readonly owner?: QueueOwner | undefined;
}

/** This process's user. */
export const ownUser = (): number => process.geteuid?.() ?? 0;

/** @throws TypeError, RangeError */
export function expectedOwner(owner: unknown): QueueOwner {
  if (owner === undefined) return ownUser();
  if (owner === "anybody") return owner;
  if (typeof owner !== "number") throw new TypeError('owner is a uid or "anybody"');
  return integer("owner", owner, { max: NO_ID - 1 });
}

/** @throws UnixError EACCES for a queue of a user who is not expected */
export function checkOwner(
  uid: number,
  expected: QueueOwner,
  { syscall, address }: { syscall: string; address: string },
): void {
  if (expected === "anybody" || knownUid(uid) === expected) return;
  const whose = `this queue belongs to uid ${uid}, not to uid ${expected}`;
  const hint = `${whose}; \`owner\` says whose it may be`;
  throw new UnixError(syscall, -errno.EACCES, { address, hint });
}

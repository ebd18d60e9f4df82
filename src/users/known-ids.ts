// Whom a uid or gid names. In a user namespace that does not map all ids the kernel shows every one
// that it has no name for as the same number, the overflow id (65534, usually "nobody"): unknown
// users would look alike, and like a process of ours that runs as 65534.

import { decodeIdMap } from "../structs/id-map.ts";
import { smallText } from "../syscalls/proc.ts";

const OVERFLOW = 65_534;
const NO_OVERFLOW = -1;

/** The number that may stand for anybody, of users or of groups. */
class Overflow {
  readonly #kind: "uid" | "gid";
  #known: number | null = null;

  constructor(kind: "uid" | "gid") {
    this.#kind = kind;
  }

  /** −1: there is none, each id has one meaning. */
  get id(): number {
    return this.#known ?? this.#read();
  }

  /**
   * A map is written once and then holds. A partial one may cover the overflow id itself: then that
   * number means a user of the namespace, and every user outside of it. So it is unknown unless the
   * map is whole.
   */
  #read(): number {
    const map = smallText(`/proc/self/${this.#kind}_map`);
    if (map === null) return NO_OVERFLOW; // no user namespaces, no overflow: macOS
    const extent = decodeIdMap(map);
    const text = smallText(`/proc/sys/kernel/overflow${this.#kind}`);
    const id =
      extent === "all" ? NO_OVERFLOW : text === null ? OVERFLOW : Number.parseInt(text, 10);
    if (extent !== "none") this.#known = id;
    return id;
  }
}

const overflowUid = new Overflow("uid");
const overflowGid = new Overflow("gid");

/** The uid; null if it is what the kernel says of users that this user namespace cannot name. */
export const knownUid = (uid: number): number | null => (uid === overflowUid.id ? null : uid);

/** The gid, likewise. */
export const knownGid = (gid: number): number | null => (gid === overflowGid.id ? null : gid);

/** Whether that is the user of this process, and certainly so: an unknown one never is. */
export const isOwnUid = (uid: number | null): boolean =>
  uid !== null && knownUid(uid) !== null && uid === process.geteuid?.();

/** What a kernel structure says of users and groups, with what cannot be known as null. */
export const knownIds = <T extends { uid: number | null; gid: number | null }>(ids: T): T => {
  const { uid, gid } = ids;
  const user = uid === null ? null : knownUid(uid);
  const group = gid === null ? null : knownGid(gid);
  return user === uid && group === gid ? ids : { ...ids, uid: user, gid: group };
};

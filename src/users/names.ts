// Names of users and groups, and who is in a group.

import { integer } from "../base/checks.ts";
import { UnixError } from "../base/errors.ts";
import { getgrgid, getgrnam, getpwnam, getpwuid } from "../syscalls/users.ts";

/** (uid_t)-1 is no id. */
const MAX_ID = 2 ** 32 - 2;

type Text = string | null | number;
type Entry = { readonly id: number } | null | number;

function nameBy(syscall: string, look: (id: number) => Text, id: unknown): string | null {
  if (id === null) return null;
  const found = look(integer("id", id, { max: MAX_ID }));
  if (typeof found === "number") throw new UnixError(syscall, found);
  return found;
}

function idBy(syscall: string, look: (name: string) => Entry, name: unknown): number | null {
  if (typeof name !== "string") throw new TypeError(`a name is a string, not ${typeof name}`);
  if (name.includes("\0")) throw new TypeError("a name has no NUL in it");
  const found = look(name);
  if (typeof found === "number") throw new UnixError(syscall, found);
  return found === null ? null : found.id;
}

/**
 * What the user with this uid is called; null: no user has it here, or `uid` is null, as in
 * `Credentials` of users that this user namespace cannot name.
 *
 * libc looks it up, at each call, wherever nsswitch.conf says: files, systemd, LDAP. So it is right
 * for all users that this machine knows, and may have to ask over a network; the thread waits.
 *
 * @throws TypeError, RangeError; UnixError EIO, EMFILE, … if the search itself failed
 * @see getpwuid_r(3), nsswitch.conf(5)
 */
export const userName = (uid: number | null): string | null => nameBy("getpwuid_r", getpwuid, uid);

/**
 * The uid of the user of this name; null: there is none. Looked up as {@link userName} does it.
 * @throws TypeError; UnixError EIO, EMFILE, … if the search itself failed
 * @see getpwnam_r(3)
 */
export const userId = (name: string): number | null => idBy("getpwnam_r", getpwnam, name);

/**
 * What the group with this gid is called; null: none has it here, or it is null. Looked up as
 * {@link userName} does it.
 * @throws TypeError, RangeError; UnixError EIO, EMFILE, … if the search itself failed
 * @see getgrgid_r(3)
 */
export const groupName = (gid: number | null): string | null => nameBy("getgrgid_r", getgrgid, gid);

/**
 * The gid of the group of this name; null: there is none. Looked up as {@link userName} does it, so
 * do it once, and compare numbers for each request.
 * @throws TypeError; UnixError EIO, EMFILE, … if the search itself failed
 * @see getgrnam_r(3)
 */
export const groupId = (name: string): number | null => idBy("getgrnam_r", getgrnam, name);

/** Whose groups can be asked: a `Caller` has them, and what `peer()` answers. */
export interface GroupMember {
  /** The effective group. */
  readonly gid: number | null;
  /** The supplementary groups. */
  readonly groups: (() => readonly number[]) | readonly number[] | null;
}

/**
 * Whether a process was in a group, by its effective gid or by a supplementary one, when it
 * connected. A group that does not exist has no members. What the kernel recorded is asked, not the
 * list of members in /etc/group: a user who was added to it has to log in anew.
 *
 * @param group a gid, or a name, which is looked up at each call
 * @throws TypeError, RangeError; UnixError ERR_CLOSED when the groups can no longer be asked
 */
export function isInGroup(who: GroupMember, group: string | number): boolean {
  const gid = typeof group === "string" ? groupId(group) : integer("group", group, { max: MAX_ID });
  if (gid === null) return false;
  if (who.gid === gid) return true;
  const groups = typeof who.groups === "function" ? who.groups() : who.groups;
  return groups?.includes(gid) === true;
}

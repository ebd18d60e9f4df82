// The names of users and groups, as libc finds them: in files, in LDAP, wherever nsswitch.conf
// says. These calls return their errno, and leave the variable alone.

import { errno } from "../../native/errno.ts";
import {
  type EntryLayout,
  groupEntry,
  idOf,
  nameAddressOf,
  textAt,
  userEntry,
} from "../structs/user-entry.ts";
import { type Libc, libc } from "./libc.ts";
import { cells, cString, Memory } from "./memory.ts";

/** Enough for almost all; a group with thousands of members takes more. */
const FIRST_BYTES = 1024;
const MAX_BYTES = 16 * 1024 * 1024;

/** How some systems say that there is none of that name or number. */
const absent: readonly number[] = [errno.ENOENT, errno.ESRCH];

interface Found {
  readonly name: string;
  readonly id: number;
}

/** Where libc is to write: the entry, its text, and whether it found one. */
type Look = (entry: number, text: number, bytes: number, found: number) => number;

/** An entry; null: there is none; or a negative errno. */
function find(layout: EntryLayout, look: Look): Found | null | number {
  const entry = new Memory(layout.bytes);
  for (let bytes = FIRST_BYTES; ; bytes *= 2) {
    const text = new Memory(bytes);
    cells.view.setBigUint64(0, 0n, true);
    const failed = look(entry.address, text.address, bytes, cells.address);
    if (failed === errno.EINTR) bytes /= 2;
    else if (failed !== errno.ERANGE || bytes >= MAX_BYTES) {
      if (failed !== 0) return absent.includes(failed) ? null : -failed;
      if (cells.view.getBigUint64(0, true) === 0n) return null;
      const name = textAt(text.bytes, nameAddressOf(entry.view, layout) - text.address);
      return name === null ? -errno.EIO : { name, id: idOf(entry.view, layout) };
    }
  }
}

type ById = "getpwuid_r" | "getgrgid_r";
type ByName = "getpwnam_r" | "getgrnam_r";

function byId(layout: EntryLayout, call: Libc[ById], id: number): string | null | number {
  const found = find(layout, (...rest) => call(id, ...rest));
  return found === null || typeof found === "number" ? found : found.name;
}

/** The id beside the name, so that a negative errno is no id. */
function byName(layout: EntryLayout, call: Libc[ByName], name: string): Found | null | number {
  const bytes = cString(name);
  return find(layout, (...rest) => call(bytes.address, ...rest));
}

export const getpwuid = (uid: number): string | null | number =>
  byId(userEntry, libc.getpwuid_r, uid);

export const getgrgid = (gid: number): string | null | number =>
  byId(groupEntry, libc.getgrgid_r, gid);

export const getpwnam = (name: string): Found | null | number =>
  byName(userEntry, libc.getpwnam_r, name);

export const getgrnam = (name: string): Found | null | number =>
  byName(groupEntry, libc.getgrnam_r, name);

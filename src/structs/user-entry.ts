// struct passwd and struct group: which name, and which number.

import { group, passwd } from "../../native/users.ts";

/** Where the two stand in an entry, and how long one is. */
export interface EntryLayout {
  readonly bytes: number;
  /** A pointer. */
  readonly name: number;
  /** Of 32 bits. */
  readonly id: number;
}

/** A user's. */
export const userEntry: EntryLayout = {
  bytes: passwd.size,
  name: passwd.at.pw_name,
  id: passwd.at.pw_uid,
};

/** A group's. */
export const groupEntry: EntryLayout = {
  bytes: group.size,
  name: group.at.gr_name,
  id: group.at.gr_gid,
};

/** The number in an entry. */
export const idOf = (view: DataView, { id }: EntryLayout): number => view.getUint32(id, true);

/** The address of the name in an entry. */
export const nameAddressOf = (view: DataView, { name }: EntryLayout): number =>
  Number(view.getBigUint64(name, true));

const text = new TextDecoder();

/** The text that begins at `from` and ends before a NUL; null: it does not end in there. */
export function textAt(bytes: Uint8Array, from: number): string | null {
  const end = from < 0 || from >= bytes.length ? -1 : bytes.indexOf(0, from);
  return end < 0 ? null : text.decode(bytes.subarray(from, end));
}

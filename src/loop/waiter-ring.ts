// A queue without an object of its own: each entry points to the next, and the last to the first.
// The owner of a queue holds its last entry, or null. There is one for each direction of each
// descriptor that waits, and most hold one entry or none.

/** Something that can stand in one ring at a time. */
export interface Link<T> {
  /** The one behind it, or the first; null while it stands in no ring. Only this file writes it. */
  next: T | null;
}

/** Put `entry` behind all others: the new last one. */
export function append<T extends Link<T>>(last: T | null, entry: T): T {
  prepend(last, entry);
  return entry;
}

/** Put `entry` before all others: the last one. */
export function prepend<T extends Link<T>>(last: T | null, entry: T): T {
  if (last === null) {
    entry.next = entry;
    return entry;
  }
  entry.next = last.next;
  last.next = entry;
  return last;
}

/** Take the first one out: the last one, null if that was it. */
export function withoutFirst<T extends Link<T>>(last: T): T | null {
  const first = last.next!;
  last.next = first.next;
  first.next = null;
  return first === last ? null : last;
}

/** Take `entry` out of the ring it stands in, if that is this one: the last one. */
export function without<T extends Link<T>>(last: T, entry: T): T | null {
  let before = last;
  while (before.next !== entry) {
    before = before.next!;
    if (before === last) return last;
  }
  if (before === entry) return withoutFirst(last);
  before.next = entry.next;
  entry.next = null;
  return entry === last ? before : last;
}

/** All of a ring, the first one first. */
export function entries<T extends Link<T>>(last: T | null): T[] {
  const all: T[] = [];
  for (let at = last; at !== null; at = at.next === last ? null : at.next) all.push(at.next!);
  return all;
}

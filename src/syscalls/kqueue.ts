// kqueue(2) and kevent(2), macOS's.

import { action, filter, kevent, note } from "../../native/kqueue.ts";
import { timespec } from "../../native/time.ts";
import { close, setCloseOnExec } from "./fd.ts";
import { libc } from "./libc.ts";
import { Memory } from "./memory.ts";
import { INTERRUPTED, result } from "./result.ts";

/** A kqueue, close-on-exec; or a negative errno. */
export function kqueueCreate(): number {
  const made = result(libc.kqueue());
  if (made < 0) return made;
  const set = setCloseOnExec(made, true);
  if (set < 0) close(made);
  return set < 0 ? set : made;
}

/** Zero if there is no kqueue: nothing here is called then. */
const { at, size } = kevent;
const change = new Memory(Math.max(size, 1));

export interface Change {
  readonly ident: number;
  readonly filter: number;
  readonly flags: number;
  /** What the filter is to tell of, if it tells of several things. */
  readonly fflags?: number;
  /** What its events bring back. */
  readonly tag?: number;
}

/** Make one change; the error is that of the change. */
export function keventChange(kq: number, { ident, filter, flags, fflags = 0, tag = 0 }: Change) {
  const { view, address } = change;
  view.setUint32(at.ident, ident, true);
  view.setUint32(at.ident + 4, 0, true);
  view.setInt16(at.filter, filter, true);
  view.setUint16(at.flags, flags, true);
  view.setUint32(at.fflags, fflags, true);
  view.setBigUint64(at.data, 0n, true);
  view.setInt32(at.udata, tag, true);
  view.setInt32(at.udata + 4, 0, true);
  let done: number;
  do done = result(libc.kevent(kq, address, 1, null, 0, null));
  while (done === INTERRUPTED);
  return done;
}

const duration = new Memory(timespec.size);
const words = size >> 2;

/** Room for the events of one kevent call. */
export class KqueueEvents {
  readonly #capacity: number;
  readonly #memory: Memory;

  constructor(capacity: number) {
    this.#capacity = capacity;
    this.#memory = new Memory(capacity * size);
  }

  /**
   * How many are ready, after this thread has slept for at most that many nanoseconds (fewer than
   * 2³¹). An interrupted call has found nothing.
   */
  wait(kq: number, nanoseconds: number): number {
    duration.words[timespec.at.tv_nsec >> 2] = nanoseconds;
    const { address } = this.#memory;
    const found = result(libc.kevent(kq, null, 0, address, this.#capacity, duration.address));
    return found === INTERRUPTED ? 0 : found;
  }

  ident(index: number): number {
    return this.#memory.words[index * words + (at.ident >> 2)]!;
  }
  tag(index: number): number {
    return this.#memory.words[index * words + (at.udata >> 2)]!;
  }
  filter(index: number): number {
    return this.#memory.view.getInt16(index * size + at.filter, true);
  }
  flags(index: number): number {
    return this.#memory.view.getUint16(index * size + at.flags, true);
  }
  fflags(index: number): number {
    return this.#memory.view.getUint32(index * size + at.fflags, true);
  }
  /** The lower half. */
  data(index: number): number {
    return this.#memory.words[index * words + (at.data >> 2)]!;
  }
}

/** True if this system has it. */
export const hasKqueue = filter.EVFILT_READ !== null;

/** The numbers, for when `hasKqueue`. */
export const kq = {
  read: filter.EVFILT_READ ?? 0,
  write: filter.EVFILT_WRITE ?? 0,
  process: filter.EVFILT_PROC ?? 0,
  exit: note.NOTE_EXIT ?? 0,
  exitStatus: note.NOTE_EXITSTATUS ?? 0,
  statusMask: note.NOTE_PDATAMASK ?? 0,
  add: action.EV_ADD ?? 0,
  delete: action.EV_DELETE ?? 0,
  clear: action.EV_CLEAR ?? 0,
  error: action.EV_ERROR ?? 0,
  end: action.EV_EOF ?? 0,
} as const;

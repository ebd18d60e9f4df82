// macOS: a kqueue that reports the end of one process. It stands for that process as a pidfd does
// on Linux, for XNU ties it to the process and not to its number (facts: #kqueue-and-processes).
// Unlike a pidfd it cannot be sent, and no call takes it for the process.

import { errno } from "../../native/errno.ts";
import { poll as events } from "../../native/poll.ts";
import { decodeWaitStatus, type Ending } from "../structs/process.ts";
import { close, poll } from "../syscalls/fd.ts";
import { KqueueEvents, keventChange, kq, kqueueCreate } from "../syscalls/kqueue.ts";
import { shortInfo } from "../syscalls/libproc.ts";

/** A kqueue of our own that watches `pid`, readable once it has ended; or a negative errno. */
export function openExitQueue(pid: number): number {
  const queue = kqueueCreate();
  if (queue < 0) return queue;
  const failed = watchExit(queue, pid);
  if (failed === 0) return queue;
  close(queue);
  return failed;
}

function watchExit(queue: number, pid: number): number {
  const change = { ident: pid, filter: kq.process, flags: kq.add };
  let asked = keventChange(queue, { ...change, fflags: kq.exit | kq.exitStatus });
  // the kernel tells how it ends to its parent, and to processes that may signal it
  if (asked === -errno.EACCES) asked = keventChange(queue, { ...change, fflags: kq.exit });
  if (asked < 0) return asked;
  // a process that ended during this call is not reported any more
  return shortInfo(pid) === null && poll(queue, events.POLLIN, 0) === 0 ? -errno.ESRCH : 0;
}

const found = new KqueueEvents(1);

/** What such a kqueue has been told: undefined: nothing yet; null: it has ended, not how. */
export function takeExit(queue: number): Ending | null | undefined {
  if (found.wait(queue, 0) <= 0) return undefined;
  const told = (found.fflags(0) & kq.exitStatus) !== 0;
  return told ? decodeWaitStatus(found.data(0) & kq.statusMask) : null;
}

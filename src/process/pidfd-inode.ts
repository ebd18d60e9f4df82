// The number that a process has for ever, unlike its pid: the inode of its pidfd.

import { fstatSync, statfsSync } from "node:fs";
import { pidfs } from "../../native/process.ts";
import { whyFatal } from "../syscalls/asked-calls.ts";
import { close } from "../syscalls/fd.ts";
import { pidfdOpen } from "../syscalls/process.ts";

/**
 * null before Linux 6.9, where all pidfds share one inode (facts: #pidfds-by-version).
 * @see pidfd_open(2)
 */
export function pidfdInode(pidfd: number): bigint | null {
  try {
    if (statfsSync(`/proc/self/fd/${pidfd}`).type !== pidfs.PID_FS_MAGIC) return null;
    return fstatSync(pidfd, { bigint: true }).ino;
  } catch {
    return null; // no /proc
  }
}

/** The same of this process. */
export function ownPidfdInode(): bigint | null {
  const pidfd = whyFatal("pidfd_open") === null ? pidfdOpen(process.pid) : -1;
  if (pidfd < 0) return null;
  try {
    return pidfdInode(pidfd);
  } finally {
    close(pidfd);
  }
}

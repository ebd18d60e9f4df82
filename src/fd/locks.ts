// Who has locked a file, as /proc/locks says it.

import { readFileSync } from "node:fs";
import { decodeLocks, type FileLock } from "../structs/proc-locks.ts";

/** All locks that this process can see; none without /proc. */
export function fileLocks(): FileLock[] {
  try {
    return decodeLocks(readFileSync("/proc/locks", "latin1"));
  } catch {
    return []; // no /proc, or not for this process
  }
}

// Who has locked a file, as /proc/locks says it.

import { readFileSync } from "node:fs";
import { system } from "../../native/platform.ts";
import { decodeLocks, type FileLock } from "../structs/proc-locks.ts";

/** All locks that this process can see; null without /proc. */
export function fileLocks(): FileLock[] | null {
  if (system !== "linux") return null;
  try {
    return decodeLocks(readFileSync("/proc/locks", "latin1"));
  } catch {
    return null; // not mounted, or not for this process
  }
}

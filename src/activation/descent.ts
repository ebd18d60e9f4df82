// Whether a process descends from another.

import { readFileSync } from "node:fs";

/** Processes are rarely deeper below their service. */
const MAX_DEPTH = 64;

/** The parent's pid; 0: gone, or not to be seen. The name before it may have anything in it. */
function parentOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
  } catch {
    return 0;
  }
}

/** Whether `pid` is a child of `ancestor`, or a child's child, at this moment. */
export function descendsFrom(pid: number, ancestor: number): boolean {
  let at = pid;
  for (let depth = 0; depth < MAX_DEPTH && at > 1; depth++) {
    at = parentOf(at);
    if (at === ancestor) return true;
  }
  return false;
}

// What /proc says of a process; on macOS, libproc.

import { readFileSync, readlinkSync } from "node:fs";
import { executableOf, hasLibproc, shortInfo } from "../syscalls/libproc.ts";

/** What is known of a process; null if this process may not read it. */
export interface ProcessInfo {
  readonly executable: string | null;
  readonly command: string | null;
  readonly arguments: readonly string[] | null;
}

/** What /proc says of a process; null if there is no such process. */
export function processInfo(pid: number | null): ProcessInfo | null {
  if (pid === null) return null;
  if (hasLibproc) {
    const told = shortInfo(pid);
    return told && { command: told.command, executable: executableOf(pid), arguments: null };
  }
  const read = <T>(get: () => T): T | null => {
    try {
      return get();
    } catch {
      return null; // ended, or this process may not read it
    }
  };
  const command = read(() => readFileSync(`/proc/${pid}/comm`, "utf8").trimEnd());
  if (command === null) return null;
  return {
    command,
    executable: read(() => readlinkSync(`/proc/${pid}/exe`)),
    arguments: read(() =>
      readFileSync(`/proc/${pid}/cmdline`, "utf8").replace(/\0$/, "").split("\0"),
    ),
  };
}

/** Its state, a letter of proc(5): "Z" is a zombie; null if there is no such process. */
export function processState(pid: number | null): string | null {
  if (pid === null) return null;
  if (hasLibproc) return shortInfo(pid) === null ? null : "R"; // a zombie is none to it
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return stat.slice(stat.lastIndexOf(")") + 1).trim()[0] ?? null;
  } catch {
    return null; // ended, or this process may not read it
  }
}

/** Those of processes that have ended. */
const ENDED: ReadonlySet<string> = new Set(["Z", "X", "x"]);

/** Whether a process has this pid and has not ended: of a zombie /proc shows all but its state. */
export function isRunning(pid: number | null): boolean {
  const state = processState(pid);
  return state !== null && !ENDED.has(state);
}

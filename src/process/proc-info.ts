// What /proc says of a process.

import { readFileSync, readlinkSync } from "node:fs";

/** What can be known of a process; null where this one may not look. */
export interface ProcessInfo {
  readonly executable: string | null;
  readonly command: string | null;
  readonly arguments: readonly string[] | null;
}

/** What /proc says of a process; null where there is no such process. */
export function processInfo(pid: number | null): ProcessInfo | null {
  if (pid === null) return null;
  const read = <T>(get: () => T): T | null => {
    try {
      return get();
    } catch {
      return null; // gone, or not ours to look at
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

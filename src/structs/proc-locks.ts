// The lines of /proc/locks (proc_locks(5)), text → values.

import type { deviceParts } from "./device.ts";

/** One lock that some process has. */
export interface FileLock {
  /** "FLOCK": of an open file (flock(2)). "POSIX": of a process (F_SETLK). "OFDLCK", "LEASE", … */
  readonly kind: string;
  /** It lets others have such a lock, too: "READ". */
  readonly shared: boolean;
  /** Whose it is, in this pid namespace; 0 or −1 if the kernel does not say. */
  readonly pid: number;
  /** Of the file. */
  readonly device: ReturnType<typeof deviceParts>;
  /** Of the file, in decimal digits: it has 64 bits. */
  readonly inode: string;
}

/** `1: POSIX  ADVISORY  WRITE 1234 08:01:5678 0 EOF`; a waiter's line has "->" after "1:". */
const LINE = /^\d+:\s+(\S+)\s+\S+\s+(\S+)\s+(-?\d+)\s+([\da-f]+):([\da-f]+):(\d+)\s/i;

export function decodeLocks(text: string): FileLock[] {
  return text.split("\n").flatMap((line) => {
    const found = LINE.exec(line);
    if (found === null) return [];
    const [, kind, access, pid, major, minor, inode] = found as unknown as [string, ...string[]];
    const device = { major: Number.parseInt(major!, 16), minor: Number.parseInt(minor!, 16) };
    return [{ kind: kind!, shared: access === "READ", pid: Number(pid), device, inode: inode! }];
  });
}

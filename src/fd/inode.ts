// Which file is behind a descriptor's number.

import { fstatSync } from "node:fs";

/** The inode's number; −1 if nothing is open under that number. */
export function inodeOf(fd: number): number {
  try {
    return fstatSync(fd).ino;
  } catch {
    return -1;
  }
}

// Which processes have a socket open, as /proc tells.

import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** A process that has a socket open, and under which number. */
export interface SocketHolder {
  /** The process, in this pid namespace. */
  readonly pid: number;
  /** The process's name (comm, at most 15 bytes); "" if it ended meanwhile. */
  readonly command: string;
  /** Its number there; null if the kernel only told who called `listen`. */
  readonly fd: number | null;
}

/**
 * The processes that have the sockets of these inodes open, from one walk through /proc. Of other
 * users' processes only root sees anything; a socket that is on its way in a message, or waits to
 * be accepted, has no holder. An inode without holders is not in the map.
 */
export function holdersOf(inodes: Iterable<number>): Map<number, SocketHolder[]> {
  const holders = new Map<number, SocketHolder[]>();
  const wanted = new Map<string, number>();
  for (const inode of inodes) wanted.set(`socket:[${inode}]`, inode);
  if (wanted.size === 0) return holders;
  for (const pid of list("/proc")) {
    if (!/^\d+$/.test(pid)) continue;
    let command: string | undefined;
    for (const [fd, inode] of socketsOf(pid, wanted)) {
      command ??= commandOf(pid);
      const known = holders.get(inode);
      const holder: SocketHolder = { pid: Number(pid), command, fd };
      if (known === undefined) holders.set(inode, [holder]);
      else known.push(holder);
    }
  }
  return holders;
}

/** Not readable: ended meanwhile, or another user's process. */
function list(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function* socketsOf(pid: string, wanted: Map<string, number>): Generator<[number, number]> {
  for (const fd of list(`/proc/${pid}/fd`)) {
    try {
      const inode = wanted.get(readlinkSync(`/proc/${pid}/fd/${fd}`));
      if (inode !== undefined) yield [Number(fd), inode];
    } catch {
      // closed meanwhile
    }
  }
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trimEnd();
  } catch {
    return "";
  }
}

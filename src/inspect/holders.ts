// Which processes have a socket open, as /proc tells.

import { processIds, smallText, socketsOf } from "../syscalls/proc.ts";

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
export function holdersOf(
  wanted: Pick<ReadonlySet<number>, "has" | "size">,
): Map<number, SocketHolder[]> {
  const holders = new Map<number, SocketHolder[]>();
  if (wanted.size === 0) return holders;
  for (const pid of processIds()) {
    const sockets = socketsOf(pid);
    let command: string | undefined;
    for (let i = 0; i < sockets.length; i += 2) {
      const [fd, inode] = [sockets[i]!, sockets[i + 1]!];
      if (!wanted.has(inode)) continue;
      command ??= (smallText(`/proc/${pid}/comm`) ?? "").trimEnd();
      const holder: SocketHolder = { pid, command, fd };
      const known = holders.get(inode);
      if (known === undefined) holders.set(inode, [holder]);
      else known.push(holder);
    }
  }
  return holders;
}

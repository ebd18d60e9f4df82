// A child's sockets block, as programs expect.

import { file } from "../../native/file.ts";
import { UnixError } from "../base/errors.ts";
import { setNonBlocking, statusFlags } from "../syscalls/fd.ts";

/**
 * Have these descriptors block. O_NONBLOCK is the open file's, so it goes for this process, too,
 * where nothing depends on it: the calls on sockets of this library have MSG_DONTWAIT.
 *
 * @returns puts them back as they were
 * @throws UnixError; then they are as they were
 */
export function makeBlocking(fds: readonly number[]): () => void {
  const changed: number[] = [];
  const undo = (): void => {
    for (const fd of changed) setNonBlocking(fd, true);
  };
  for (const fd of fds) {
    const flags = statusFlags(fd);
    const blocks = flags >= 0 && (flags & file.O_NONBLOCK) === 0;
    if (blocks) continue;
    const failed = flags < 0 ? flags : setNonBlocking(fd, false);
    changed.push(fd);
    if (failed === 0) continue;
    undo();
    throw new UnixError("fcntl", failed, { hint: `descriptor ${fd} cannot be made to block` });
  }
  return undo;
}

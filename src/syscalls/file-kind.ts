// What a descriptor stands for, as far as the kernel knows by itself: a file system in user space
// (FUSE) or on the network may take its time to answer fstat(2) and fstatfs(2).

import { errno } from "../../native/errno.ts";
import { file, flock, mode, statx, statxMask } from "../../native/file.ts";
import { nr } from "../../native/numbers.ts";
import { libc } from "./libc.ts";
import { Memory } from "./memory.ts";
import { result } from "./result.ts";

const found = new Memory(statx.size);
const noName = new Memory(1);
/** NULL is the fastest; before Linux 6.11 it is EFAULT, and the name has to be an empty one. */
let name = 0;

const WANTED =
  (statxMask.STATX_TYPE ?? 0) | (statxMask.STATX_INO ?? 0) | (statxMask.STATX_BLOCKS ?? 0);
const FLAGS = (file.AT_EMPTY_PATH ?? 0) | (file.AT_STATX_DONT_SYNC ?? 0);

/** The type (S_IFMT), 0 for what has none, or a negative errno; `kind` has the rest. */
export function lookAt(fd: number): number {
  const call = nr.SYS_statx ?? -1;
  const got = result(libc.syscall(call, fd, name, FLAGS, WANTED, found.address, 0));
  if (got === -errno.EFAULT && name === 0) {
    name = noName.address;
    return lookAt(fd);
  }
  return got < 0 ? got : found.view.getUint16(statx.at.stx_mode, true) & mode.S_IFMT;
}

/** What the last `lookAt` saw. */
export const kind = {
  /** Of the device that the file is; 0 for none. */
  get ownMajor(): number {
    return found.words[statx.at.stx_rdev_major >> 2]!;
  },
  /** Of the device that the file is on; 0 if that is no real one. */
  get major(): number {
    return found.words[statx.at.stx_dev_major >> 2]!;
  },
  get inode(): bigint {
    return found.view.getBigUint64(statx.at.stx_ino, true);
  },
  /** Of 512 bytes, as far as they fit into 32 bits; all ones if there are more. */
  get blocks(): number {
    const [low, high] = [statx.at.stx_blocks, statx.at.stx_blocks + 4];
    return found.view.getUint32(high, true) > 0 ? MAX_KIND : found.view.getUint32(low, true);
  },
};

const MAX_KIND = 2 ** 32 - 1;

const question = new Memory(flock.size);

/**
 * Whether any process has a record lock (fcntl(2), F_SETLK) on a file, this process included: asked
 * in the name of the open file, which has none yet. A negative errno if that cannot be asked. A
 * file system of others would be asked in turn.
 */
export function recordLocks(fd: number): number {
  const { view, address } = question;
  question.bytes.fill(0); // from the beginning to the end
  view.setInt16(flock.at.l_type, file.F_WRLCK, true);
  const call = nr.SYS_fcntl ?? -1;
  const asked = result(libc.syscall(call, fd, file.F_OFD_GETLK ?? -1, address, 0, 0, 0));
  if (asked < 0) return asked;
  return view.getInt16(flock.at.l_type, true) === file.F_UNLCK ? 0 : 1;
}

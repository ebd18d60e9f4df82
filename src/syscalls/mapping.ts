// Mapping memory, and handing it to the garbage collector.

import { file } from "../../native/file.ts";
import { mapping, seal } from "../../native/mapping.ts";
import { nr } from "../../native/numbers.ts";
import { close, setCloseOnExec } from "./fd.ts";
import { libc, symbol } from "./libc.ts";
import { cString, managedBuffer } from "./memory.ts";
import { result, uninterrupted } from "./result.ts";

const SHARED = mapping.MAP_SHARED;
/** Only pages that are written to take memory, so none is set aside for all of them. */
const PRIVATE = mapping.MAP_PRIVATE | mapping.MAP_NORESERVE;
/** PSHMNAMLEN is 31 (bsd/kern/posix_shm.c), with what stands before it. */
const SHM_NAME = 23;
const OWNER_ONLY = 0o600;
/** No address is as high. */
const ADDRESSES = 2 ** 63;
const READ_WRITE = mapping.PROT_READ | mapping.PROT_WRITE;

/**
 * Map the first `bytes` of `fd`: the address, or a negative errno. Always writable, because a store
 * to a read-only page would end the process; a private mapping keeps such stores to itself.
 * @param over replace what is mapped at this address
 */
export function map(
  fd: number,
  { bytes, shared, over }: { bytes: number; shared: boolean; over?: number },
): number {
  const flags = (shared ? SHARED : PRIVATE) | (over === undefined ? 0 : mapping.MAP_FIXED);
  if (nr.SYS_mmap === null) {
    const at = libc.mmap(over ?? null, bytes, READ_WRITE, flags, fd, 0);
    // MAP_FAILED is more than a number holds, and comes as a BigInt
    return typeof at === "number" && at < ADDRESSES ? at : result(-1);
  }
  return result(libc.syscall(nr.SYS_mmap, over ?? 0, bytes, READ_WRITE, flags, fd, 0));
}

export const truncate = (fd: number, bytes: number): number =>
  uninterrupted(() => libc.ftruncate(fd, bytes));

export const addSeals = (fd: number, seals: number): number =>
  result(libc.fcntl(fd, seal.F_ADD_SEALS ?? -1, seals));

/**
 * macOS: new memory without a name, of no size yet; or a negative errno. Until it is removed its
 * name cannot be guessed, and only this user may open it.
 */
export function shmCreate(): number {
  const name = cString(`/bunix-${crypto.randomUUID().slice(0, SHM_NAME)}`);
  const flags = file.O_RDWR | file.O_CREAT | file.O_EXCL;
  const fd = uninterrupted(() => libc.shm_open(name.address, flags, OWNER_ONLY));
  if (fd < 0) return fd;
  const failed = Math.min(result(libc.shm_unlink(name.address)), setCloseOnExec(fd, true));
  if (failed === 0) return fd;
  close(fd);
  return failed;
}

let munmap = 0;

/**
 * The mapping as a buffer. It is unmapped when the last view of it has been collected: munmap fits
 * the deallocator's signature if the context is the length (facts: #deallocator-is-any-function).
 */
export function collected(address: number, bytes: number): ArrayBuffer {
  munmap ||= symbol("munmap");
  try {
    return managedBuffer(address, bytes, { context: bytes, deallocator: munmap });
  } catch (error) {
    libc.munmap(address, bytes);
    throw error;
  }
}

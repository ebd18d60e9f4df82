// Mapping memory, and handing it to the garbage collector.

import { mapping, seal } from "../../native/mapping.ts";
import { nr } from "../../native/numbers.ts";
import { libc, symbol } from "./libc.ts";
import { managedBuffer } from "./memory.ts";
import { result, uninterrupted } from "./result.ts";

const SHARED = mapping.MAP_SHARED;
/** Only pages that are written to take memory, so none is set aside for all of them. */
const PRIVATE = mapping.MAP_PRIVATE | mapping.MAP_NORESERVE;
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
  return result(libc.syscall(nr.SYS_mmap ?? -1, over ?? 0, bytes, READ_WRITE, flags, fd, 0));
}

export const truncate = (fd: number, bytes: number): number =>
  uninterrupted(() => libc.ftruncate(fd, bytes));

export const addSeals = (fd: number, seals: number): number =>
  result(libc.fcntl(fd, seal.F_ADD_SEALS ?? -1, seals));

let munmap = 0;

/**
 * The mapping as a buffer. It is unmapped when the last view of it has been collected: munmap fits
 * the deallocator's signature where the context is the length
 * (facts: #deallocator-is-any-function).
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

// struct msghdr and struct iovec, written as 32-bit words: no BigInt, no DataView on the hot path.

import { iovec, msghdr } from "../../native/socket.ts";

/** Word (not byte) offsets inside a msghdr. */
export const word = {
  name: msghdr.at.msg_name >> 2,
  nameBytes: msghdr.at.msg_namelen >> 2,
  iov: msghdr.at.msg_iov >> 2,
  iovCount: msghdr.at.msg_iovlen >> 2,
  control: msghdr.at.msg_control >> 2,
  controlBytes: msghdr.at.msg_controllen >> 2,
  flags: msghdr.at.msg_flags >> 2,
} as const;

export const msghdrBytes = msghdr.size;
export const iovecBytes = iovec.size;

const HIGH = 2 ** 32;

/** Write a 64-bit address (below 2⁵³) or size as two words; a store to Int32Array wraps the low. */
export function writeAddress(words: Int32Array, at: number, address: number): void {
  words[at] = address;
  words[at + 1] = address / HIGH;
}

/** Write entry `index` of an iovec array that begins at word `at`. */
export function writeIovec(
  words: Int32Array,
  at: number,
  { index, address, bytes }: { index: number; address: number; bytes: number },
): void {
  const entry = at + index * (iovecBytes >> 2);
  writeAddress(words, entry, address);
  writeAddress(words, entry + 2, bytes);
}

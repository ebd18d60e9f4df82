// msghdr and iovec, written as 32-bit words.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  iovecBytes,
  msghdrBytes,
  word,
  writeAddress,
  writeIovec,
} from "../../src/structs/msghdr.ts";

/** The u64 at byte `at`. */
const u64 = (words: Int32Array, at: number): bigint =>
  new DataView(words.buffer).getBigUint64(at, true);

const address = fc.oneof(
  fc.maxSafeNat(),
  fc.integer({ min: 0x7fffff00, max: 0x80000100 }),
  fc.integer({ min: 0xffffff00, max: 0x100000100 }),
  fc.constantFrom(0, Number.MAX_SAFE_INTEGER, 0x7fff_ffff_ffff),
);

describe("writeAddress", () => {
  test("any address below 2^53", () => {
    fc.assert(
      fc.property(address, (value) => {
        const words = new Int32Array(4).fill(-1);
        writeAddress(words, 1, value);
        expect(new DataView(words.buffer).getBigUint64(4, true)).toBe(BigInt(value));
        expect([words[0], words[3]]).toEqual([-1, -1]);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("writeIovec", () => {
  test("any entry of an array that begins anywhere", () => {
    fc.assert(
      fc.property(address, address, fc.nat(7), fc.nat(3), (base, bytes, index, begin) => {
        const words = new Int32Array(48);
        writeIovec(words, begin * 2, { index, address: base, bytes });
        const at = begin * 8 + index * iovecBytes;
        expect(u64(words, at)).toBe(BigInt(base));
        expect(u64(words, at + 8)).toBe(BigInt(bytes));
        words.fill(0, at >> 2, (at + 16) >> 2);
        expect(words.every((value) => value === 0)).toBeTrue();
      }),
    );
  });
});

test("sizes and words as Linux has them on 64 bits", () => {
  expect([msghdrBytes, iovecBytes]).toEqual([56, 16]);
  expect(word).toEqual({
    name: 0,
    nameBytes: 2,
    iov: 4,
    iovCount: 6,
    control: 8,
    controlBytes: 10,
    flags: 12,
  });
});

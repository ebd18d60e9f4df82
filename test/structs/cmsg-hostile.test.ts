// Control data that no kernel writes. The decoder must end, stay inside the bytes it was given, and
// still report every complete descriptor number inside an SCM_RIGHTS: each one may be open.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { decodeControl, onlyFd } from "../../src/structs/cmsg.ts";
import { build, decodeWatched, hostileArray, oracle, RIGHTS, SOL_SOCKET } from "./control.ts";

const four = [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0];

const lengths: Readonly<Record<string, bigint>> = {
  "0": 0n,
  "1": 1n,
  "15, one below the header": 15n,
  "16, no data": 16n,
  "19, no complete number": 19n,
  "20, one number": 20n,
  "one more than there is": 33n,
  "2^31 - 8": 2n ** 31n - 8n,
  "2^31 - 7": 2n ** 31n - 7n,
  "2^31": 2n ** 31n,
  "2^32 - 8": 2n ** 32n - 8n,
  "2^32 - 1": 2n ** 32n - 1n,
  "2^32": 2n ** 32n,
  "2^32 + 16": 2n ** 32n + 16n,
  "2^53": 2n ** 53n,
  "2^63": 2n ** 63n,
  "2^64 - 1": 2n ** 64n - 1n,
};

describe("cmsg_len", () => {
  for (const [name, length] of Object.entries(lengths)) {
    test(`${name}, alone`, () => {
      const view = build([{ level: SOL_SOCKET, type: RIGHTS, data: four, length }]);
      expect(decodeWatched(view, view.byteLength)).toEqual(oracle(view, view.byteLength));
    });

    test(`${name}, between two that are right`, () => {
      const right = { level: SOL_SOCKET, type: RIGHTS, data: four };
      const view = build([right, { ...right, length }, right]);
      expect(decodeWatched(view, view.byteLength)).toEqual(oracle(view, view.byteLength));
    });
  }
});

test("a lone descriptor is what the decoder finds, and nothing is beside it", () => {
  const one = fc.record({
    level: fc.constantFrom(SOL_SOCKET, SOL_SOCKET, 0),
    type: fc.constantFrom(RIGHTS, RIGHTS, 2, 4),
    data: fc.array(fc.nat(255), { minLength: 4, maxLength: 9 }),
    length: fc.constantFrom(20n, 20n, 0n, 19n, 21n, 24n, 2n ** 32n + 20n),
  });
  const lone: number[] = [];
  fc.assert(
    fc.property(fc.array(one, { minLength: 1, maxLength: 2 }), fc.nat(7), (items, cut) => {
      const view = build(items);
      const length = view.byteLength - (cut > 4 ? cut : 0);
      const found = decodeControl(view, length);
      const fd = onlyFd(view, length);
      if (fd < 0) return;
      lone.push(fd);
      expect(found).toEqual({ fds: [fd], credentials: null, pidfd: null, security: null });
    }),
    { numRuns: 2000 },
  );
  expect(lone.length).toBeGreaterThan(10);
  const plain = build([{ level: SOL_SOCKET, type: RIGHTS, data: [7, 1, 0, 0] }]);
  expect(onlyFd(plain, plain.byteLength)).toBe(263);
  expect(onlyFd(plain, 0)).toBe(-1);
});

test("any headers with any lengths", () => {
  fc.assert(
    fc.property(hostileArray, fc.nat(400), (items, length) => {
      const view = build(items);
      expect(decodeWatched(view, length)).toEqual(oracle(view, length));
    }),
    { numRuns: 3_000 },
  );
});

test("any bytes", () => {
  const bytes = fc.uint8Array({ maxLength: 200 });
  fc.assert(
    fc.property(bytes, fc.nat(220), (source, length) => {
      const view = new DataView(source.slice().buffer);
      expect(decodeWatched(view, length)).toEqual(oracle(view, length));
    }),
    { numRuns: 3_000 },
  );
});

test("any words, most of them small: these look like headers more often", () => {
  const word = fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer());
  fc.assert(
    fc.property(fc.array(word, { maxLength: 40 }), (words) => {
      const view = new DataView(Int32Array.from(words).buffer);
      expect(decodeWatched(view, view.byteLength)).toEqual(oracle(view, view.byteLength));
    }),
    { numRuns: 3_000 },
  );
});

// Control messages as Linux has them on 64 bits: a header of 16 bytes, alignment to 8.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  type ControlOut,
  cmsgLength,
  cmsgSpace,
  controlBytes,
  decodeControl,
  encodeControl,
} from "../../src/structs/cmsg.ts";
import {
  build,
  decodeWatched,
  fdArray,
  type Item,
  itemArray,
  oracle,
  RIGHTS,
  SOL_SOCKET,
} from "./control.ts";

const nobody = { fds: [], credentials: null, pidfd: null, security: null };

function encode(out: ControlOut): DataView {
  const view = new DataView(new ArrayBuffer(controlBytes(out)));
  expect(encodeControl(view, out)).toBe(view.byteLength);
  return view;
}

describe("encode", () => {
  test("sizes", () => {
    expect([0, 1, 4, 8, 9, 1012].map(cmsgLength)).toEqual([16, 17, 20, 24, 25, 1028]);
    expect([0, 1, 4, 8, 9, 1012].map(cmsgSpace)).toEqual([16, 24, 24, 24, 32, 1032]);
  });

  test("nothing needs no bytes", () => {
    expect(controlBytes({ fds: [] })).toBe(0);
    expect(encodeControl(new DataView(new ArrayBuffer(0)), { fds: [] })).toBe(0);
  });

  test("round trip", () => {
    const credentials = fc.option(
      fc.record({
        pid: fc.integer({ min: 1, max: 0x7fffffff }),
        uid: fc.integer({ min: 0, max: 0xfffffffe }),
        gid: fc.integer({ min: 0, max: 0xffffffff }),
      }),
      { nil: undefined },
    );
    fc.assert(
      fc.property(fdArray(253), credentials, (fds, who) => {
        const view = encode({ fds, credentials: who });
        const wanted = { ...nobody, fds, credentials: who ?? null };
        expect(decodeControl(view, view.byteLength)).toEqual(wanted);
      }),
      { numRuns: 300 },
    );
  });

  test("too little room is a RangeError, not a write beside it", () => {
    const out = { fds: [1, 2, 3] };
    for (let room = 0; room < 28; room++) {
      expect(() => encodeControl(new DataView(new ArrayBuffer(room)), out)).toThrow(RangeError);
    }
  });

  test("writes only inside its part of a larger buffer", () => {
    const bytes = new Uint8Array(64).fill(0xee);
    encodeControl(new DataView(bytes.buffer, 16, 24), { fds: [7] });
    expect(bytes.subarray(0, 16).every((byte) => byte === 0xee)).toBeTrue();
    expect(bytes.subarray(40).every((byte) => byte === 0xee)).toBeTrue();
  });
});

describe("decode", () => {
  test("no bytes, no news", () => {
    expect(decodeControl(new DataView(new ArrayBuffer(0)), 0)).toEqual(nobody);
  });

  test("many control messages, in any order", () => {
    fc.assert(
      fc.property(itemArray, (items) => {
        const view = build(items);
        expect(decodeWatched(view, view.byteLength)).toEqual(oracle(view, view.byteLength));
      }),
      { numRuns: 500 },
    );
  });

  test("what the oracle says of one of each", () => {
    const items: Item[] = [
      { level: SOL_SOCKET, type: 2, data: [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0] },
      { level: SOL_SOCKET, type: RIGHTS, data: [5, 0, 0, 0, 6, 0, 0, 0] },
      { level: 41, type: RIGHTS, data: [9, 0, 0, 0] },
      { level: SOL_SOCKET, type: 4, data: [7, 0, 0, 0] },
      { level: SOL_SOCKET, type: 3, data: [0x6c, 0] },
      { level: SOL_SOCKET, type: RIGHTS, data: [8, 0, 0, 0] },
      { level: SOL_SOCKET, type: 29, data: new Array(16).fill(1) },
    ];
    const view = build(items);
    const wanted = {
      fds: [5, 6, 8],
      credentials: { pid: 1, uid: 2, gid: 3 },
      pidfd: 7,
      security: Uint8Array.of(0x6c, 0),
    };
    expect(oracle(view, view.byteLength)).toEqual(wanted);
    expect(decodeWatched(view, view.byteLength)).toEqual(wanted);
  });

  test("descriptors cut off at every byte: padding may hold one", () => {
    const fds = [11, 12, 13];
    const view = encode({ fds });
    for (let length = 0; length <= view.byteLength; length++) {
      const complete = Math.min(3, Math.max(0, Math.floor((length - 16) / 4)));
      expect(decodeWatched(view, length)).toEqual({ ...nobody, fds: fds.slice(0, complete) });
    }
  });

  test("any sequence cut off at every byte", () => {
    fc.assert(
      fc.property(itemArray, (items) => {
        const view = build(items);
        for (let length = 0; length <= view.byteLength; length++) {
          expect(decodeWatched(view, length)).toEqual(oracle(view, length));
        }
      }),
      { numRuns: 30 },
    );
  });

  test("a pidfd that is an errno stays what it is", () => {
    const view = build([{ level: SOL_SOCKET, type: 4, data: [0xfd, 0xff, 0xff, 0xff] }]);
    expect(decodeControl(view, view.byteLength).pidfd).toBe(-3);
  });

  test("a security label is a copy", () => {
    const view = build([{ level: SOL_SOCKET, type: 3, data: [1, 2, 3] }]);
    const { security } = decodeControl(view, view.byteLength);
    new Uint8Array(view.buffer).fill(0);
    expect(security).toEqual(Uint8Array.of(1, 2, 3));
  });

  test("a length beyond the view is clamped to it", () => {
    const view = encode({ fds: [1, 2] });
    expect(decodeWatched(view, 0xffffffff).fds).toEqual([1, 2]);
  });

  test("a view in the middle of a buffer", () => {
    const source = new Uint8Array(encode({ fds: [3, 4] }).buffer);
    const bytes = new Uint8Array(source.length + 32).fill(1);
    bytes.set(source, 16);
    const view = new DataView(bytes.buffer, 16, source.length);
    expect(decodeWatched(view, source.length)).toEqual({ ...nobody, fds: [3, 4] });
  });
});

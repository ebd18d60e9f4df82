// struct ucred: pid, uid and gid of 4 bytes each; what the kernel writes where it knows nothing.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { decodeUcred, encodeUcred, ucredBytes } from "../../src/structs/credentials.ts";

function ucred(pid: number, uid: number, gid: number): DataView {
  const view = new DataView(new ArrayBuffer(12));
  for (const [i, value] of [pid, uid, gid].entries()) view.setUint32(i * 4, value, true);
  return view;
}

const id = fc.integer({ min: 0, max: 0xffffffff });

test("size", () => expect(ucredBytes).toBe(12));

describe("decode", () => {
  test("a process", () => {
    expect(decodeUcred(ucred(42, 1000, 100), 0)).toEqual({ pid: 42, uid: 1000, gid: 100 });
  });

  test("nobody was recorded: 0, −1, −1", () => {
    expect(decodeUcred(ucred(0, 0xffffffff, 0xffffffff), 0)).toBeNull();
  });

  test("a process outside this pid namespace has no number", () => {
    expect(decodeUcred(ucred(0, 65534, 65534), 0)).toEqual({ pid: null, uid: 65534, gid: 65534 });
    expect(decodeUcred(ucred(0, 0, 0), 0)).toEqual({ pid: null, uid: 0, gid: 0 });
  });

  test("ids above 2^31 are not negative", () => {
    const view = ucred(1, 0xfffffffe, 0x80000000);
    expect(decodeUcred(view, 0)).toEqual({ pid: 1, uid: 0xfffffffe, gid: 0x80000000 });
  });

  test("one id of −1 is still somebody", () => {
    expect(decodeUcred(ucred(7, 0xffffffff, 0), 0)).toEqual({ pid: 7, uid: 0xffffffff, gid: 0 });
    expect(decodeUcred(ucred(7, 0, 0xffffffff), 0)).toEqual({ pid: 7, uid: 0, gid: 0xffffffff });
  });

  test("any twelve bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 12, maxLength: 12 }), (bytes) => {
        const [pid, uid, gid] = new Int32Array(bytes.slice().buffer);
        const wanted =
          uid === -1 && gid === -1
            ? null
            : { pid: pid! > 0 ? pid! : null, uid: uid! >>> 0, gid: gid! >>> 0 };
        expect(decodeUcred(new DataView(bytes.slice().buffer), 0)).toEqual(wanted);
      }),
    );
  });

  test("a cut off one is a RangeError", () => {
    expect(() => decodeUcred(new DataView(new ArrayBuffer(11)), 0)).toThrow(RangeError);
  });
});

describe("encode", () => {
  test("round trip at any place", () => {
    const pid = fc.integer({ min: 1, max: 0x7fffffff });
    fc.assert(
      fc.property(
        pid,
        id,
        fc.integer({ min: 0, max: 0xfffffffe }),
        fc.nat(20),
        (p, uid, gid, at) => {
          const view = new DataView(new ArrayBuffer(at + 12));
          encodeUcred(view, at, { pid: p, uid, gid });
          expect(decodeUcred(view, at)).toEqual({ pid: p, uid, gid });
        },
      ),
    );
  });

  test("the bytes", () => {
    const view = new DataView(new ArrayBuffer(12));
    encodeUcred(view, 0, { pid: 1, uid: 0x0203, gid: 0xffffffff });
    expect(new Uint8Array(view.buffer).toHex()).toBe("0100000003020000ffffffff");
  });
});

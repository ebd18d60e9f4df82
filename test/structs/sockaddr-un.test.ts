// sockaddr_un as Linux has it: 2 bytes of family, 108 of path, lengths that count.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  type Address,
  addressRoom,
  decodeSockaddr,
  encodeSockaddr,
  fitsSockaddr,
  fromBytes,
  maxNameBytes,
  maxPathBytes,
  toBytes,
} from "../../src/structs/sockaddr-un.ts";

const LIMIT = 107;
const FAMILY = [1, 0];

function encode(address: Address): { bytes: Uint8Array; length: number } {
  const bytes = new Uint8Array(addressRoom).fill(0xee); // what an earlier address left behind
  const length = encodeSockaddr(address, bytes);
  return { bytes, length };
}

function roundTrip(address: Address): Address {
  const { bytes, length } = encode(address);
  return decodeSockaddr(bytes, length);
}

const ascii = (length: number): string => "p".repeat(length);
const anyByte = fc.integer({ min: 0, max: 255 });
const pathByte = fc.integer({ min: 1, max: 255 });
const bytesOf = (byte: fc.Arbitrary<number>, min: number, max: number): fc.Arbitrary<Uint8Array> =>
  fc.array(byte, { minLength: min, maxLength: max }).map((list) => Uint8Array.from(list));

describe("encode", () => {
  test("a path ends with a NUL that counts", () => {
    const { bytes, length } = encode({ kind: "path", path: "/a" });
    expect([...bytes.subarray(0, length)]).toEqual([...FAMILY, 0x2f, 0x61, 0]);
  });

  test("an abstract name begins with a NUL and ends with its last byte", () => {
    const { bytes, length } = encode({ kind: "abstract", name: Uint8Array.of(0x61, 0, 0xff, 0) });
    expect([...bytes.subarray(0, length)]).toEqual([...FAMILY, 0, 0x61, 0, 0xff, 0]);
  });

  test("unnamed is the family alone: a request for autobind", () => {
    const { bytes, length } = encode({ kind: "unnamed" });
    expect([...bytes.subarray(0, length)]).toEqual(FAMILY);
  });

  test("an empty abstract name has length 3, which is not autobind", () => {
    expect(encode({ kind: "abstract", name: new Uint8Array() }).length).toBe(3);
  });

  test("nothing is written behind the address", () => {
    const { bytes, length } = encode({ kind: "path", path: ascii(50) });
    expect(bytes.subarray(length).every((byte) => byte === 0xee)).toBeTrue();
  });

  test("limits", () => {
    expect([maxPathBytes, maxNameBytes]).toEqual([LIMIT, LIMIT]);
    expect(encode({ kind: "path", path: ascii(LIMIT) }).length).toBe(110);
    expect(encode({ kind: "abstract", name: new Uint8Array(LIMIT) }).length).toBe(110);
    expect(() => encode({ kind: "path", path: ascii(LIMIT + 1) })).toThrow(RangeError);
    expect(() => encode({ kind: "abstract", name: new Uint8Array(LIMIT + 1) })).toThrow(RangeError);
  });

  test("the limit is bytes, not characters", () => {
    expect(() => encode({ kind: "path", path: "é".repeat(54) })).toThrow(RangeError);
    expect(encode({ kind: "path", path: "é".repeat(53) }).length).toBe(2 + 106 + 1);
    expect(fitsSockaddr({ kind: "path", path: "é".repeat(53) })).toBeTrue();
    expect(fitsSockaddr({ kind: "path", path: "é".repeat(54) })).toBeFalse();
  });
});

describe("decode", () => {
  const kernel = (...bytes: readonly number[]): Uint8Array => {
    const room = new Uint8Array(addressRoom);
    room.set([...FAMILY, ...bytes]);
    return room;
  };

  test.each([0, 1, 2])("length %d is unnamed", (length) => {
    expect(decodeSockaddr(kernel(0x61), length)).toEqual({ kind: "unnamed" });
  });

  test("length 3 with a NUL is the empty abstract name", () => {
    expect(decodeSockaddr(kernel(0), 3)).toEqual({ kind: "abstract", name: new Uint8Array() });
  });

  test("length 111 is a path of 108 bytes without a NUL", () => {
    const path = ascii(108);
    const bytes = kernel(...toBytes(path), 0);
    expect(decodeSockaddr(bytes, 111)).toEqual({ kind: "path", path });
  });

  test("the same into a sockaddr_un of 110 bytes, as other programs have it", () => {
    const path = ascii(108);
    const bytes = kernel(...toBytes(path)).subarray(0, 110);
    expect(decodeSockaddr(bytes, 111)).toEqual({ kind: "path", path });
  });

  test("a path ends at its NUL or at the length, whichever is first", () => {
    expect(decodeSockaddr(kernel(0x61, 0, 0x62), 5)).toEqual({ kind: "path", path: "a" });
    expect(decodeSockaddr(kernel(0x61, 0x62, 0x63), 4)).toEqual({ kind: "path", path: "ab" });
  });

  test("padding is part of an abstract name", () => {
    const decoded = decodeSockaddr(kernel(0, 0x61), 110);
    const name = new Uint8Array(107);
    name[0] = 0x61;
    expect(decoded).toEqual({ kind: "abstract", name });
  });

  test("bytes that are no UTF-8 stay bytes, in a copy", () => {
    const source = kernel(0xff, 0xfe, 0x80);
    const decoded = decodeSockaddr(source, 5);
    source.fill(0);
    expect(decoded).toEqual({ kind: "path", path: Uint8Array.of(0xff, 0xfe, 0x80) });
  });

  test("an abstract name is a copy", () => {
    const source = kernel(0, 0x61);
    const decoded = decodeSockaddr(source, 4);
    source.fill(0);
    expect(decoded).toEqual({ kind: "abstract", name: Uint8Array.of(0x61) });
  });
});

describe("round trip", () => {
  test("every length of path", () => {
    for (let length = 1; length <= LIMIT; length++) {
      const address: Address = { kind: "path", path: ascii(length) };
      expect(roundTrip(address)).toEqual(address);
    }
  });

  test("every length of abstract name, all NUL", () => {
    for (let length = 0; length <= LIMIT; length++) {
      const address: Address = { kind: "abstract", name: new Uint8Array(length) };
      expect(roundTrip(address)).toEqual(address);
    }
  });

  test("unnamed", () => {
    expect(roundTrip({ kind: "unnamed" })).toEqual({ kind: "unnamed" });
  });

  test("any abstract name", () => {
    fc.assert(
      fc.property(bytesOf(anyByte, 0, LIMIT), (name) => {
        expect(roundTrip({ kind: "abstract", name })).toEqual({ kind: "abstract", name });
      }),
      { numRuns: 500 },
    );
  });

  test("any path, as bytes: the same bytes come back", () => {
    fc.assert(
      fc.property(bytesOf(pathByte, 1, LIMIT), (bytes) => {
        const decoded = roundTrip({ kind: "path", path: bytes });
        if (decoded.kind !== "path") throw new Error(`a path became ${decoded.kind}`);
        expect(toBytes(decoded.path)).toEqual(bytes);
      }),
      { numRuns: 500 },
    );
  });

  test("any path, as text: the same text comes back", () => {
    const text = fc.string({ unit: "binary", minLength: 1, maxLength: 26 });
    fc.assert(
      fc.property(
        text.filter((path) => !path.includes("\0")),
        (path) => {
          expect(roundTrip({ kind: "path", path })).toEqual({ kind: "path", path });
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe("hostile buffers", () => {
  /** Said again, plainly: what unix(7) says of `length` bytes. */
  function oracle(source: Uint8Array, length: number): Address {
    const bytes = [...source].slice(0, length).slice(2);
    if (bytes.length === 0) return { kind: "unnamed" };
    if (bytes[0] === 0) return { kind: "abstract", name: Uint8Array.from(bytes.slice(1)) };
    const path: number[] = [];
    for (const byte of bytes) {
      if (byte === 0) break;
      path.push(byte);
    }
    return { kind: "path", path: fromBytes(Uint8Array.from(path)) };
  }

  test("any bytes, any length from 0 to 200", () => {
    const sizes = fc.integer({ min: 0, max: 200 });
    fc.assert(
      fc.property(bytesOf(anyByte, 0, addressRoom), sizes, (source, length) => {
        expect(decodeSockaddr(source, length)).toEqual(oracle(source, length));
      }),
      { numRuns: 2_000 },
    );
  });

  test("a length beyond the buffer is clamped to it, however great", () => {
    const source = new Uint8Array(addressRoom).fill(0x61);
    for (const length of [129, 200, 0x7fffffff, 0xffffffff]) {
      expect(decodeSockaddr(source, length)).toEqual({ kind: "path", path: "a".repeat(126) });
    }
  });
});

describe("text and bytes", () => {
  test("bytes become text only where that can be undone", () => {
    fc.assert(
      fc.property(bytesOf(anyByte, 0, 40), (bytes) => {
        expect(toBytes(fromBytes(bytes))).toEqual(bytes);
      }),
      { numRuns: 1_000 },
    );
  });

  test.each([
    ["a byte order mark", [0xef, 0xbb, 0xbf, 0x61], "\ufeffa"],
    ["an overlong slash", [0xc0, 0xaf], null],
    ["half a surrogate pair", [0xed, 0xa0, 0x80], null],
    ["a cut off character", [0xc3], null],
    ["the replacement character itself", [0xef, 0xbf, 0xbd], "\ufffd"],
  ])("%s", (_what, bytes, text) => {
    expect(fromBytes(Uint8Array.from(bytes))).toEqual(text ?? Uint8Array.from(bytes));
  });
});

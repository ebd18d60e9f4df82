// Frames of queue sockets: whatever is written is read back, and nothing else is.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  decodeFrame,
  encodeDatagram,
  encodeHeader,
  encodeIdentityFrame,
  encodeRefusal,
  type Frame,
  headerBytes,
  identityBytes,
  type QueueIdentity,
  type Sender,
} from "../../src/structs/queue-frame.ts";

const room = (): DataView => new DataView(new ArrayBuffer(1024));
const hex = (view: DataView, bytes: number): string =>
  Buffer.from(view.buffer, view.byteOffset, bytes).toString("hex");

const word = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const positive = fc.integer({ min: 1, max: 2 ** 31 - 1 });
const tag = fc.record({ tagLow: word, tagHigh: word });
const identity: fc.Arbitrary<QueueIdentity> = fc.record({
  pid: positive,
  fd: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
  inode: fc.maxSafeNat(),
  tagLow: word,
  tagHigh: word,
});
const name = fc
  .string({ unit: "grapheme", minLength: 1, maxLength: 60 })
  .map((rest) => `/${rest}`)
  .filter((text) => Buffer.byteLength(text) <= 256);
const sender: fc.Arbitrary<Sender> = fc.oneof(fc.constant(null), identity, name);

/** What stands between a datagram's header and its data. */
const senderBytes = (from: Sender): number => {
  if (from === null) return 0;
  return typeof from === "string" ? Buffer.byteLength(from) : identityBytes;
};

describe("there and back", () => {
  test("identities", () => {
    const kind = fc.constantFrom("connect" as const, "accept" as const, "moved" as const);
    fc.assert(
      fc.property(kind, tag, identity, (which, to, who) => {
        const view = room();
        const bytes = encodeIdentityFrame(view, which, { to, identity: who });
        expect(decodeFrame(view, bytes)).toEqual({ kind: which, ...to, identity: who });
      }),
    );
  });

  test("refusals, data and ends", () => {
    fc.assert(
      fc.property(tag, fc.integer({ min: 1, max: 4095 }), (to, errno) => {
        const view = room();
        const bytes = encodeRefusal(view, to, errno);
        expect(decodeFrame(view, bytes)).toEqual({ kind: "refuse", ...to, errno });
        for (const kind of ["end", "close"] as const) {
          expect(decodeFrame(view, encodeHeader(view, kind, to))).toEqual({ kind, ...to });
        }
        const head = encodeHeader(view, "data", to);
        expect(decodeFrame(view, head + 1)).toEqual({ kind: "data", ...to });
        expect(decodeFrame(view, head)).toBeNull();
      }),
    );
  });

  test("datagrams", () => {
    fc.assert(
      fc.property(tag, sender, fc.nat(100), (to, from, data) => {
        const view = room();
        const bodyAt = encodeDatagram(view, to, from);
        expect(bodyAt).toBe(headerBytes + senderBytes(from));
        const decoded = decodeFrame(view, bodyAt + data);
        expect(decoded).toEqual({ kind: "datagram", ...to, from, bodyAt });
      }),
    );
  });
});

test("the bytes are those of the document", () => {
  const view = room();
  const to = { tagLow: 0x04030201, tagHigh: 0x08070605 };
  const who = { pid: 0x11, fd: 0x12, inode: 0x1_0000_0013, tagLow: 0x14, tagHigh: 0x15 };
  const bytes = encodeIdentityFrame(view, "accept", { to, identity: who });
  const head = "42515331" + "02000000" + "0102030405060708";
  const body = "11000000" + "12000000" + "1300000001000000" + "14000000" + "15000000";
  expect(hex(view, bytes)).toBe(head + body);
  const at = encodeDatagram(view, to, "/ñ");
  expect(hex(view, at)).toBe(`42515331${"08020300"}0102030405060708${"2fc3b1"}`);
});

describe("what is no frame", () => {
  const valid = (): { view: DataView; bytes: number } => {
    const view = room();
    const who = { pid: 1, fd: 2, inode: 3, tagLow: 4, tagHigh: 5 };
    const to = { tagLow: 6, tagHigh: 7 };
    return { view, bytes: encodeIdentityFrame(view, "connect", { to, identity: who }) };
  };

  test("every length but the right one", () => {
    const { view, bytes } = valid();
    for (let length = 0; length < 200; length++) {
      expect(decodeFrame(view, length) === null, `${length}`).toBe(length !== bytes);
    }
  });

  test("another magic, an unknown kind, a field that must be 0", () => {
    for (const [at, value] of [
      [0, 0],
      [3, 0x32],
      [4, 0],
      [4, 9],
      [4, 255],
      [5, 1],
      [6, 1],
    ] as const) {
      const { view, bytes } = valid();
      view.setUint8(at, value);
      expect(decodeFrame(view, bytes), `${at}`).toBeNull();
    }
  });

  test("pids, descriptors and inodes that cannot be", () => {
    for (const [at, value] of [
      [headerBytes, 0],
      [headerBytes, 0x80000000],
      [headerBytes + 4, 0xffffffff],
      [headerBytes + 12, 0x00200000],
    ] as const) {
      const { view, bytes } = valid();
      view.setUint32(at, value, true);
      expect(decodeFrame(view, bytes), `${at}`).toBeNull();
    }
  });

  test("senders that are longer than the message, of no kind, or no UTF-8", () => {
    const to = { tagLow: 0, tagHigh: 0 };
    const make = (change: (view: DataView) => void): Frame | null => {
      const view = room();
      const bytes = encodeDatagram(view, to, "/name");
      change(view);
      return decodeFrame(view, bytes);
    };
    expect(make(() => {})).toMatchObject({ from: "/name" });
    expect(make((view) => view.setUint16(6, 0xffff, true))).toBeNull();
    expect(make((view) => view.setUint16(6, 6, true))).toBeNull();
    expect(make((view) => view.setUint16(6, 1, true))).toBeNull();
    expect(make((view) => view.setUint8(5, 3))).toBeNull();
    expect(make((view) => view.setUint8(5, 0))).toBeNull();
    expect(make((view) => view.setUint8(5, 1))).toBeNull();
    expect(make((view) => view.setUint8(headerBytes + 2, 0xff))).toBeNull();
  });

  test("any bytes: a frame that can be written again, or none; never an error", () => {
    const magic = Buffer.from("BQS1");
    const body = fc.uint8Array({ maxLength: 80 });
    const bytes = fc.oneof(
      body,
      body.map((rest) => Buffer.concat([magic, rest])),
      fc
        .tuple(fc.integer({ min: 0, max: 9 }), fc.constantFrom(0, 1, 2), fc.nat(40), body)
        .map(([kind, from, length, rest]) =>
          Buffer.concat([magic, Buffer.from([kind, from, length, 0]), rest]),
        ),
    );
    fc.assert(
      fc.property(bytes, (data) => {
        const copy = Uint8Array.from(data);
        const frame = decodeFrame(new DataView(copy.buffer), copy.length);
        if (frame === null) return;
        expect(copy.length).toBeGreaterThanOrEqual(headerBytes);
        if (frame.kind !== "datagram") return;
        const view = room();
        const at = encodeDatagram(view, frame, frame.from);
        expect(hex(view, at)).toBe(Buffer.from(copy.subarray(0, at)).toString("hex"));
        expect(frame.bodyAt).toBe(at);
      }),
      { numRuns: 5_000 },
    );
  });
});

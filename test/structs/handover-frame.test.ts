// The frames of a handover: back and forth, and whatever else may come.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  decodeFrame,
  encodeFrame,
  FRAME_BYTES,
  FRAME_ENTRIES,
  HANDOVER_VERSION,
  type HandoverEntry,
  type HandoverFrame,
  isHandoverName,
} from "../../src/structs/handover-frame.ts";

const name = fc
  .string({ unit: "grapheme-ascii", minLength: 1, maxLength: 255 })
  .filter(isHandoverName);
const path = fc
  .uint8Array({ min: 1, max: 255, maxLength: 4_095 })
  .map((rest) => Uint8Array.of(0x2f, ...rest));
const number = fc.nat({ max: Number.MAX_SAFE_INTEGER });
const fileArb = fc.record({ path, dev: number, ino: number });
const entry: fc.Arbitrary<HandoverEntry> = fc.record({
  name: fc.oneof(fc.constant(""), name),
  file: fc.option(fileArb, { nil: null }),
});
const frame: fc.Arbitrary<HandoverFrame> = fc.oneof(
  fc.constantFrom("hello", "ready", "yours", "taken").map((kind) => ({ kind }) as HandoverFrame),
  fc.record({ kind: fc.constant("busy" as const), pid: fc.nat() }),
  fc.record({ kind: fc.constantFrom("refused", "failed"), reason: fc.string({ maxLength: 200 }) }),
  fc.record({
    kind: fc.constant("table" as const),
    last: fc.boolean(),
    entries: fc.array(entry, { maxLength: FRAME_ENTRIES }),
  }),
) as fc.Arbitrary<HandoverFrame>;

test("every frame comes back as it was", () => {
  fc.assert(
    fc.property(frame, (one) => {
      expect(decodeFrame(encodeFrame(one))).toEqual(one);
    }),
  );
});

test("as many of the longest entries as a frame may have fit into it", () => {
  const file = { path: new Uint8Array(4_096).fill(0x2f), dev: 2 ** 40, ino: 2 ** 52 };
  const entries = Array.from({ length: FRAME_ENTRIES }, () => ({ name: "n".repeat(255), file }));
  const bytes = encodeFrame({ kind: "table", last: false, entries });
  expect(bytes.length).toBeLessThanOrEqual(FRAME_BYTES);
  expect(decodeFrame(bytes)).toEqual({ kind: "table", last: false, entries });
});

describe("hostile", () => {
  /** Nothing that is decoded is beyond its bounds, and it is the only way to write it. */
  function harmless(bytes: Uint8Array): void {
    const found = decodeFrame(bytes);
    if (found === null) return;
    if (bytes[4] === HANDOVER_VERSION) expect(encodeFrame(found)).toEqual(new Uint8Array(bytes));
    if (found.kind !== "table") return;
    expect(found.entries.length).toBeLessThanOrEqual(FRAME_ENTRIES);
    for (const { name, file } of found.entries) {
      expect(name === "" || isHandoverName(name)).toBe(true);
      if (file !== null) expect(file.path).not.toContain(0);
    }
  }

  test("any bytes", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), harmless), { numRuns: 2_000 });
  });

  test("a frame with some bytes changed, cut or added", () => {
    const changes = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 255 })), { maxLength: 4 });
    const property = fc.property(
      frame,
      changes,
      fc.integer({ min: -8, max: 8 }),
      (one, all, by) => {
        const whole = encodeFrame(one);
        const bytes = new Uint8Array(Math.max(0, whole.length + by));
        bytes.set(whole.subarray(0, bytes.length));
        for (const [at, value] of all) if (bytes.length > 0) bytes[at % bytes.length] = value;
        harmless(bytes);
      },
    );
    fc.assert(property, { numRuns: 3_000 });
  });

  test("named mistakes", () => {
    const good = encodeFrame({ kind: "table", last: true, entries: [{ name: "web", file: null }] });
    const broken = (change: (bytes: Uint8Array) => void): Uint8Array => {
      const bytes = new Uint8Array(good);
      change(bytes);
      return bytes;
    };
    const bad: Uint8Array[] = [
      new Uint8Array(0),
      good.subarray(0, 7),
      broken((bytes) => (bytes[0] = 0)), // magic
      broken((bytes) => (bytes[4] = HANDOVER_VERSION + 1)),
      broken((bytes) => (bytes[5] = 8)), // kind
      broken((bytes) => (bytes[6] = 5)), // two entries, of which one is here
      broken((bytes) => (bytes[7] = 255)),
      broken((bytes) => (bytes[8] = 2)), // flags
      broken((bytes) => (bytes[9] = 200)), // a name that does not end
      broken((bytes) => (bytes[10] = 1)), // a path without a file
      broken((bytes) => (bytes[12] = 0x3a)), // a colon
      broken((bytes) => (bytes[12] = 0xff)), // no UTF-8
      new Uint8Array([...good, 0]),
      new Uint8Array(FRAME_BYTES + 1),
    ];
    for (const [i, bytes] of bad.entries()) expect([i, decodeFrame(bytes)]).toEqual([i, null]);
    const file = (path: string, dev = 1): HandoverFrame => ({
      kind: "table",
      last: true,
      entries: [{ name: "x", file: { path: new TextEncoder().encode(path), dev, ino: 1 } }],
    });
    for (const one of [
      file("relative"),
      file(""),
      file("/a\0b"),
      file("/a", 0.5),
      file("/a", -1),
    ]) {
      expect(decodeFrame(encodeFrame(one))).toBeNull();
    }
  });
});

test("versions part in peace: refusals are understood in every one", () => {
  const bytes = encodeFrame({ kind: "refused", reason: "version 2 here" });
  bytes[4] = 2;
  expect(decodeFrame(bytes)).toEqual({ kind: "refused", reason: "version 2 here" });
  const hello = encodeFrame({ kind: "hello" });
  hello[4] = 2;
  expect(decodeFrame(hello)).toBeNull();
});

test("a long reason is cut between characters", () => {
  const frame = decodeFrame(encodeFrame({ kind: "failed", reason: `x${"é".repeat(2_000)}` }));
  if (frame?.kind !== "failed") throw new Error("not understood");
  expect(frame.reason).toMatch(/^xé+$/);
  expect(frame.reason.length).toBe(512);
});

test("what does not fit is not written", () => {
  const entry = (name: string, path: string): HandoverFrame => ({
    kind: "table",
    last: true,
    entries: [{ name, file: { path: new TextEncoder().encode(path), dev: 1, ino: 1 } }],
  });
  expect(() => encodeFrame(entry("n".repeat(256), "/x"))).toThrow(RangeError);
  expect(() => encodeFrame(entry("n", "/".repeat(5_000)))).toThrow(RangeError);
});

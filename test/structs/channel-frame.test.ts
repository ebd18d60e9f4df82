// The headers of a channel's frames: the vectors of docs/channel.md, back and forth, and garbage.

import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  CHANNEL_HEADER,
  type ChannelHeader,
  decodeChannelHeader,
  encodeChannelHeader,
  MAX_FRAME_BYTES,
  MAX_FRAME_FDS,
} from "../../src/structs/channel-frame.ts";
import { vectors } from "../api/channel-frames.ts";

const encoded = (header: ChannelHeader): Uint8Array => {
  const bytes = new Uint8Array(CHANNEL_HEADER);
  encodeChannelHeader(bytes, header);
  return bytes;
};

test("the vectors of docs/channel.md are frames, whole, and written in the one way", () => {
  const all = vectors();
  expect(all).toHaveLength(9);
  for (const { bytes } of all) {
    const header = decodeChannelHeader(bytes, 0)!;
    expect(header.bytes).toBe(bytes.length - CHANNEL_HEADER);
    expect(encoded(header)).toEqual(new Uint8Array(bytes.subarray(0, CHANNEL_HEADER)));
  }
  const headers = all.map(({ bytes }) => decodeChannelHeader(bytes, 0)!);
  expect(headers.map(({ kind }) => kind)).toEqual([
    "message",
    "message",
    "message",
    "request",
    "answer",
    "error",
    "cancel",
    "message",
    "message",
  ]);
  expect(headers.map(({ number }) => number)).toEqual([0, 0, 0, 7, 7, 8, 9, 0, 0]);
  expect(headers.map(({ fds }) => fds)).toEqual([0, 1, 0, 0, 0, 0, 0, 0, 0]);
  expect(headers.filter(({ more }) => more)).toHaveLength(1);
});

const header: fc.Arbitrary<ChannelHeader> = fc
  .record({
    kind: fc.constantFrom("message", "request", "answer", "error", "cancel"),
    more: fc.boolean(),
    fds: fc.nat({ max: MAX_FRAME_FDS }),
    bytes: fc.nat({ max: MAX_FRAME_BYTES }),
    number: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
  })
  .map((one) => {
    const { kind } = one;
    if (kind === "message") return { ...one, number: 0 };
    if (kind === "cancel") return { ...one, more: false, fds: 0, bytes: 0 };
    return kind === "error" ? { ...one, fds: 0 } : one;
  }) as fc.Arbitrary<ChannelHeader>;

test("every header comes back as it was", () => {
  fc.assert(
    fc.property(header, (one) => {
      expect(decodeChannelHeader(encoded(one), 0)).toEqual(one);
    }),
  );
});

test("whatever else comes is null, or the only way to write what it says", () => {
  const few = fc.uint8Array({ minLength: 12, maxLength: 12 });
  const near = fc
    .tuple(header, fc.nat({ max: 11 }), fc.nat({ max: 255 }))
    .map(([one, at, byte]) => {
      const bytes = encoded(one);
      bytes[at] = byte;
      return bytes;
    });
  fc.assert(
    fc.property(fc.oneof(few, near), (bytes) => {
      const found = decodeChannelHeader(bytes, 0);
      if (found === null) return;
      expect(encoded(found)).toEqual(bytes);
      expect(found.fds).toBeLessThanOrEqual(MAX_FRAME_FDS);
      expect(found.number === 0).toBe(found.kind === "message");
      if (found.kind === "cancel")
        expect([found.bytes, found.fds, found.more]).toEqual([0, 0, false]);
      if (found.kind === "error") expect(found.fds).toBe(0);
    }),
  );
});

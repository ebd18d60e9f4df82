// Fuzzing: frames of a channel, in one piece, cut anywhere, and as packets.

import { expect } from "bun:test";
import { dataOf, type Frame, FrameReader } from "../../src/channel/frames.ts";
import { Room } from "../../src/channel/room.ts";
import { UnixError } from "../../src/errors.ts";
import { Received } from "../../src/socket/message.ts";
import { frame, vectors } from "../api/channel-frames.ts";
import type { Target } from "./engine.ts";

const LIMIT = 1000;

/** Where pieces are received, one over the other. */
const room = new Room(64 * 1024);

/** What comes of these pieces: messages, and the code of what is wrong. */
function read(pieces: readonly Uint8Array[], packets: boolean): string[] {
  const reader = new FrameReader({ maxMessageBytes: LIMIT, maxFds: 4 }, packets);
  const said: string[] = [];
  try {
    for (const piece of pieces) {
      room.bytes.fill(0xff).set(piece);
      reader.push(room, piece.length, new Received(piece.length, null));
      for (let one = reader.next(); one !== undefined; one = reader.next()) said.push(tell(one));
      reader.keep();
    }
    said.push(reader.partial ? "half" : "whole");
  } catch (error) {
    if (!(error instanceof UnixError)) throw error;
    said.push(error.code);
  }
  reader.close();
  return said;
}

function tell(frame: Frame): string {
  const { kind, number, fds } = frame;
  const data = dataOf(frame);
  expect(data.length <= LIMIT).toBe(true);
  expect(fds).toHaveLength(0);
  return `${kind} ${number} ${Buffer.from(data).toString("hex")}`;
}

/** Pieces of the sizes that the bytes themselves say: any, and always the same. */
function cut(bytes: Uint8Array): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < bytes.length; ) {
    const size = 1 + (((bytes[at] ?? 0) * 7 + pieces.length) % 23);
    pieces.push(bytes.subarray(at, at + size));
    at += size;
  }
  return pieces;
}

export const channelFrames: Target = {
  name: "channel",
  seeds: [
    ...vectors().map(({ bytes }) => bytes),
    Buffer.concat(vectors().map(({ bytes }) => bytes)),
    Buffer.concat([frame("a", { flags: 1 }), frame("", { fds: 0 }), frame("b".repeat(900))]),
    Buffer.concat([frame("a".repeat(900), { flags: 1 }), frame("b".repeat(101))]),
  ],
  run(bytes) {
    const whole = read(bytes.length > 0 ? [bytes] : [], false);
    expect(read(cut(bytes), false)).toEqual(whole);
    const packets = read(bytes.length > 0 ? [bytes] : [], true);
    if (whole.at(-1) === "half" && packets.at(-1) !== "half") expect(packets.at(-1)).toBe("EPROTO");
    else expect(packets).toEqual(whole);
  },
};

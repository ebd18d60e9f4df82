// Fuzzing: what other processes and the kernel write to us in binary.

import { expect } from "bun:test";
import { decodeUcred } from "../../src/structs/credentials.ts";
import {
  decodeAnswer,
  decodeOffer,
  encodeAnswer,
  encodeOffer,
} from "../../src/structs/fd-offer.ts";
import * as handover from "../../src/structs/handover-frame.ts";
import { decodePidfdInfo, decodeWait } from "../../src/structs/process.ts";
import * as queue from "../../src/structs/queue-frame.ts";
import { decodeSiginfo } from "../../src/structs/siginfo.ts";
import {
  addressRoom,
  decodeSockaddr,
  encodeSockaddr,
  fitsSockaddr,
} from "../../src/structs/sockaddr-un.ts";
import { decodeDump, type UnixRecord } from "../../src/structs/unix-diag.ts";
import { build, decodeWatched, oracle, PIDFD, RIGHTS, SOL_SOCKET } from "../structs/control.ts";
import { channelFrames } from "./channel.ts";
import type { Target } from "./engine.ts";

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);
const viewOf = ({ buffer, byteOffset, byteLength }: Uint8Array): DataView =>
  new DataView(buffer, byteOffset, byteLength);
const bytesOf = ({ buffer, byteOffset, byteLength }: DataView): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

const control: Target = {
  name: "control",
  seeds: [
    bytesOf(build([{ level: SOL_SOCKET, type: RIGHTS, data: [3, 0, 0, 0, 4, 0, 0, 0] }])),
    bytesOf(
      build([
        { level: SOL_SOCKET, type: PIDFD, data: [9, 0, 0, 0] },
        { level: SOL_SOCKET, type: 2, data: [1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0] },
        { level: SOL_SOCKET, type: 3, data: [97, 98, 0] },
        { level: 41, type: RIGHTS, data: [1, 2, 3, 4] },
      ]),
    ),
  ],
  run(bytes) {
    const view = viewOf(bytes);
    expect(decodeWatched(view, bytes.length)).toEqual(oracle(view, bytes.length));
    decodeWatched(view, bytes.length >> 1);
  },
};

const sockaddr: Target = {
  name: "sockaddr",
  seeds: ["/run/x.sock\0", "\0abstract\0name", "", "\0", "/\xff\0junk"].map((text) =>
    Buffer.concat([Uint8Array.of(1, 0), Buffer.from(text, "latin1")]),
  ),
  run(bytes) {
    for (const length of [bytes.length, bytes.length + 1, bytes.length >> 1]) {
      const address = decodeSockaddr(bytes, length);
      if (!fitsSockaddr(address)) continue;
      if (address.kind === "abstract" && address.name.length > 107) continue;
      const room = new Uint8Array(addressRoom);
      expect(decodeSockaddr(room, encodeSockaddr(address, room))).toEqual(address);
    }
  },
};

const tag = { tagLow: 0xdeadbeef, tagHigh: 7 };
const identity = { pid: 4711, fd: 12, inode: 2 ** 40 + 5, ...tag };

function queueFrame(write: (view: DataView) => number): Uint8Array {
  const view = new DataView(new ArrayBuffer(512));
  return new Uint8Array(view.buffer, 0, write(view));
}

const queueSeeds = [
  ...(["connect", "accept", "moved"] as const).map((kind) =>
    queueFrame((view) => queue.encodeIdentityFrame(view, kind, { to: tag, identity })),
  ),
  queueFrame((view) => queue.encodeRefusal(view, tag, 111)),
  queueFrame((view) => queue.encodeHeader(view, "end", tag)),
  queueFrame((view) => queue.encodeHeader(view, "close", tag)),
  queueFrame((view) => queue.encodeHeader(view, "data", tag) + 5),
  ...[null, identity, "/name"].map((from) =>
    queueFrame((view) => queue.encodeDatagram(view, tag, from) + 3),
  ),
];

function encodeAgain(frame: queue.Frame, view: DataView): number {
  switch (frame.kind) {
    case "connect":
    case "accept":
    case "moved":
      return queue.encodeIdentityFrame(view, frame.kind, { to: frame, identity: frame.identity });
    case "refuse":
      return queue.encodeRefusal(view, frame, frame.errno);
    case "datagram":
      return queue.encodeDatagram(view, frame, frame.from);
    default:
      return queue.encodeHeader(view, frame.kind, frame);
  }
}

/** Frames of queue sockets. */
export const queueFrames: Target = {
  name: "queue-frame",
  seeds: queueSeeds,
  run(bytes) {
    const frame = queue.decodeFrame(viewOf(bytes), bytes.length);
    const padded = new Uint8Array(bytes.length + 64).fill(0x5a);
    padded.set(bytes);
    expect(queue.decodeFrame(viewOf(padded), bytes.length)).toEqual(frame);
    if (frame === null) return;
    const view = new DataView(new ArrayBuffer(512));
    const length = encodeAgain(frame, view);
    expect(new Uint8Array(view.buffer, 0, length)).toEqual(bytes.slice(0, length));
  },
};

const file = { path: utf8("/run/web.sock"), dev: 2049, ino: 77 };

/** Messages of a handover. */
export const handoverFrames: Target = {
  name: "handover-frame",
  seeds: [
    ...(["hello", "ready", "yours", "taken"] as const).map((kind) => ({ kind })),
    { kind: "busy" as const, pid: 4711 },
    { kind: "refused" as const, reason: "no" },
    { kind: "failed" as const, reason: "späť" },
    { kind: "table" as const, last: false, entries: [{ name: "", file }] },
    {
      kind: "table" as const,
      last: true,
      entries: [
        { name: "web", file },
        { name: "b", file: null },
      ],
    },
  ].map((frame) => handover.encodeFrame(frame)),
  run(bytes) {
    const frame = handover.decodeFrame(bytes);
    if (frame === null) return;
    const again = handover.encodeFrame(frame);
    expect(handover.decodeFrame(again)).toEqual(frame);
    if (frame.kind === "refused" || frame.kind === "failed") return; // of any version
    expect(again).toEqual(bytes);
  },
};

const parties = { from: { pid: 12, start: "345" }, to: { pid: 678, start: "9" } };

const offers: Target = {
  name: "fd-offer",
  seeds: [encodeOffer(parties, "0123abcd"), encodeAnswer(0), encodeAnswer(13)],
  run(bytes) {
    const answer = decodeAnswer(bytes);
    if (answer !== null) expect(encodeAnswer(answer)).toEqual(bytes);
    const offer = decodeOffer(bytes);
    if (offer === null) return;
    for (const { pid, start } of [offer.from, offer.to]) {
      expect([pid >= 0, /^\d+$/.test(start)]).toEqual([true, true]);
    }
    expect(decodeOffer(encodeOffer(offer, "0"))).toEqual(offer);
  },
};

const SIGINFO_BYTES = 128;

const signals: Target = {
  name: "siginfo",
  seeds: [-1, 0, -2, -6, 1, 128].map((code) => {
    const words = new Int32Array(SIGINFO_BYTES / 4);
    words.set([10, 0, code, 0, 4711, 1000, -5, 0]);
    return new Uint8Array(words.buffer);
  }),
  run(bytes) {
    const room = new Uint8Array(SIGINFO_BYTES);
    room.set(bytes.subarray(0, SIGINFO_BYTES));
    const info = decodeSiginfo(viewOf(room), 0);
    expect(info.number).toBe(viewOf(room).getInt32(0, true));
    expect(info.pid === undefined || info.pid > 0).toBe(true);
    expect((info.value === undefined) === (info.pointer === undefined)).toBe(true);
    if (info.value !== undefined) expect(BigInt.asIntN(32, info.pointer!)).toBe(BigInt(info.value));
    decodeUcred(viewOf(room), 0);
    decodeWait(viewOf(room));
    decodePidfdInfo(viewOf(room));
  },
};

/** A netlink message with its header; the length is the truth. */
function netlink(type: number, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(16 + body.length);
  const view = viewOf(bytes);
  view.setUint32(0, bytes.length, true);
  view.setUint16(4, type, true);
  bytes.set(body, 16);
  return bytes;
}

function diagRecord(
  ...attributes: readonly (readonly [type: number, data: Uint8Array])[]
): Uint8Array {
  const parts: Uint8Array[] = [Uint8Array.of(1, 1, 10, 0, 55, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0)];
  for (const [type, data] of attributes) {
    const padded = new Uint8Array(4 + Math.ceil(data.length / 4) * 4);
    padded.set([4 + data.length, 0, type, 0]);
    padded.set(data, 4);
    parts.push(padded);
  }
  return netlink(20, Buffer.concat(parts));
}

const MESSAGE_BYTES = 16;

const diag: Target = {
  name: "unix-diag",
  seeds: [
    diagRecord([0, utf8("/run/x")], [1, Uint8Array.of(7, 0, 0, 0, 1, 0, 16, 0)]),
    Buffer.concat([
      diagRecord([0, utf8("\0name")], [4, new Uint8Array(8)], [2, Uint8Array.of(9, 0, 0, 0)]),
      diagRecord([6, Uint8Array.of(3)], [7, Uint8Array.of(1, 2, 3, 4)]),
      netlink(3, new Uint8Array(4)),
    ]),
    netlink(2, Uint8Array.of(0xf3, 0xff, 0xff, 0xff)),
  ],
  run(bytes) {
    const records: UnixRecord[] = [];
    const result = decodeDump(viewOf(bytes), bytes.length, records);
    expect(result <= 1).toBe(true);
    expect(records.length * 2 * MESSAGE_BYTES <= bytes.length).toBe(true);
    for (const { name, inode } of records) {
      expect(inode >= 0).toBe(true);
      if (name?.kind === "abstract") expect(name.name.length <= bytes.length).toBe(true);
    }
  },
};

/** All of them. */
export const protocols: readonly Target[] = [
  control,
  sockaddr,
  queueFrames,
  handoverFrames,
  offers,
  signals,
  diag,
  channelFrames,
];

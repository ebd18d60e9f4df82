// The answers of sock_diag, built here byte by byte; then bytes that no kernel sends.

import { describe, expect, test } from "bun:test";
import { statSync } from "node:fs";
import fc from "fast-check";
import { deviceNumber, deviceParts, statDevice } from "../../src/structs/device.ts";
import {
  decodeDump,
  encodeDumpRequest,
  isBoundTo,
  requestBytes,
  type UnixRecord,
} from "../../src/structs/unix-diag.ts";

const DIAG = 20;
const ERROR = 2;
const DONE = 3;
const [NAME, VFS, PEER, QUEUES, MEMORY, SHUTDOWN, UID] = [0, 1, 2, 4, 5, 6, 7] as const;

const u32 = (...values: number[]): number[] =>
  values.flatMap((value) => [...new Uint8Array(Uint32Array.of(value).buffer)]);
const u16 = (value: number): number[] => [value & 0xff, (value >> 8) & 0xff];
const padded = (bytes: readonly number[]): number[] => {
  const rest = (4 - (bytes.length % 4)) % 4;
  return [...bytes, ...new Array<number>(rest).fill(0)];
};

/** One attribute; `length` where its header does not say the truth. */
const attribute = (type: number, data: readonly number[], length = data.length + 4): number[] =>
  padded([...u16(length), ...u16(type), ...data]);

/** One netlink message. */
const message = (type: number, body: readonly number[], length = body.length + 16): number[] =>
  padded([...u32(length), ...u16(type), ...u16(2), ...u32(0, 0), ...body]);

interface Head {
  readonly family?: number;
  readonly type?: number;
  readonly state?: number;
  readonly inode?: number;
}

const socket = ({ family = 1, type = 1, state = 10, inode = 4711 }: Head, ...rest: number[][]) =>
  message(DIAG, [family, type, state, 0, ...u32(inode, 1, 2), ...rest.flat()]);

const bytesOf = (text: string): number[] => [...new TextEncoder().encode(text)];
const viewOf = (bytes: readonly number[]): DataView =>
  new DataView(Uint8Array.from(bytes).buffer as ArrayBuffer);

function decode(bytes: readonly number[]): { state: number; records: UnixRecord[] } {
  const records: UnixRecord[] = [];
  return { state: decodeDump(viewOf(bytes), bytes.length, records), records };
}

const bare: UnixRecord = {
  type: "stream",
  state: "listening",
  inode: 4711,
  name: null,
  file: null,
  peer: null,
  receiveQueue: null,
  sendQueue: null,
  shutdown: null,
  uid: null,
};

test("the request is what sock_diag(7) describes", () => {
  const room = new DataView(new ArrayBuffer(requestBytes));
  encodeDumpRequest(room);
  const all = 0xffffffff;
  const header = [...u32(40), ...u16(DIAG), ...u16(0x301), ...u32(0, 0)];
  const body = [1, 0, 0, 0, ...u32(all, 0, 0x01 | 0x02 | 0x04 | 0x10 | 0x40, all, all)];
  expect([...new Uint8Array(room.buffer)]).toEqual([...header, ...body]);
});

describe("what the kernel sends", () => {
  test("a socket with everything", () => {
    const name = attribute(NAME, [...bytesOf("/run/x"), 0]);
    const file = attribute(VFS, u32(99, (254 << 20) | 3));
    const rest = [attribute(PEER, u32(12)), attribute(QUEUES, u32(3, 128)), attribute(UID, u32(7))];
    const skipped = attribute(MEMORY, u32(1, 2, 3, 4, 5, 6, 7, 8, 9));
    const shut = attribute(SHUTDOWN, [3]);
    const { records } = decode(socket({}, name, file, skipped, ...rest, shut));
    expect(records).toEqual([
      {
        ...bare,
        name: { kind: "path", path: "/run/x" },
        file: { dev: 254 * 256 + 3, ino: 99 },
        peer: 12,
        receiveQueue: 3,
        sendQueue: 128,
        shutdown: "both",
        uid: 7,
      },
    ]);
  });

  test("types and states, one message behind the other", () => {
    const heads = [
      { type: 1, state: 1 },
      { type: 2, state: 7 },
      { type: 5, state: 10 },
    ];
    const { state, records } = decode(heads.flatMap((head) => socket(head)));
    expect(state).toBe(1);
    expect(records.map(({ type, state }) => `${type} ${state}`)).toEqual([
      "stream connected",
      "datagram unconnected",
      "seqpacket listening",
    ]);
  });

  test("abstract names, byte for byte; a path that is no UTF-8; shutdowns", () => {
    const names = [[0, ...bytesOf("a\0b")], [0], [0x2f, 0xff, 0]];
    const { records } = decode(names.flatMap((name) => socket({}, attribute(NAME, name))));
    expect(records.map(({ name }) => name)).toEqual([
      { kind: "abstract", name: Uint8Array.from(bytesOf("a\0b")) },
      { kind: "abstract", name: new Uint8Array() },
      { kind: "path", path: Uint8Array.of(0x2f, 0xff) },
    ]);
    const shut = [0, 1, 2, 3].flatMap((how) => socket({}, attribute(SHUTDOWN, [how])));
    const said = decode(shut).records.map(({ shutdown }) => shutdown);
    expect(said).toEqual(["none", "read", "write", "both"]);
  });

  test("the end, an error, an error at the end; what follows is not read", () => {
    expect(decode(message(DONE, u32(0))).state).toBe(0);
    expect(decode(message(DONE, [])).state).toBe(0);
    expect(decode(message(DONE, u32(-12))).state).toBe(-12);
    expect(decode(message(ERROR, [...u32(-2), ...new Array<number>(16).fill(0)])).state).toBe(-2);
    expect(decode(message(ERROR, u32(5))).state).toBe(0);
    const { state, records } = decode([...socket({}), ...message(DONE, u32(0)), ...socket({})]);
    expect([state, records.length]).toEqual([0, 1]);
  });

  test("a peer that is gone, other families, unknown types, messages of another kind", () => {
    const others = [socket({ family: 2 }), socket({ type: 3 }), message(77, u32(1, 2, 3, 4))];
    expect(decode(others.flat()).records).toEqual([]);
    expect(decode(socket({}, attribute(PEER, u32(0)))).records[0]?.peer).toBe(0);
  });
});

describe("lengths that are not the truth", () => {
  test("a message that says it is longer than all there is", () => {
    for (const length of [33, 1_000, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1]) {
      const body = [1, 1, 10, 0, ...u32(4711, 1, 2)];
      expect(decode(message(DIAG, body, length)).records).toEqual([bare]);
    }
  });

  test("a message that says it is shorter than its header ends it all", () => {
    for (const length of [0, 1, 15]) {
      expect(decode([...message(DIAG, [], length), ...socket({})])).toEqual({
        state: 1,
        records: [],
      });
    }
  });

  test("attributes that are too short, too long, or cut off", () => {
    const good = attribute(PEER, u32(12));
    const of = (one: number[]): UnixRecord => decode(socket({}, good, one)).records[0]!;
    expect(of(attribute(VFS, u32(1), 12))).toEqual({ ...bare, peer: 12 });
    expect(of(attribute(UID, [1, 2]))).toEqual({ ...bare, peer: 12 });
    expect(of(attribute(UID, u32(5), 0xffff))).toEqual({ ...bare, peer: 12, uid: 5 });
    expect(of(attribute(UID, u32(5), 3))).toEqual({ ...bare, peer: 12 });
    expect(of(attribute(NAME, []))).toEqual({ ...bare, peer: 12 });
  });
});

const byte = fc.integer({ min: 0, max: 255 });
const hostileAttribute = fc
  .tuple(fc.nat(9), fc.array(byte, { maxLength: 20 }), fc.option(fc.integer({ max: 0xffff })))
  .map(([type, data, length]) => attribute(type, data, length ?? undefined));
const hostileMessage = fc
  .record({
    type: fc.constantFrom(DIAG, DIAG, DIAG, DIAG, 0, 1, ERROR, DONE, 4),
    head: fc.tuple(fc.constantFrom(1, 1, 1, 2), fc.constantFrom(1, 2, 5, 0), byte, byte),
    rest: fc.array(hostileAttribute, { maxLength: 6 }),
    length: fc.option(fc.oneof(fc.nat(80), fc.nat(2 ** 32 - 1)), { freq: 3 }),
  })
  .map(({ type, head, rest, length }) =>
    message(type, [...head, ...u32(1, 2, 3), ...rest.flat()], length ?? undefined),
  );

/** Decodes the first `length` of `bytes` where nothing lies behind them, and where poison does. */
function bothWays(bytes: readonly number[], length: number): void {
  const alone = decode(bytes.slice(0, length));
  for (const poison of [0, 4, 255]) {
    const padding = new Array<number>(64).fill(poison);
    const all = viewOf([...padding, ...bytes.slice(0, length), ...padding]);
    const inside = new DataView(all.buffer, padding.length);
    const records: UnixRecord[] = [];
    const state = decodeDump(inside, Math.min(length, bytes.length), records);
    expect({ state, records }).toEqual(alone);
  }
  expect([1, 0].includes(alone.state) || alone.state < 0).toBe(true);
  expect(alone.records.length).toBeLessThanOrEqual(bytes.length / 32);
}

describe("any bytes", () => {
  test("random ones: no throw, nothing read from behind", () => {
    const any = fc.array(byte, { maxLength: 200 });
    fc.assert(fc.property(any, fc.nat(200), bothWays), { numRuns: 2_000 });
  });

  test("messages with any lengths and attributes, cut anywhere", () => {
    const many = fc.array(hostileMessage, { maxLength: 5 }).map((all) => all.flat());
    fc.assert(fc.property(many, fc.nat(600), bothWays), { numRuns: 3_000 });
  });

  test("small words: these look like headers more often", () => {
    const word = fc.oneof(fc.nat(40), fc.integer());
    const any = fc.array(word, { maxLength: 60 }).map((words) => u32(...words));
    fc.assert(fc.property(any, fc.nat(240), bothWays), { numRuns: 2_000 });
  });

  test("a length beyond the view is cut to it", () => {
    const bytes = socket({});
    const records: UnixRecord[] = [];
    expect(decodeDump(viewOf(bytes), 1_000_000, records)).toBe(1);
    expect(records).toEqual([bare]);
  });
});

describe("device numbers", () => {
  test("as makedev(3) puts them together", () => {
    const major = fc.nat(0xfff);
    const minor = fc.nat(0xfffff);
    fc.assert(
      fc.property(major, minor, (major, minor) => {
        const dev = deviceNumber(major, minor);
        expect([(dev >>> 8) & 0xfff, (dev & 0xff) | ((dev >>> 12) & 0xfff00)]).toEqual([
          major,
          minor,
        ]);
        expect(statDevice(((major << 20) | minor) >>> 0)).toBe(dev);
        expect(deviceParts(dev)).toEqual({ major, minor });
      }),
    );
  });

  test("as stat says: /dev/null is device (1, 3)", () => {
    expect(statSync("/dev/null").rdev).toBe(deviceNumber(1, 3));
  });

  test("a file is the same by device and the inode's low 32 bits", () => {
    const record: UnixRecord = { ...bare, file: { dev: 5, ino: 7 } };
    expect(isBoundTo(record, { dev: 5, ino: 7 })).toBe(true);
    expect(isBoundTo(record, { dev: 5, ino: 2 ** 40 + 7 })).toBe(true);
    expect(isBoundTo(record, { dev: 6, ino: 7 })).toBe(false);
    expect(isBoundTo(record, { dev: 5, ino: 8 })).toBe(false);
    expect(isBoundTo(bare, { dev: 5, ino: 7 })).toBe(false);
  });
});

// Memory that C sees: it stays where it is, and addresses are those of the bytes that were meant.

import { read } from "bun:ffi";
import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { msghdr } from "../../native/socket.ts";
import { MessageHeader } from "../../src/syscalls/header.ts";
import {
  addressOf,
  asPointer,
  bytesToC,
  cells,
  cString,
  Memory,
} from "../../src/syscalls/memory.ts";
import { recvmmsg, recvmsg, sendmmsg, sendmsg } from "../../src/syscalls/message.ts";
import { batch, Scope, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM } from "./sockets.ts";

const at = (address: number, offset = 0): number => read.u8(asPointer(address), offset);

/** The bytes at an address. */
const bytesAt = (address: number, count: number): number[] =>
  Array.from({ length: count }, (_, i) => at(address, i));

describe("Memory", () => {
  test("is zeroed, aligned to 8 and rounded up to 8", () => {
    for (const size of [1, 7, 8, 9, 64, 1_000]) {
      const memory = new Memory(size);
      expect(memory.buffer.byteLength).toBe(Math.ceil(size / 8) * 8);
      expect(memory.address % 8).toBe(0);
      expect(memory.bytes.every((byte) => byte === 0)).toBeTrue();
    }
  });

  test("its four views and its address are the same bytes, also after collections", () => {
    const all = Array.from({ length: 2_000 }, (_, i) => new Memory(8 + (i % 64)));
    for (const [i, { view }] of all.entries()) view.setUint32(0, i, true);
    for (let i = 0; i < 5; i++) Bun.gc(true);
    const wrong = all.filter(
      ({ address, words, bytes }, i) =>
        read.u32(asPointer(address), 0) !== i || words[0] !== i || bytes[0] !== (i & 255),
    );
    expect(wrong).toEqual([]);
  });
});

describe("addressOf", () => {
  test("any part of any array", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 2_000 }), fc.nat(), (bytes, n) => {
        const from = n % bytes.length;
        const part = bytes.subarray(from);
        const seen = bytesAt(addressOf(part), Math.min(part.length, 8));
        expect(seen).toEqual([...bytes.slice(from, from + 8)]);
      }),
    );
  });

  test("every kind of view", () => {
    const buffer = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16).buffer;
    expect(at(addressOf(new DataView(buffer, 3)))).toBe(4);
    expect(at(addressOf(new Uint16Array(buffer, 2)))).toBe(3);
    expect(at(addressOf(new Float64Array(buffer, 8)))).toBe(9);
    expect(at(addressOf(Buffer.from("xyz").subarray(1)))).toBe(0x79);
  });

  test("no bytes have an address too, which C may take with a length of 0", () => {
    expect(addressOf(new Uint8Array(0))).toBe(cells.address);
    expect(addressOf(new Uint8Array(8).subarray(8))).toBe(cells.address);
  });
});

test("C strings end with a NUL", () => {
  for (const text of ["", "a", "abcdefg", "abcdefgh", "é"]) {
    const bytes = new TextEncoder().encode(text);
    for (const memory of [cString(text), bytesToC(bytes)]) {
      expect(bytesAt(memory.address, bytes.length + 1)).toEqual([...bytes, 0]);
    }
  }
});

describe("an envelope", () => {
  const word = (address: number, offset: number): number =>
    Number(read.u64(asPointer(address), offset));

  test("its header points at its own parts", () => {
    const envelope = MessageHeader.single(3);
    envelope.name.set([1, 2, 3]);
    envelope.nameBytes = 3; // without a name there is no pointer to it
    envelope.control.setUint32(0, 0x04030201, true);
    expect(bytesAt(word(envelope.address, msghdr.at.msg_name), 3)).toEqual([1, 2, 3]);
    expect(bytesAt(word(envelope.address, msghdr.at.msg_control), 4)).toEqual([1, 2, 3, 4]);
    expect(word(envelope.address, msghdr.at.msg_control) % 8).toBe(0);
  });

  test("many parts are gathered in their order", () => {
    using scope = new Scope();
    const [a, b] = scope.pair(SOCK_STREAM);
    const parts = ["one, ", "", "two, ", "three"].map(cString);
    const out = MessageHeader.single(parts.length);
    for (const [i, part] of parts.entries()) {
      out.part(i, part.address, part.bytes.indexOf(0));
    }
    out.parts = parts.length;
    expect(sendmsg(a, out)).toBe(15);
    const room = new Memory(64);
    const into = MessageHeader.single(1);
    into.part(0, room.address, 64);
    expect(recvmsg(b, into, true)).toBe(15);
    expect(new TextDecoder().decode(room.bytes.subarray(0, 15))).toBe("one, two, three");
    expect([into.nameBytes, into.controlBytes]).toEqual([0, 0]);
  });

  test("a batch counts each of its own", () => {
    using scope = new Scope();
    for (const type of [SOCK_DGRAM, SOCK_SEQPACKET]) {
      const [a, b] = scope.pair(type);
      const texts = ["a", "bb", "ccc"].map(cString);
      const out = batch(3);
      for (const [i, one] of out.entries()) one.part(0, texts[i]!.address, i + 1);
      expect(sendmmsg(a, out, 3)).toBe(3);
      expect(out.map((one) => one.transferred)).toEqual([1, 2, 3]);
      const rooms = Array.from({ length: 8 }, () => new Memory(8));
      const into = batch(8);
      for (const [i, one] of into.entries()) one.part(0, rooms[i]!.address, 8);
      expect(recvmmsg(b, into, 8, true)).toBe(3);
      expect(into.slice(0, 3).map((one) => one.transferred)).toEqual([1, 2, 3]);
      expect(rooms.slice(0, 3).map(({ bytes }) => bytes[0])).toEqual([0x61, 0x62, 0x63]);
    }
  });
});

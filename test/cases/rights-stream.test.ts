// Descriptors among bytes: which receive brings them, where one send ends and the next begins.

import { describe, expect, test } from "bun:test";
import { libc } from "../../src/syscalls/libc.ts";
import { Memory } from "../../src/syscalls/memory.ts";
import { result } from "../../src/syscalls/result.ts";
import { MSG_PEEK, ofKind, Raw, said, send } from "./raw.ts";

describe.each(ofKind("stream"))("$name", ({ open }) => {
  test("they come with the first byte: read(2) of half loses them (RTS-11)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { data: "1234", fds: [0] });
    const room = new Memory(16);
    expect(said(result(libc.read(far, room.address, 2)))).toBe(2);
    const rest = raw.receive(far);
    expect([rest.text, rest.fds.length]).toEqual(["34", 0]);
  });

  test("a receive takes what is before and stops after: 4, 1 with one, 4 (RTS-12, RTS-13)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { data: "0123" });
    send(near, { data: "4", fds: [0] });
    send(near, { data: "5678" });
    send(near, { data: "9", fds: [0, 1] });
    send(near, { data: "a", fds: [0, 1, 2] });
    const seen = [0, 1, 2, 3].map(() => raw.receive(far));
    expect(seen.map(({ text, fds }) => `${text} ${fds.length}`)).toEqual([
      "01234 1",
      "56789 2",
      "a 3",
      " 0",
    ]);
  });

  test("the tail of one send comes with the descriptors of the next (RTS-14)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { data: "1234", fds: [0] });
    send(near, { data: "5678", fds: [0, 1] });
    const seen = [raw.receive(far, { bytes: 2 }), raw.receive(far)];
    expect(seen.map(({ text, fds }) => `${text} ${fds.length}`)).toEqual(["12 1", "345678 2"]);
  });

  test("a send taken in part has sent them, once, with the first part (RTS-15, RTS-16)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    const data = new Uint8Array(1 << 20);
    const sent = Number(send(near, { data, fds: [0] }));
    expect(sent).toBeLessThan(data.length);
    const seen: number[] = [];
    for (let got = 0; got < sent; ) {
      const part = raw.receive(far, { bytes: 10_000 });
      got += Number(part.result);
      seen.push(part.fds.length);
    }
    expect(seen[0]).toBe(1);
    expect(seen.slice(1).every((count) => count === 0)).toBe(true);
  });

  test("a peek that ends just before them brings them, a receive does not (RTS-18)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near, { data: "1234" });
    send(near, { data: "5", fds: [0] });
    const peeked = raw.receive(far, { bytes: 4, flags: MSG_PEEK });
    const received = raw.receive(far, { bytes: 4 });
    expect([peeked.text, received.text]).toEqual(["1234", "1234"]);
    expect([peeked.fds.length, received.fds.length]).toEqual([1, 0]);
    expect(raw.receive(far).fds.length).toBe(1);
  });
});

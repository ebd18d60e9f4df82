// consumeInto: everything that comes, in the caller's own bytes.

import { describe, expect, test } from "bun:test";
import { type Fd, socketPair } from "../../src/index.ts";
import { pairVariants } from "./pairs.ts";
import { eventually, isOpen, leakFree, marked, markOf, pattern, thrown, turns } from "./tools.ts";

describe.each(pairVariants)("$name", ({ open }) => {
  test("every byte, in order, and descriptors that were not taken are closed", () =>
    leakFree(async () => {
      using pair = await open();
      using fd = marked("beside");
      const room = new Uint8Array(1000);
      const got: number[] = [];
      const seen: string[] = [];
      let left: Fd | undefined;
      const each = pair.far.consumeInto(room, (received) => {
        got.push(...room.subarray(0, received.bytes));
        const [first] = received.fds;
        if (first === undefined) return;
        seen.push(markOf(first));
        left = first;
      });
      const sent: number[] = [];
      for (let i = 0; i < 300; i++) {
        const data = pattern(1 + (i % 100), i + 1);
        sent.push(...data);
        await pair.near.send(data, i === 150 ? { fds: [fd] } : {});
      }
      await eventually(() => got.length === sent.length, "all of it");
      expect(got).toEqual(sent);
      expect(seen).toEqual(["beside"]);
      expect(left?.closed).toBe(true);
      pair.far.close();
      await each;
    }));

  test("what the handler throws ends it, with the descriptors closed", () =>
    leakFree(async () => {
      using pair = await open();
      using fd = marked("beside");
      const reason = new Error("no more");
      let number = -1;
      const each = pair.far.consumeInto(new Uint8Array(10), (received) => {
        number = received.fds[0]!.fd;
        throw reason;
      });
      await pair.near.send("x", { fds: [fd] });
      expect(await thrown(() => each)).toBe(reason);
      expect(isOpen(number)).toBe(false);
    }));
});

test("the buffer is the handler's until its promise is settled", () =>
  leakFree(async () => {
    const [a, b] = socketPair("stream");
    const room = new Uint8Array(4);
    const texts: string[] = [];
    const text = (bytes: number): string => Buffer.from(room.subarray(0, bytes)).toString();
    const each = b.consumeInto(room, async ({ bytes }) => {
      const before = text(bytes);
      await turns();
      expect(text(bytes)).toBe(before);
      texts.push(before);
    });
    await a.send("abcdefghij");
    a.end();
    await each;
    expect(texts).toEqual(["abcd", "efgh", "ij"]);
    a.close();
    b.close();
  }));

test("a buffer that is none, or has no room, is refused at once", () => {
  const [a, b] = socketPair("stream");
  expect(() => a.consumeInto(new Uint8Array(), () => {})).toThrow(RangeError);
  expect(() => a.consumeInto("room" as unknown as Uint8Array, () => {})).toThrow(TypeError);
  a.close();
  b.close();
});

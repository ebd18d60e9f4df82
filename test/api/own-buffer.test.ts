// Datagrams so large that the sender's own buffer is full before the receiver's queue is.

import { describe, expect, test } from "bun:test";
import { openDatagram } from "../../src/index.ts";
import { freshPath } from "./pairs.ts";
import { leakFree, must, pattern, turns } from "./tools.ts";

describe("large datagrams from an unconnected sender", () => {
  test("datagrams that fill the sender's own buffer wait for that", () =>
    leakFree(async () => {
      const to = freshPath();
      using receiver = openDatagram(to);
      using sender = openDatagram();
      const sends = Promise.all(
        Array.from({ length: 50 }, (_, i) => sender.send(pattern(100_000, i + 1), { to })),
      );
      for (let i = 0; i < 50; i++) {
        const { data } = must(await receiver.receive());
        expect(Buffer.from(data).equals(pattern(100_000, i + 1))).toBe(true);
      }
      await sends;
    }));

  test("a sender whose own buffer is full at one receiver waits there for another one", () =>
    leakFree(async () => {
      const [first, second] = [freshPath(), freshPath()];
      using a = openDatagram(first);
      using b = openDatagram(second);
      using sender = openDatagram();
      for (let full = false; !full; ) {
        full = sender.trySend(Buffer.alloc(100_000), { to: first }) === null;
      }
      const sending = sender.send(Buffer.alloc(100_000, 1), { to: second });
      let settled = false;
      sending.finally(() => {
        settled = true;
      });
      await turns();
      expect(settled).toBe(false);
      while (a.tryReceive()) {}
      expect(must(await b.receive()).data[0]).toBe(1);
      await sending;
    }));
});

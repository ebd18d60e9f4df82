// Numbers of descriptors are used again at once: events of the old file never reach the new one.

import { expect, test } from "bun:test";
import { closeSync } from "node:fs";
import { socketPair, waitReadable } from "../../src/index.ts";
import { closeAll, codeOf, leakFree, must, pairWith, thrown, turns } from "../api/tools.ts";

test("a number that is closed and used again waits for its own file", () =>
  leakFree(async () => {
    const outcomes: string[] = [];
    for (let i = 0; i < 300; i++) {
      const [near, far] = socketPair("stream");
      const number = near.fd;
      const old = codeOf(() => near.receive());
      if (i % 2 === 0) await turns(); // registered with the kernel, or not yet
      far.trySend("for the old one"); // its event is on the way
      near.close();
      const [reused, other] = pairWith(number);
      let early = true;
      const fresh = reused.receive().then((message) => {
        outcomes.push(early ? "early" : must(message).text());
      });
      expect(await old).toBe("ERR_CLOSED");
      if (i % 3 === 0) await turns();
      early = false;
      await other.send("for the new one");
      await fresh;
      closeAll([reused, other, far]);
    }
    expect(new Set(outcomes)).toEqual(new Set(["for the new one"]));
  }));

test("a hang-up of the old file does not end the new one", () =>
  leakFree(async () => {
    for (let i = 0; i < 200; i++) {
      const [near, far] = socketPair("seqpacket");
      const number = near.fd;
      const old = codeOf(() => near.receive());
      await turns();
      far.close(); // the hang-up is noted by the kernel
      near.close(); // and nobody has looked yet
      const [reused, other] = pairWith(number, "seqpacket");
      let settled = false;
      const waiting = reused.receive().then((message) => {
        settled = true;
        return message;
      });
      await old;
      await turns();
      expect(settled).toBe(false);
      await other.send("alive");
      expect(must(await waiting).text()).toBe("alive");
      closeAll([reused, other]);
    }
  }));

test("two numbers that change places while both are waited for", () =>
  leakFree(async () => {
    let reused = 0;
    for (let i = 0; reused < 50; i++) {
      expect(i).toBeLessThan(2000); // Bun's own threads take a number now and then
      const first = socketPair("stream");
      const second = socketPair("stream");
      const waits = [first[0], second[0]].map((socket) => codeOf(() => socket.receive()));
      await turns();
      first[1].trySend("1");
      second[1].trySend("2");
      const numbers = [first[0].fd, second[0].fd];
      first[0].close();
      second[0].close();
      const third = socketPair("stream");
      if (third.every(({ fd }) => numbers.includes(fd))) reused++;
      const receiving = third.map((socket) => socket.receive());
      await turns();
      third[0].trySend("to 1");
      third[1].trySend("to 0");
      const texts = (await Promise.all(receiving)).map((message) => must(message).text());
      expect(texts).toEqual(["to 0", "to 1"]);
      expect(await Promise.all(waits)).toEqual(["ERR_CLOSED", "ERR_CLOSED"]);
      closeAll([...third, first[1], second[1]]);
    }
  }));

test("a number closed behind the library's back, then owned by a new socket", () =>
  leakFree(async () => {
    for (let i = 0; i < 100; i++) {
      const [near, far] = socketPair("stream");
      const number = near.release().release();
      const stop = new AbortController();
      const old = thrown(() => waitReadable(number, { signal: stop.signal }));
      old.catch(() => {}); // it may be told at any time that something was readable
      await turns();
      closeSync(number);
      const [reused, other] = pairWith(number);
      const receiving = reused.receive();
      await turns();
      await other.send("for the owner");
      expect(must(await receiving).text()).toBe("for the owner");
      stop.abort();
      await old.catch(() => {});
      await other.send("again");
      expect(must(await reused.receive()).text()).toBe("again");
      closeAll([reused, other, far]);
    }
  }));

// Sends wait for room: nothing is lost, nothing is out of order, nothing spins.

import { describe, expect, test } from "bun:test";
import { errno } from "../../native/errno.ts";
import { type DatagramSocket, openDatagram, socketPair } from "../../src/index.ts";
import { ends, freshAddress, freshPath, pairVariants } from "./pairs.ts";
import {
  codeOf,
  failure,
  fill,
  fillReceiver,
  leakFree,
  must,
  pattern,
  readExactly,
  thrown,
  turns,
} from "./tools.ts";

function watched(promise: Promise<void>): { readonly settled: boolean } {
  const state = { settled: false };
  const settle = (): void => {
    state.settled = true;
  };
  promise.then(settle, settle);
  return state;
}

describe.each(pairVariants)("$name", ({ open, stream }) => {
  test("a send resolves only when the kernel has taken all of it", () =>
    leakFree(async () => {
      using pair = await open();
      const filled = fill(pair.near, Buffer.alloc(1024));
      const sending = pair.near.send(Buffer.alloc(1024, 1));
      const state = watched(sending);
      await turns();
      expect([state.settled, pair.near.queuedBytes]).toEqual([false, 1024]);
      let got = 0;
      while (got < (filled + 1) * 1024) got += must(await pair.far.receive()).data.length;
      await sending;
      expect(pair.near.queuedBytes).toBe(0);
    }));

  test("1,000 queued sends arrive in the order of asking", () =>
    leakFree(async () => {
      using pair = await open();
      const bodies = Array.from({ length: 1000 }, (_, i) => pattern(1 + ((i * 31) % 2000), i + 1));
      const order: number[] = [];
      const sends = bodies.map((body, i) => pair.near.send(body).then(() => order.push(i)));
      expect(pair.near.queuedBytes).toBeGreaterThan(0);
      const all = Buffer.concat(bodies);
      const received: Uint8Array[] = [];
      if (stream) received.push(await readExactly(pair.far, all.length));
      else for (const _ of bodies) received.push(must(await pair.far.receive()).data);
      await Promise.all(sends);
      expect(Buffer.concat(received).equals(all)).toBe(true);
      expect(order).toEqual(bodies.map((_, i) => i));
    }));

  test("a queue in front: trySend finds no room, sendSync says EBUSY, none overtakes", async () => {
    using pair = await open();
    const filled = fill(pair.near, Buffer.alloc(1024));
    const sending = pair.near.send(Buffer.alloc(1024, 1));
    // room for more, but a send is before it
    for (let i = 0; i < filled; i++) must(pair.far.tryReceive({ maxBytes: 1024 }));
    expect(pair.near.trySend("overtakes")).toBeNull();
    expect(await codeOf(() => pair.near.sendSync("overtakes"))).toBe("EBUSY");
    expect(await codeOf(() => pair.near.release())).toBe("EBUSY");
    await sending;
    expect(must(await pair.far.receive()).data[0]).toBe(1);
    pair.near.sendSync("later");
    expect(must(await pair.far.receive()).text()).toBe("later");
  });

  test("the queue is bounded: ENOBUFS, and it goes on when there is room", async () => {
    using pair = await open({ maxQueuedBytes: 3000 });
    fill(pair.near, Buffer.alloc(1024));
    const sends = [1, 2].map((byte) => pair.near.send(Buffer.alloc(1024, byte)));
    const error = await failure(() => pair.near.send(Buffer.alloc(1024)));
    expect([error.code, error.errno]).toEqual(["ENOBUFS", -errno.ENOBUFS]);
    expect(error.message).toContain("await");
    expect(pair.near.queuedBytes).toBe(2048);
    while (pair.near.queuedBytes > 0) must(await pair.far.receive());
    await Promise.all(sends);
    await pair.near.send(Buffer.alloc(1024, 3));
  });

  test("waiting costs no CPU time", async () => {
    using pair = await open();
    fill(pair.near, Buffer.alloc(1024));
    const waiting = [pair.near.send("x"), pair.near.receive()];
    const codes = waiting.map((promise) => codeOf(() => promise));
    await turns();
    const cpu = process.cpuUsage();
    await Bun.sleep(300);
    const { user, system } = process.cpuUsage(cpu);
    expect((user + system) / 1000).toBeLessThan(200); // a spinning loop would need 300 ms
    pair.near.close();
    expect(await Promise.all(codes)).toEqual(["ERR_CLOSED", "ERR_CLOSED"]);
  });

  test("sendSync and receiveSync give up at their deadline", async () => {
    using pair = await open();
    const late = await failure(() => pair.far.receiveSync({ timeoutMs: 1 }));
    expect([late.code, late.syscall]).toEqual(["ETIMEDOUT", "recvmsg"]);
    fill(pair.near, Buffer.alloc(1024));
    const full = await failure(() => pair.near.sendSync(Buffer.alloc(1024), { timeoutMs: 1 }));
    expect([full.code, full.syscall]).toEqual(["ETIMEDOUT", "sendmsg"]);
    while (pair.far.tryReceive()) {}
    const into = (): unknown => pair.far.receiveIntoSync(new Uint8Array(1), { timeoutMs: 1 });
    expect(await codeOf(into)).toBe("ETIMEDOUT");
  });

  test("data that is detached while its send waits is a TypeError, not wild memory", async () => {
    using pair = await open();
    fill(pair.near, Buffer.alloc(1024));
    const bytes = new Uint8Array(new ArrayBuffer(4096)).fill(7);
    const sending = thrown(() => pair.near.send(bytes));
    structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
    const after = pair.near.send("after");
    let text = "";
    while (!text.endsWith("after")) text = must(await pair.far.receive()).text();
    expect(await sending).toBeInstanceOf(TypeError);
    await after;
  });
});

describe("streams", () => {
  test("16 MiB through a slow reader arrive byte for byte", () =>
    leakFree(async () => {
      using pair = ends(...socketPair("stream"));
      const bytes = pattern(16 * 2 ** 20);
      const sending = pair.near.send(bytes).then(() => pair.near.end());
      const hash = new Bun.CryptoHasher("sha256");
      let got = 0;
      for await (const message of pair.far) {
        hash.update(message.data);
        got += message.data.length;
        if (got % 7 === 0) await Bun.sleep(0); // slow, and out of step
      }
      await sending;
      expect(got).toBe(bytes.length);
      expect(hash.digest("hex")).toBe(Bun.CryptoHasher.hash("sha256", bytes, "hex"));
    }));

  test("both sides write 8 MiB before either reads: no deadlock", () =>
    leakFree(async () => {
      using pair = ends(...socketPair("stream"));
      const [there, back] = [pattern(8 * 2 ** 20, 3), pattern(8 * 2 ** 20, 4)];
      const sends = [pair.near.send(there), pair.far.send(back)];
      await turns();
      const [a, b] = await Promise.all([
        readExactly(pair.far, there.length),
        readExactly(pair.near, back.length),
      ]);
      await Promise.all(sends);
      expect([a.equals(there), b.equals(back)]).toEqual([true, true]);
    }));
});

const COUNT = 10_000;

async function slowly(
  receiver: DatagramSocket,
  count: number,
  each: (text: string) => void,
): Promise<void> {
  for (let i = 0; i < count; i++) {
    each(must(await receiver.receive()).text());
    if (i % 100 === 0) await Bun.sleep(0);
  }
}

describe("datagrams to a slow receiver", () => {
  for (const connected of [true, false]) {
    test(`10,000 from one ${connected ? "connected" : "unconnected"} sender: all, in order`, () =>
      leakFree(async () => {
        const to = freshPath();
        using receiver = openDatagram(to);
        using sender = openDatagram(undefined, connected ? { connect: to } : {});
        const options = connected ? {} : { to };
        const sends = Promise.all(
          Array.from({ length: COUNT }, (_, i) => sender.send(`${i}`, options)),
        );
        let next = 0;
        await slowly(receiver, COUNT, (text) => expect(text).toBe(`${next++}`));
        await sends;
        expect(receiver.tryReceive()).toBeUndefined();
        expect(sender.queuedBytes).toBe(0);
      }));
  }

  test("10,000 from two unconnected senders, one of them awaiting each", () =>
    leakFree(async () => {
      const to = freshAddress("abstract");
      using receiver = openDatagram(to);
      using first = openDatagram();
      using second = openDatagram();
      const all = Promise.all([
        ...Array.from({ length: COUNT / 2 }, (_, i) => first.send(`a${i}`, { to })),
        (async () => {
          for (let i = 0; i < COUNT / 2; i++) await second.send(`b${i}`, { to });
        })(),
      ]);
      const next = { a: 0, b: 0 };
      await slowly(receiver, COUNT, (text) => {
        const who = text[0] as "a" | "b";
        expect(text).toBe(`${who}${next[who]++}`);
      });
      await all;
    }));

  test("a full receiver does not hold up sends to another", () =>
    leakFree(async () => {
      const [full, free] = [freshPath(), freshPath()];
      using stuck = openDatagram(full);
      using receiver = openDatagram(free);
      using sender = openDatagram();
      const filled = fillReceiver(full);
      const waiting = Array.from({ length: 50 }, (_, i) => sender.send(`${i}`, { to: full }));
      for (let i = 0; i < 100; i++) {
        await sender.send(`${i}`, { to: free });
        expect(must(receiver.tryReceive()).text()).toBe(`${i}`);
      }
      for (let i = 0; i < filled; i++) expect(must(await stuck.receive()).text()).toBe("x");
      for (let i = 0; i < 50; i++) expect(must(await stuck.receive()).text()).toBe(`${i}`);
      await Promise.all(waiting);
    }));

  test("a receiver that goes away fails those that wait for it, and nobody else", () =>
    leakFree(async () => {
      const [going, staying] = [freshPath(), freshPath()];
      using gone = openDatagram(going);
      using receiver = openDatagram(staying);
      using sender = openDatagram();
      fillReceiver(going);
      const sends = Array.from({ length: 30 }, () => sender.send("x", { to: going }));
      const outcomes = Promise.allSettled(sends);
      await turns();
      gone.close();
      const failed = (await outcomes).filter(({ status }) => status === "rejected");
      expect(failed).toHaveLength(30);
      for (const { reason } of failed as PromiseRejectedResult[]) {
        expect(["ECONNREFUSED", "ENOENT"]).toContain(reason.code);
      }
      await sender.send("still works", { to: staying });
      expect(must(receiver.tryReceive()).text()).toBe("still works");
    }));

  test("waiting for a full receiver costs no CPU time", async () => {
    const to = freshPath();
    using _receiver = openDatagram(to);
    using sender = openDatagram();
    fillReceiver(to);
    const sends = Array.from({ length: 30 }, () => sender.send("x", { to }));
    const outcomes = Promise.allSettled(sends);
    await turns();
    const cpu = process.cpuUsage();
    await Bun.sleep(300);
    const { user, system } = process.cpuUsage(cpu);
    expect((user + system) / 1000).toBeLessThan(200);
    sender.close();
    await outcomes;
  });

  test("sendSync to a full receiver gives up at its deadline, or goes when it can", async () => {
    const to = freshPath();
    using receiver = openDatagram(to);
    using sender = openDatagram();
    while (sender.trySend("x", { to }) !== null) {}
    const error = await failure(() => sender.sendSync("late", { to, timeoutMs: 5 }));
    expect([error.code, error.syscall]).toEqual(["ETIMEDOUT", "sendmsg"]);
    must(receiver.tryReceive());
    sender.sendSync("fits", { to, timeoutMs: 5000 });
    let last = "";
    for (let m = receiver.tryReceive(); m; m = receiver.tryReceive()) last = m.text();
    expect(last).toBe("fits");
  });
});

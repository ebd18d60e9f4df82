// Thousands of waits given up while messages come, and garbage is collected: each message is
// received exactly once or still there, each send is whole or not at all, and nothing stays.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { connect, listen, openDatagram, socketPair, waitReadable } from "../../src/index.ts";
import { freshAddress, pairVariants } from "../api/pairs.ts";
import { fill, leakFree, marked, markOf, must } from "../api/tools.ts";
import { fewer, slower } from "../support/child.ts";

const MANY = Number(process.env["BUNIX_ABORTS"] ?? fewer(1_500));
const MAX_GROWN_BYTES = 48 * 2 ** 20;
/** Bun's loop has had its turn. */
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const reason = new Error("given up");

setDefaultTimeout(60_000 * slower); // hundreds of full collections take long on a busy machine

/** The same numbers each run. */
function dice(seed: number): (sides: number) => number {
  let state = seed;
  return (sides) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % sides;
  };
}

function memory(): number {
  Bun.gc(true);
  return process.memoryUsage.rss();
}

describe.each(pairVariants)("$name", ({ open, stream }) => {
  test(`${MANY} receives, half of them given up`, () =>
    leakFree(async () => {
      using pair = await open();
      const roll = dice(7);
      const got: number[] = [];
      const all: Promise<void>[] = [];
      let [given, sent, next, drained] = [0, 0, 0, 0];
      let waiting: { done: Promise<void>; stop: AbortController; given: boolean }[] = [];
      for (let i = 0; i < MANY; i++) {
        const stop = new AbortController();
        const one = { stop, given: false, done: Promise.resolve() };
        one.done = pair.far.receive({ signal: stop.signal, maxBytes: 4 }).then(
          (message) => {
            got.push(Buffer.from(must(message).data).readInt32LE());
          },
          (error) => {
            if (error !== reason) throw error;
            given++;
          },
        );
        waiting.push(one);
        all.push(one.done);
        if (roll(2) === 0) {
          const some = waiting[roll(waiting.length)]!;
          some.given = true;
          some.stop.abort(reason);
        }
        if (roll(3) === 0) {
          const bytes = Buffer.from(Int32Array.of(sent++).buffer);
          const sending = pair.near.send(bytes);
          const out = sending.then(() => true);
          // all who would make room may have been given up
          while (!(await Promise.race([out, turn().then(() => false)]))) {
            if (given + got.length - drained < all.length) continue;
            const message = pair.far.tryReceive({ maxBytes: 4 });
            if (!message) continue;
            got.push(Buffer.from(message.data).readInt32LE());
            drained += 1;
          }
        }
        if (i % 500 === 499) Bun.gc(true);
        waiting = waiting.filter((two) => !two.given);
        if (waiting.length > 200) {
          for (const two of waiting.splice(0)) two.stop.abort(reason);
        }
      }
      for (const { stop } of waiting) stop.abort(reason);
      await Promise.all(all);
      while (got.length < sent) {
        const message = must(await pair.far.receive({ maxBytes: 4 }));
        got.push(Buffer.from(message.data).readInt32LE());
      }
      for (const number of got) expect(number).toBe(next++);
      expect([got.length, pair.far.tryReceive()]).toEqual([sent, undefined]);
      expect(given + got.length).toBeGreaterThanOrEqual(MANY);
    }));

  test(`${MANY} queued sends with descriptors, most of them given up: none is half there`, () =>
    leakFree(async () => {
      using pair = await open({ maxQueuedBytes: 2 ** 30 });
      using fd = marked("mark");
      const roll = dice(11);
      const filler = new Uint8Array(64);
      const before = fill(pair.near, filler);
      const fates: Promise<number>[] = [];
      const stops: AbortController[] = [];
      const max = Math.min(MANY, 400); // each holds a duplicate
      for (let i = 0; i < max; i++) {
        const stop = new AbortController();
        const data = new Uint8Array(64).fill(1 + (i % 255));
        const sending = pair.near.send(data, { signal: stop.signal, fds: [fd] });
        fates.push(
          sending.then(
            () => i,
            () => -1,
          ),
        );
        stops.push(stop);
      }
      for (const stop of stops) if (roll(4) > 0) stop.abort(reason);
      const parts: Uint8Array[] = [];
      let fds = 0;
      const settled = Promise.all(fates);
      const wanted = settled.then((all) => all.filter((i) => i >= 0));
      let bytes = 0;
      let expected = Number.POSITIVE_INFINITY;
      void wanted.then((all) => {
        expected = (before + all.length) * 64;
      });
      while (bytes < expected) {
        const message = pair.far.tryReceive();
        if (message === undefined) {
          await new Promise((resolve) => setImmediate(resolve));
          continue;
        }
        for (const one of must(message).fds) expect(markOf(one)).toBe("mark");
        fds += message!.fds.length;
        message!.close();
        parts.push(message!.data);
        bytes += message!.data.length;
      }
      const sent = await wanted;
      expect(fds).toBe(sent.length);
      const all = Buffer.concat(parts).subarray(before * 64);
      const blocks = Array.from({ length: sent.length }, (_, i) =>
        all.subarray(64 * i, 64 * i + 64),
      );
      expect(blocks.map((block) => block[0])).toEqual(sent.map((i) => 1 + (i % 255)));
      expect(blocks.every((block) => block.every((byte) => byte === block[0]))).toBe(true);
      expect([pair.near.queuedBytes, stream || bytes % 64 === 0]).toEqual([0, true]);
    }));
});

test(`one signal, ${MANY} waits of every kind: one abort ends them all`, () =>
  leakFree(async () => {
    const stop = new AbortController();
    const { signal } = stop;
    const [a, b] = socketPair("seqpacket");
    using server = listen(freshAddress("abstract"));
    using datagram = openDatagram({ autobind: true });
    while (datagram.trySend("x", { to: datagram.localAddress }) !== null) {}
    const calls = [
      () => a.receive({ signal }),
      () => b.receiveBatch({ signal }),
      () => server.accept({ signal }),
      () => waitReadable(a, { signal }),
      () => datagram.send("y", { to: datagram.localAddress, signal }),
    ];
    const ends: Promise<unknown>[] = [];
    for (let i = 0; i < MANY; i++) ends.push(calls[i % calls.length]!().catch((error) => error));
    await new Promise((resolve) => setImmediate(resolve));
    stop.abort(reason);
    expect(new Set(await Promise.all(ends))).toEqual(new Set([reason]));
    a.close();
    b.close();
  }));

test("what was given up is forgotten: memory stays where it was", async () => {
  using server = listen(freshAddress("abstract"));
  const [a, b] = socketPair("stream");
  const round = async (): Promise<void> => {
    const stop = new AbortController();
    const waits = Array.from({ length: 500 }, () => a.receive({ signal: stop.signal }));
    const accepts = Array.from({ length: 500 }, () => server.accept({ signal: stop.signal }));
    stop.abort(reason);
    const ends = await Promise.allSettled([...waits, ...accepts]);
    if (ends.some(({ status }) => status !== "rejected")) throw new Error("one was not given up");
  };
  for (let i = 0; i < 5; i++) await round();
  const before = memory();
  for (let i = 0; i < 40; i++) await round();
  expect(memory() - before).toBeLessThan(MAX_GROWN_BYTES);
  a.close();
  b.close();
});

test(`connects given up at every moment of their lives`, () =>
  leakFree(async () => {
    const address = freshAddress("abstract");
    using server = listen(address, { backlog: 1 });
    const roll = dice(3);
    const serving = (async () => {
      for await (const socket of server) socket.close();
    })();
    let [made, given] = [0, 0];
    for (let i = 0; i < 300; i++) {
      const stop = new AbortController();
      const connecting = connect(address, { signal: stop.signal }).then(
        (socket) => {
          made++;
          socket.close();
        },
        (error) => {
          if (error !== reason) throw error;
          given++;
        },
      );
      for (let hops = roll(6); hops > 0; hops--) await null;
      if (roll(3) === 0) await new Promise((resolve) => setImmediate(resolve));
      stop.abort(reason);
      await connecting;
    }
    expect(made + given).toBe(300);
    server.close();
    await serving;
  }));

test("garbage collected at every turn: views, buffers and descriptors stay right", () =>
  leakFree(async () => {
    const [a, b] = socketPair("seqpacket");
    using fd = marked("mark");
    for (let i = 0; i < 400; i++) {
      const data = Buffer.from(`message ${i} ${"x".repeat(i)}`);
      const sending = a.send([data.subarray(0, 8), data.subarray(8)], { fds: [fd] });
      if (i % 2 === 0) Bun.gc(true);
      const into = new Uint8Array(512);
      const receiving = i % 3 === 0 ? b.receiveInto(into) : b.receive();
      Bun.gc(i % 5 === 0);
      await sending;
      using got = must(await (receiving as ReturnType<typeof b.receive>));
      const text = i % 3 === 0 ? Buffer.from(into).toString("utf8", 0, data.length) : got.text();
      expect(text).toBe(data.toString());
      expect(got.fds.map(markOf)).toEqual(["mark"]);
    }
    a.close();
    b.close();
  }));

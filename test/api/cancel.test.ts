// AbortSignal: whatever waits can be given up, at once, and nothing is lost or left behind.

import { describe, expect, test } from "bun:test";
import { getEventListeners } from "node:events";
import { connect, listen, openDatagram, socketPair, waitReadable } from "../../src/index.ts";
import { ends, freshPath, pairVariants } from "./pairs.ts";
import { closeAll, fill, leakFree, must, pattern, readExactly, thrown, turns } from "./tools.ts";

const reason = new Error("never mind");
const aborted = AbortSignal.abort(reason);

describe.each(pairVariants)("$name", ({ open, stream }) => {
  test("a signal that is aborted already: the reason, and nothing was taken or sent", async () => {
    using pair = await open();
    await pair.near.send("kept");
    const buffer = new Uint8Array(8);
    const calls = [
      () => pair.far.receive({ signal: aborted }),
      () => pair.far.receiveInto(buffer, { signal: aborted }),
      () => pair.near.send("not sent", { signal: aborted }),
    ];
    for (const call of calls) expect(await thrown(call)).toBe(reason);
    if (!stream && pair.near.type !== "stream" && pair.far.type !== "stream") {
      const [near, far] = [pair.near, pair.far];
      expect(await thrown(() => near.sendBatch(["no"], { signal: aborted }))).toBe(reason);
      expect(await thrown(() => far.receiveBatch({ signal: aborted }))).toBe(reason);
    }
    expect(must(pair.far.tryReceive()).text()).toBe("kept");
    expect(pair.far.tryReceive()).toBeUndefined();
  });

  test("a receive given up takes nothing: the next one gets it", async () => {
    using pair = await open();
    const stop = new AbortController();
    const given = thrown(() => pair.far.receive({ signal: stop.signal }));
    const waiting = pair.far.receive();
    stop.abort(reason);
    expect(await given).toBe(reason);
    await pair.near.send("for the other");
    expect(must(await waiting).text()).toBe("for the other");
  });

  test("a queued send given up is not sent; those behind it are", async () => {
    using pair = await open();
    const filled = fill(pair.near, Buffer.alloc(1024));
    const stop = new AbortController();
    const first = pair.near.send(Buffer.alloc(1024, 1));
    const given = thrown(() => pair.near.send(Buffer.alloc(1024, 2), { signal: stop.signal }));
    const last = pair.near.send(Buffer.alloc(1024, 3));
    stop.abort(reason);
    expect(await given).toBe(reason);
    expect(pair.near.queuedBytes).toBe(2048);
    const seen: number[] = [];
    for (let got = 0; got < (filled + 2) * 1024; ) {
      const { data } = must(await pair.far.receive({ maxBytes: 1024 }));
      got += data.length;
      for (const byte of data) if (byte !== 0 && seen.at(-1) !== byte) seen.push(byte);
    }
    await Promise.all([first, last]);
    expect(seen).toEqual([1, 3]);
  });

  test("an abort after the end of the call does nothing", async () => {
    using pair = await open();
    const stop = new AbortController();
    const receiving = pair.far.receive({ signal: stop.signal });
    await pair.near.send("x", { signal: stop.signal });
    await receiving;
    stop.abort(reason);
    await pair.near.send("y");
    expect(must(pair.far.tryReceive()).text()).toBe("y");
  });

  test("2,000 receives given up: no leak, no listener left, and the socket works", () =>
    leakFree(async () => {
      using pair = await open();
      const signals: AbortSignal[] = [];
      for (let i = 0; i < 2000; i++) {
        const stop = new AbortController();
        signals.push(stop.signal);
        const given = thrown(() => pair.far.receive({ signal: stop.signal }));
        stop.abort(reason);
        expect(await given).toBe(reason);
      }
      await pair.near.send("still works");
      expect(must(await pair.far.receive()).text()).toBe("still works");
      expect(signals.some((signal) => getEventListeners(signal, "abort").length > 0)).toBe(false);
    }));

  test("1,000 calls with one signal leave no listener on it", async () => {
    using pair = await open();
    const { signal } = new AbortController();
    for (let i = 0; i < 1000; i++) {
      const receiving = pair.far.receive({ signal });
      await pair.near.send("x", { signal });
      await receiving;
    }
    expect(getEventListeners(signal, "abort").length).toBe(0);
  });

  test("many waiters of one signal all end with its reason", async () => {
    using pair = await open();
    const stop = new AbortController();
    const waiting = Array.from({ length: 100 }, () =>
      thrown(() => pair.far.receive({ signal: stop.signal })),
    );
    stop.abort(reason);
    expect(new Set(await Promise.all(waiting))).toEqual(new Set([reason]));
  });

  test("AbortSignal.timeout ends a wait with its TimeoutError", async () => {
    using pair = await open();
    const error = await thrown(() => pair.far.receive({ signal: AbortSignal.timeout(5) }));
    expect((error as Error).name).toBe("TimeoutError");
  });
});

describe("a stream send that is out in part", () => {
  test("rejects at once; the rest still goes out, from a copy", () =>
    leakFree(async () => {
      using pair = ends(...socketPair("stream"));
      const bytes = pattern(2 ** 20);
      const expected = Buffer.from(bytes);
      const stop = new AbortController();
      const given = thrown(() => pair.near.send(bytes, { signal: stop.signal }));
      await turns();
      stop.abort(reason);
      expect(await given).toBe(reason);
      bytes.fill(0); // it is the caller's again
      const after = pair.near.send("after");
      const received = await readExactly(pair.far, expected.length + 5);
      await after;
      expect(received.subarray(0, expected.length).equals(expected)).toBe(true);
      expect(received.subarray(expected.length).toString()).toBe("after");
      expect(pair.near.queuedBytes).toBe(0);
    }));

  test("onRest is told what becomes of the rest, and is not called where nothing was sent", () =>
    leakFree(async () => {
      using pair = ends(...socketPair("stream"));
      const bytes = pattern(2 ** 20);
      const told: Promise<void>[] = [];
      const onRest = (rest: Promise<void>): unknown => told.push(rest);
      const stop = new AbortController();
      const { signal } = stop;
      const begun = thrown(() => pair.near.send(bytes, { signal, onRest }));
      const waiting = thrown(() => pair.near.send("behind it", { signal, onRest }));
      await turns();
      stop.abort(reason);
      expect([await begun, await waiting]).toEqual([reason, reason]);
      expect(told).toHaveLength(1);
      const received = await readExactly(pair.far, bytes.length);
      await told[0];
      expect(received.equals(bytes)).toBe(true);
      expect(pair.far.tryReceive()).toBeUndefined();
    }));

  test("onRest is told where the rest could not be sent", () =>
    leakFree(async () => {
      using pair = ends(...socketPair("stream"));
      let rest: Promise<void> | undefined;
      const stop = new AbortController();
      const { signal } = stop;
      const onRest = (promise: Promise<void>): void => void (rest = promise);
      const given = thrown(() => pair.near.send(Buffer.alloc(2 ** 20), { signal, onRest }));
      await turns();
      stop.abort(reason);
      expect(await given).toBe(reason);
      pair.near.close();
      expect(await thrown(() => rest)).toMatchObject({ code: "ERR_CLOSED" });
      const odd = { onRest: 1 } as object;
      expect(await thrown(() => pair.far.send("x", odd))).toBeInstanceOf(TypeError);
    }));

  test("close after that drops the rest without an unhandled rejection", () =>
    leakFree(async () => {
      using pair = ends(...socketPair("stream"));
      const stop = new AbortController();
      const given = thrown(() => pair.near.send(Buffer.alloc(2 ** 20), { signal: stop.signal }));
      await turns();
      stop.abort(reason);
      await given;
      pair.near.close();
      let got = 0;
      for await (const message of pair.far) got += message.data.length;
      expect(got).toBeLessThan(2 ** 20);
    }));
});

describe("datagrams to a full receiver", () => {
  test("2,000 sends given up: no leak, and later ones arrive", () =>
    leakFree(async () => {
      const to = freshPath();
      using receiver = openDatagram(to);
      using sender = openDatagram();
      let filled = 0;
      while (sender.trySend("x", { to }) !== null) filled += 1;
      for (let i = 0; i < 2000; i++) {
        const stop = new AbortController();
        const given = thrown(() => sender.send("given up", { to, signal: stop.signal }));
        stop.abort(reason);
        expect(await given).toBe(reason);
      }
      expect(sender.queuedBytes).toBe(0);
      for (let i = 0; i < filled; i++) expect(must(receiver.tryReceive()).text()).toBe("x");
      await sender.send("last", { to });
      expect(must(receiver.tryReceive()).text()).toBe("last");
    }));

  test("one of several given up leaves the order of the others", async () => {
    const to = freshPath();
    using receiver = openDatagram(to);
    using sender = openDatagram();
    while (sender.trySend(" ", { to }) !== null) {}
    const stop = new AbortController();
    const outcomes = Promise.allSettled(
      Array.from({ length: 9 }, (_, i) =>
        sender.send(`${i}`, { to, signal: i % 3 === 1 ? stop.signal : undefined }),
      ),
    );
    stop.abort(reason);
    let text = "";
    while (text.length < 6)
      text += must(await receiver.receive())
        .text()
        .trim();
    await outcomes;
    expect(text).toBe("023568");
  });
});

describe("other waits", () => {
  test("accept", () =>
    leakFree(async () => {
      const path = freshPath();
      using server = listen(path);
      expect(await thrown(() => server.accept({ signal: aborted }))).toBe(reason);
      for (let i = 0; i < 500; i++) {
        const stop = new AbortController();
        const given = thrown(() => server.accept({ signal: stop.signal }));
        stop.abort(reason);
        expect(await given).toBe(reason);
      }
      using _client = await connect(path);
      using accepted = await server.accept();
      expect(accepted.closed).toBe(false);
    }));

  test("connect to a full backlog", () =>
    leakFree(async () => {
      const path = freshPath();
      using server = listen(path, { backlog: 0 });
      using _first = await connect(path);
      expect(await thrown(() => connect(path, { signal: aborted }))).toBe(reason);
      const stop = new AbortController();
      const given = Array.from({ length: 50 }, () =>
        thrown(() => connect(path, { signal: stop.signal })),
      );
      await turns();
      stop.abort(reason);
      expect(new Set(await Promise.all(given))).toEqual(new Set([reason]));
      expect(getEventListeners(stop.signal, "abort").length).toBe(0);
      (await server.accept()).close();
      using _second = await connect(path);
    }));

  test("waitReadable", () =>
    leakFree(async () => {
      const sockets = socketPair("stream");
      expect(await thrown(() => waitReadable(sockets[0], { signal: aborted }))).toBe(reason);
      for (let i = 0; i < 2000; i++) {
        const stop = new AbortController();
        const given = thrown(() => waitReadable(sockets[0], { signal: stop.signal }));
        stop.abort(reason);
        expect(await given).toBe(reason);
      }
      const ready = waitReadable(sockets[0]);
      await sockets[1].send("x");
      expect((await ready).readable).toBe(true);
      closeAll(sockets);
    }));
});

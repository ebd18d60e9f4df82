// consume: everything that comes, handed to a function.

import { describe, expect, test } from "bun:test";
import { configureLoop, type Fd, type Message, socketPair } from "../../src/index.ts";
import { pairVariants } from "./pairs.ts";
import {
  codeOf,
  eventually,
  fill,
  isOpen,
  leakFree,
  marked,
  must,
  thrown,
  turns,
} from "./tools.ts";

const COUNT = 2000;
/** A length first, so that a stream's messages can be told apart too. */
const numbered = (i: number): Uint8Array => new Uint8Array(Uint32Array.of(i).buffer);

describe.each(pairVariants)("$name", ({ open, kind }) => {
  test("every message comes, in order, whether it was there before or not", () =>
    leakFree(async () => {
      using pair = await open();
      const got: number[] = [];
      for (let i = 0; i < 5; i++) await pair.near.send(numbered(i));
      const all = Promise.withResolvers<void>();
      const each = pair.far.consume(({ data }) => {
        for (const i of new Uint32Array(data.slice().buffer)) got.push(i);
        if (got.length === COUNT) all.resolve();
      });
      for (let i = 5; i < COUNT; i++) await pair.near.send(numbered(i));
      await all.promise;
      expect(got).toEqual(Array.from({ length: COUNT }, (_, i) => i));
      pair.far.close();
      await each;
    }));

  test("the next message waits for the promise of the handler", () =>
    leakFree(async () => {
      using pair = await open();
      let running = 0;
      let max = 0;
      let bytes = 0;
      const done = Promise.withResolvers<void>();
      const each = pair.far.consume(async ({ data }) => {
        max = Math.max(max, ++running);
        await new Promise((resolve) => setImmediate(resolve));
        running -= 1;
        bytes += data.length;
        if (bytes === 30) done.resolve();
      });
      for (let i = 0; i < 30; i++) await pair.near.send("x");
      await done.promise;
      expect(max).toBe(1);
      pair.far.close();
      await each;
    }));

  test("a promise of another kind is waited for, too; descriptors stay open until then", () =>
    leakFree(async () => {
      using pair = await open();
      using fd = marked("beside");
      const settle = Promise.withResolvers<void>();
      const begun = Promise.withResolvers<Fd | undefined>();
      const { promise } = settle;
      const each = pair.far.consume((message) => {
        begun.resolve(message.fds[0]);
        // biome-ignore lint/suspicious/noThenProperty: what other libraries' promises are
        return { then: (done: () => void, failed: () => void) => promise.then(done, failed) };
      });
      await pair.near.send("x", { fds: [fd] });
      const got = await begun.promise;
      await turns();
      expect(got?.closed).toBe(false);
      settle.resolve();
      await eventually(() => got?.closed === true, "it is closed");
      pair.far.close();
      await each;
    }));

  test("what the handler throws ends it; the socket goes on", () =>
    leakFree(async () => {
      using pair = await open();
      const oops = new Error("oops");
      for (const handler of [
        () => {
          throw oops;
        },
        () => Promise.reject(oops),
      ]) {
        await pair.near.send("one");
        expect(await thrown(() => pair.far.consume(handler))).toBe(oops);
      }
      await pair.near.send("two");
      using message = must(await pair.far.receive());
      expect(message.text()).toBe("two");
    }));

  test("close in the handler, and from outside, is an end", () =>
    leakFree(async () => {
      using pair = await open();
      let calls = 0;
      await pair.near.send("one");
      await pair.near.send("two");
      await pair.far.consume(() => {
        calls += 1;
        pair.far.close();
      });
      expect(calls).toBe(1);
      expect(await codeOf(() => pair.far.consume(() => {}))).toBe("ERR_CLOSED");

      using other = await open();
      const each = other.far.consume(() => {});
      other.far.close();
      await each;
    }));

  test("an abort ends it, before, while it waits, and in the handler", () =>
    leakFree(async () => {
      using pair = await open();
      const reason = new Error("enough");
      const before = AbortSignal.abort(reason);
      expect(await thrown(() => pair.far.consume(() => {}, { signal: before }))).toBe(reason);
      const waiting = new AbortController();
      const each = pair.far.consume(() => {}, { signal: waiting.signal });
      waiting.abort(reason);
      expect(await thrown(() => each)).toBe(reason);
      const inside = new AbortController();
      let calls = 0;
      await pair.near.send("one");
      await pair.near.send("two");
      const { signal } = inside;
      const aborted = pair.far.consume(() => inside.abort(reason) ?? (calls += 1), { signal });
      expect(await thrown(() => aborted)).toBe(reason);
      expect(calls).toBe(1);
    }));

  test("descriptors that the handler leaves are closed, others stay", () =>
    leakFree(async () => {
      using pair = await open();
      using fd = marked("beside");
      const left: number[] = [];
      const taken: number[] = [];
      const done = Promise.withResolvers<void>();
      const handler = (message: Message): Promise<void> | undefined => {
        const [first] = message.fds;
        left.push(first?.fd ?? -1);
        if (left.length === 3) taken.push(...message.takeFds().map((one) => one.release()));
        if (left.length === 3) done.resolve();
        return left.length === 2 ? Promise.resolve() : undefined;
      };
      const each = pair.far.consume(handler);
      for (let i = 0; i < 3; i++) await pair.near.send("x", { fds: [fd] });
      await done.promise;
      expect(taken.filter(isOpen)).toEqual(taken);
      pair.far.close();
      await each;
      for (const number of taken) {
        using owned = (await import("../../src/index.ts")).Fd.adopt(number);
        expect(owned.describe().kind).toBe("memfd");
      }
    }));

  if (kind !== "datagram") {
    test("it ends when the peer has", () =>
      leakFree(async () => {
        using pair = await open();
        await pair.near.send("last");
        pair.near.close();
        const said: string[] = [];
        await pair.far.consume((message) => said.push(message.text()));
        expect(said.join()).toBe("last");
      }));
  }
});

test("a handler that is never out of work leaves the timers their turn", () =>
  leakFree(async () => {
    const [a, b] = socketPair("stream");
    let bounces = 0;
    let over = false;
    setTimeout(() => {
      over = true;
    }, 5);
    const bounce = b.consume(({ data }) => {
      if (over) b.close();
      else b.trySend(data);
    });
    a.trySend("ball");
    await a.consume(({ data }) => {
      bounces += 1;
      if (bounces > 5_000_000) throw new Error("the timer never had its turn");
      a.trySend(data);
    });
    expect(over).toBe(true);
    await bounce;
    a.close();
  }));

test("a long queue too", () =>
  leakFree(async () => {
    const [a, b] = socketPair("seqpacket");
    let turns = 0;
    let over = false;
    const count = (): void => {
      turns += 1;
      if (!over) setImmediate(count);
    };
    setImmediate(count);
    let got = 0;
    const each = b.consume(() => {
      got += 1;
      fill(a, "x");
      over = got === 20_000;
      if (over) b.close();
    });
    fill(a, "x");
    await each;
    expect(turns).toBeGreaterThan(2);
    a.close();
  }));

describe("configureLoop", () => {
  test("busyPollMicros is checked", async () => {
    expect(await thrown(() => configureLoop({ busyPollMicros: -1 }))).toBeInstanceOf(RangeError);
    expect(await thrown(() => configureLoop({ busyPollMicros: 1001 }))).toBeInstanceOf(RangeError);
    const text = "50" as unknown as number;
    expect(await thrown(() => configureLoop({ busyPollMicros: text }))).toBeInstanceOf(TypeError);
  });

  test("while it polls, messages come and timers have their turn", () =>
    leakFree(async () => {
      configureLoop({ busyPollMicros: 200 });
      try {
        const [a, b] = socketPair("stream");
        let ticks = 0;
        const timer = setInterval(() => void (ticks += 1), 1);
        let rounds = 0;
        const echo = b.consume(({ data }) => void b.trySend(data));
        await eventually(async () => {
          await a.send("ping");
          must(await a.receive()).close();
          rounds += 1;
          return ticks > 5 && rounds > 500;
        }, "ticks and rounds");
        clearInterval(timer);
        a.close();
        await echo;
        b.close();
      } finally {
        configureLoop({ busyPollMicros: 0 });
      }
    }));
});

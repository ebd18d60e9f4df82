// Channels where something goes wrong or ends: order, who closes what, what still comes.

import { describe, expect, test } from "bun:test";
import { fstatSync } from "node:fs";
import {
  type Channel,
  type ChannelOptions,
  type Fd,
  openChannel,
  type SeqpacketSocket,
  type StreamSocket,
  socketPair,
} from "../../src/index.ts";
import { frame, kind } from "./channel-frames.ts";
import { codeOf, eventually, leakFree, marked, markOf, openFds, thrown, turns } from "./tools.ts";

const types = ["stream", "seqpacket"] as const;
type Type = (typeof types)[number];
type Value = Record<string, unknown>;
type Pair = [Channel<Value, unknown>, Channel<Value, unknown>];

function pair(type: Type, options: ChannelOptions = {}): Pair {
  const open = options as ChannelOptions<Value, unknown>;
  return socketPair(type).map((end) => openChannel<Value, unknown>(end, open)) as Pair;
}

function withRaw(
  type: Type,
  options: ChannelOptions = {},
): [Channel<Value, unknown>, StreamSocket | SeqpacketSocket] {
  const [near, far] = socketPair(type);
  return [openChannel<Value, unknown>(near, options as ChannelOptions<Value, unknown>), far];
}

const isOpen = (fd: number): boolean => {
  try {
    fstatSync(fd);
    return true;
  } catch {
    return false;
  }
};

/** Send until there is no room. */
function fill(channel: Channel<Value, unknown>): void {
  while (channel.trySend({ pad: "x".repeat(5000) })) {}
}

describe.each(types.map((type) => [type] as const))("%s", (type) => {
  test(
    "messages keep their order when a handler asks while others wait",
    () =>
      leakFree(async () => {
        const [a, b] = pair(type);
        void a.serve(() => 1); // a reads, so that messages wait there
        void b.serve(() => 2);
        for (let n = 0; n < 100; n++) await b.send({ n });
        void b.request(0).catch(() => {});
        await turns();
        const seen: unknown[] = [];
        const end = a.consume(({ value }) => {
          seen.push(value["n"]);
          void a.request(0).catch(() => {});
        });
        await eventually(() => seen.length === 100, "all of them");
        expect(seen).toEqual(Array.from({ length: 100 }, (_, n) => n));
        a.close();
        b.close();
        await end;
      }),
    30_000,
  );

  test("an answer behind messages comes once these are received", () =>
    leakFree(async () => {
      const [a, raw] = withRaw(type);
      const asked = a.request(1);
      for (let n = 0; n < 70; n++) await raw.send(frame(`{"n":${n}}`));
      await raw.send(frame("5", { kind: kind.answer, number: 1 }));
      await turns();
      for (let n = 0; n < 10; n++) expect((await a.receive())!.value["n"]).toBe(n);
      expect((await asked).value as unknown).toBe(5);
      for (let n = 10; n < 70; n++) expect((await a.receive())!.value["n"]).toBe(n);
      a.close();
      raw.close();
    }));

  test("what was cancelled and then answered makes room for other requests", () =>
    leakFree(async () => {
      const [a, b] = pair(type, { maxRequests: 2 });
      let go = (): void => {};
      const open = new Promise<void>((resolve) => (go = resolve));
      void b.serve(() => open);
      const late = [a.request(1, { timeoutMs: 1 }), a.request(2, { timeoutMs: 1 })];
      for (const one of late) expect(await codeOf(() => one)).toBe("ETIMEDOUT");
      expect(await codeOf(() => a.request(3))).toBe("ENOBUFS");
      go();
      let answer: unknown;
      await eventually(async () => {
        answer = await a.request(4).catch((error) => error.code);
        return answer !== "ENOBUFS";
      }, "a number is free again");
      expect((answer as { value: unknown }).value).toBeNull();
      a.close();
      b.close();
    }));

  test("a peer that asks, tells and leaves: what it told is received all the same", () =>
    leakFree(async () => {
      const [a, raw] = withRaw(type);
      await raw.send(frame("1", { kind: kind.request, number: 1 }));
      for (let n = 0; n < 3; n++) await raw.send(frame(`{"n":${n}}`));
      raw.close();
      const serving = a.serve(() => ({ answer: 1 }));
      for (let n = 0; n < 3; n++) expect((await a.receive())!.value["n"]).toBe(n);
      expect(await a.receive()).toBeNull();
      await serving;
      expect(await codeOf(() => a.send({}))).toBe("EPIPE");
      a.close();
    }));

  test("a handler is told when the peer is gone, and not when it only ends", () =>
    leakFree(async () => {
      const [a, b] = pair(type);
      const signals: AbortSignal[] = [];
      let go = (): void => {};
      const open = new Promise<void>((resolve) => (go = resolve));
      const serving = b.serve(async (_, { signal }) => {
        signals.push(signal);
        await open;
        return "late";
      });
      const asked = a.request(1);
      await eventually(() => signals.length === 1, "it is served");
      a.end();
      await serving;
      expect(signals[0]!.aborted).toBe(false);
      go();
      expect((await asked).value as unknown).toBe("late");
      a.close();
      b.close();

      const [c, d] = pair(type);
      const end = d.serve((_, { signal }) => {
        signals.push(signal);
        return new Promise(() => {});
      });
      void c.request(1).catch(() => {});
      await eventually(() => signals.length === 2, "it is served");
      c.close();
      await end.catch(() => {});
      expect(signals[1]!.aborted).toBe(true);
      d.close();
    }));

  test("end(): what waits goes out, then the peer reads the end; the other way goes on", () =>
    leakFree(async () => {
      const [a, b] = pair(type);
      fill(a);
      const last = a.send({ last: true });
      a.end();
      a.end();
      expect(await codeOf(() => a.send({}))).toBe("EPIPE");
      expect(await codeOf(() => a.trySend({}))).toBe("EPIPE");
      let got: Value = {};
      await b.consume(({ value }) => (got = value));
      await last;
      expect(got).toEqual({ last: true });
      await b.send({ back: 1 });
      expect((await a.receive())!.value).toEqual({ back: 1 });
      b.end();
      expect(await a.receive()).toBeNull();
      a.close();
      b.close();
    }));

  test("a send that waits and fails leaves given descriptors to the caller", () =>
    leakFree(async () => {
      const [a, b] = pair(type);
      fill(a);
      const fd = marked("mine");
      const number = marked("number").release();
      const sending = a.send({ fd }, { transfer: true, fds: [number] });
      const outcome = thrown(() => sending);
      b.close();
      await outcome;
      expect([fd.closed, isOpen(number)]).toEqual([false, true]);
      fd.close();
      a.close();
      const [c, d] = pair(type);
      const open = marked("given");
      fill(c);
      const sent = c.send({ open }, { transfer: true, fds: [number, number] });
      let marks: string[] = [];
      void d.consume(({ fds }) => {
        if (fds.length > 0) marks = fds.map(markOf);
      });
      await sent;
      await eventually(() => marks.length > 0, "it came");
      expect(marks).toEqual(["given", "number", "number"]);
      expect([open.closed, isOpen(number)]).toEqual([true, false]);
      c.close();
      d.close();
    }));

  test("an answer's descriptors are closed also where nobody gets it", () =>
    leakFree(async () => {
      const [a, b] = pair(type);
      const made: Fd[] = [];
      let go = (): void => {};
      const open = new Promise<void>((resolve) => (go = resolve));
      void b.serve(async (_, context) => {
        await open;
        made.push(marked("x"));
        return context.reply({ fd: made[0] }, { transfer: true });
      });
      void a.request(1).catch(() => {});
      await turns();
      b.close();
      go();
      await eventually(() => made[0]?.closed === true, "it is closed");
      a.close();
    }));

  test("what cannot be given or sent is found before anything is sent", () =>
    leakFree(async () => {
      const [a, b] = pair(type, { maxFds: 1000 });
      const other = { fd: 0 };
      expect(await thrown(() => a.send({}, { transfer: true, fds: [other] }))).toBeInstanceOf(
        TypeError,
      );
      const many = Array.from({ length: 600 }, () => marked("many"));
      many[500]!.close();
      expect(await codeOf(() => a.send({ n: 1 }, { fds: many }))).toBe("EBADF");
      await a.send({ n: 2 });
      expect((await b.receive())!.value).toEqual({ n: 2 });
      for (const fd of many) fd.close();
      a.close();
      b.close();
    }));

  test("a signal whose reason is null drops the message all the same", () =>
    leakFree(async () => {
      const [a, b] = pair(type);
      fill(a);
      const stop = new AbortController();
      const outcome = a.send({}, { signal: stop.signal }).then(
        () => "sent",
        () => "dropped",
      );
      stop.abort(null);
      expect(await outcome).toBe("dropped");
      a.close();
      b.close();
    }));

  test("the socket is closed by somebody else: what waits is told", () =>
    leakFree(async () => {
      const [a, raw] = withRaw(type);
      const asked = codeOf(() => a.request(1));
      for (let n = 0; n < 70; n++) await raw.send(frame("{}"));
      await turns(); // as many wait as may: a reads no more
      a.socket.close();
      expect(await asked).toBe("ERR_CLOSED");
      raw.close();
    }));

  test("messages that nobody receives wait within the limits of one", () =>
    leakFree(async () => {
      const [a, b] = pair(type, { maxMessageBytes: 2000, maxFds: 2 });
      void a.serve(() => 1);
      using fd = marked("x");
      const before = openFds();
      for (let n = 0; n < 40; n++) b.trySend({ fd, pad: "x".repeat(1500) });
      await turns();
      expect(openFds() - before).toBeLessThan(8);
      const end = a.consume(() => {});
      a.close();
      await end;
      b.close();
    }));
});

test("many short messages in one piece leave their turn to others", () =>
  leakFree(async () => {
    const [a, raw] = withRaw("stream");
    const COUNT = 4000;
    await raw.send(Buffer.concat(Array.from({ length: COUNT }, () => frame("0"))));
    let handled = 0;
    let seen = COUNT;
    const end = a.consume(() => {
      if (++handled === 1) setImmediate(() => (seen = handled));
      for (const until = performance.now() + 0.02; performance.now() < until; );
    });
    raw.close();
    await end;
    await turns();
    expect(handled).toBe(COUNT);
    expect(seen).toBeLessThan(COUNT);
    a.close();
  }));

test("bytes that were received may be transferred while the next message is half here", () =>
  leakFree(async () => {
    const [near, raw] = socketPair("stream");
    const a = openChannel<Uint8Array>(near, { codec: "bytes" });
    const second = frame("second");
    await raw.send(Buffer.concat([frame("first"), second.subarray(0, 14)]));
    const { value } = (await a.receive())!;
    structuredClone(value, { transfer: [value.buffer as ArrayBuffer] });
    await raw.send(second.subarray(14));
    expect(Buffer.from((await a.receive())!.value).toString()).toBe("second");
    a.close();
    raw.close();
  }));

test("an escaped $fd is a $fd", () =>
  leakFree(async () => {
    const [a, raw] = withRaw("stream");
    using fd = marked("log");
    await raw.send(frame('{"log":{"\\u0024fd":0}}', { fds: 1 }), { fds: [fd] });
    await raw.send(frame('{"\\u0024$\\u0066d":1}'));
    using message = (await a.receive())!;
    expect(markOf(message.value["log"] as Fd)).toBe("log");
    expect((await a.receive())!.value).toEqual({ $fd: 1 });
    a.close();
    raw.close();
  }));

test("a codec that throws nothing, and an error that throws when it is read", () =>
  leakFree(async () => {
    const [near, raw] = socketPair("stream");
    const codec = {
      encode: () => ({ data: "", fds: [] }),
      decode: () => {
        throw undefined;
      },
    };
    const a = openChannel(near, { codec });
    await raw.send(frame("1"));
    expect(await codeOf(() => a.receive())).toBe("EPROTO");
    a.close();
    raw.close();
    const [c, d] = pair("stream");
    void d.serve(() => {
      throw {
        get message() {
          throw new Error("no");
        },
      };
    });
    expect(await thrown(() => c.request(1))).toMatchObject({ message: "the request failed" });
    c.close();
    d.close();
  }));

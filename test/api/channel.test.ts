// Channels: whole messages, their descriptors, requests; what is wrong, and who closes what.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { fstatSync } from "node:fs";
import {
  type Channel,
  type ChannelOptions,
  type Codec,
  type Fd,
  listen,
  openChannel,
  RemoteError,
  SharedMemory,
  socketPair,
  UnixError,
} from "../../src/index.ts";
import { fewer, slower } from "../support/child.ts";
import { connectionTypes, freshPath } from "./pairs.ts";
import { codeOf, eventually, failure, leakFree, marked, markOf, thrown, turns } from "./tools.ts";

setDefaultTimeout(30_000 * slower);

const REQUESTS = fewer(10_000);

interface Value {
  [key: string]: unknown;
}

function pair(
  type: (typeof connectionTypes)[number],
  options: ChannelOptions = {},
): [Channel<Value, unknown>, Channel<Value, unknown>] {
  const [near, far] = socketPair(type);
  const open = options as ChannelOptions<Value, unknown>;
  return [openChannel<Value, unknown>(near, open), openChannel<Value, unknown>(far, open)];
}

for (const type of connectionTypes) {
  describe(type, () => {
    test("a value arrives as it was, descriptors in their places", () =>
      leakFree(async () => {
        const [a, b] = pair(type);
        using fd = marked("log");
        using memory = SharedMemory.create("shared");
        using listener = listen(freshPath());
        const value = { cmd: "serve", on: listener, deep: [{ log: fd }, { log: fd }], memory };
        await a.send({ ...value, $fd: 1, $$fd: [{ $fd: 2 }], ["__proto__"]: { x: 1 } });
        const message = await b.receive();
        const got = message!.value as Value & { deep: { log: Fd }[]; on: Fd; memory: Fd };
        expect(got["cmd"]).toBe("serve");
        expect(got["$fd"]).toBe(1);
        expect(got["$$fd"]).toEqual([{ $fd: 2 }]);
        expect(markOf(got.deep[0]!.log)).toBe("log");
        expect(got.deep[1]!.log).toBe(got.deep[0]!.log);
        expect(fstatSync(got.on.fd).ino).toBe(fstatSync(listener.fd).ino);
        expect(fstatSync(got.memory.fd).ino).toBe(fstatSync(memory.fd).ino);
        expect(message!.fds).toHaveLength(3);
        message!.close();
        expect(got.on.closed).toBe(true);
        a.close();
        b.close();
      }));

    test("descriptors that are taken stay; transfer closes the sender's", () =>
      leakFree(async () => {
        const [a, b] = pair(type);
        const fd = marked("given");
        await a.send({ fd }, { transfer: true });
        expect(fd.closed).toBe(true);
        const message = (await b.receive())!;
        const [taken] = message.takeFds();
        message.close();
        expect(markOf(taken!)).toBe("given");
        taken!.close();
        a.close();
        b.close();
      }));

    test("3 MB, 600 descriptors, and many short ones wait for room, in order", () =>
      leakFree(async () => {
        const [a, b] = pair(type, { maxFds: 1000 });
        const fds = Array.from({ length: 600 }, (_, i) => marked(String(i)));
        const sent = [
          a.send({ n: 0, text: "é".repeat(1_500_000) }),
          a.send({ n: 1, fds }),
          ...Array.from({ length: 2000 }, (_, i) => a.send({ n: 2 + i })),
        ];
        for (const fd of fds) fd.close();
        let n = 0;
        for await (const message of b) {
          expect(message.value["n"]).toBe(n++);
          if (n === 1) expect(message.value["text"]).toHaveLength(1_500_000);
          if (n === 2) expect((message.value["fds"] as Fd[]).map(markOf).at(-1)).toBe("599");
          message.close();
          if (n === 2002) break;
        }
        await Promise.all(sent);
        a.close();
        expect(await b.receive()).toBeNull();
        b.close();
      }));

    test("trySend says false where there is no room, and nothing was sent", () =>
      leakFree(async () => {
        const [a, b] = pair(type);
        let sent = 0;
        while (a.trySend({ sent, pad: "x".repeat(1000) })) sent++;
        expect(sent).toBeGreaterThan(10);
        let got = 0;
        const end = b.consume(({ value }) => expect(value["sent"]).toBe(got++));
        await eventually(() => got >= sent, "all that was sent has come");
        await a.send({ sent: got });
        await a[Symbol.asyncDispose]();
        await end;
        expect(got).toBe(sent + 1);
        b.close();
      }));

    test("a send that waits is dropped by its signal, whole; the others go on", () =>
      leakFree(async () => {
        const [a, b] = pair(type);
        while (a.trySend({ n: -1, pad: "x".repeat(5000) }));
        const stops = Array.from({ length: 20 }, () => new AbortController());
        using fd = marked("kept");
        const sends = stops.map(({ signal }, n) => a.send({ n, fd }, { signal }).catch((e) => e));
        for (const stop of stops.filter((_, i) => i % 2 === 1)) stop.abort(new Error("enough"));
        const seen: unknown[] = [];
        const end = b.consume(({ value }) => {
          if (value["n"] !== -1) seen.push(value["n"]);
        });
        const results = await Promise.all(sends);
        await a[Symbol.asyncDispose]();
        await end;
        const dropped = results.flatMap((result, n) => (result === undefined ? [] : [n]));
        expect(dropped.every((n) => n % 2 === 1)).toBe(true);
        expect(dropped.length).toBeGreaterThan(0);
        expect(seen).toEqual(results.flatMap((result, n) => (result === undefined ? [n] : [])));
        b.close();
      }));

    test("10,000 requests at once, both ways, cancelled at random: none mixed up, none lost", () =>
      leakFree(async () => {
        const [a, b] = pair(type);
        const serve = (channel: Channel<Value, unknown>): Promise<void> =>
          channel.serve(async ({ value }) => {
            await (Number(value["n"]) % 3 === 0 ? Bun.sleep(1) : undefined);
            return { answer: value["n"] };
          });
        const serving = [serve(a), serve(b)];
        const outcomes = await Promise.all(
          Array.from({ length: REQUESTS }, async (_, n) => {
            const stop = Math.random() < 0.2 ? new AbortController() : undefined;
            const asked = (n % 2 === 0 ? a : b).request({ n }, { signal: stop?.signal });
            const abort = (): void => stop?.abort("changed my mind");
            if (Math.random() < 0.3) queueMicrotask(abort);
            else setTimeout(abort, Math.random() * 300);
            const answer = await asked.catch((reason) => reason);
            if (answer === "changed my mind") return "cancelled";
            return answer.value.answer === n ? "right" : "wrong";
          }),
        );
        const count = (what: string): number => outcomes.filter((one) => one === what).length;
        expect(count("wrong")).toBe(0);
        expect(count("right") + count("cancelled")).toBe(REQUESTS);
        expect(count("cancelled")).toBeGreaterThan(0);
        console.log(`note: ${type}: ${count("cancelled")} of ${REQUESTS} cancelled`);
        await turns();
        a.close();
        await serving[1];
        expect(await codeOf(() => b.request({ n: 1 }))).toBe("ECONNRESET");
        b.close();
        await serving[0];
      }));

    test("what a handler throws arrives as a RemoteError: message and code, no stack", () =>
      leakFree(async () => {
        const [a, b] = pair(type);
        void b.serve(({ value }) => {
          if (value["code"] === undefined) throw "just text";
          throw Object.assign(new Error("not you"), { code: value["code"] });
        });
        const error = await thrown(() => a.request({ code: "EACCES" }));
        expect(error).toBeInstanceOf(RemoteError);
        expect(error).toMatchObject({ name: "RemoteError", message: "not you", code: "EACCES" });
        expect(await thrown(() => a.request({}))).toMatchObject({ message: "the request failed" });
        a.close();
        b.close();
      }));

    test("requests that nobody serves fail with ENOSYS; time limits, maxRequests", () =>
      leakFree(async () => {
        const [a, b] = pair(type, { maxRequests: 2 });
        const receiving = b.receive();
        expect(await thrown(() => a.request({}))).toMatchObject({ code: "ENOSYS" });
        let go = (): void => {};
        const open = new Promise<void>((resolve) => (go = resolve));
        void b.serve(() => open.then(() => 1));
        const two = [a.request(1), a.request(2)];
        expect(await codeOf(() => a.request(3))).toBe("ENOBUFS");
        expect(await codeOf(() => Promise.race([a.request(4, { timeoutMs: 1 })]))).toBe("ENOBUFS");
        go();
        expect((await Promise.all(two)).map(({ value }) => value as unknown)).toEqual([1, 1]);
        a.close();
        expect(await receiving).toBeNull();
        b.close();
      }));

    test("an answer with descriptors that are transferred", () =>
      leakFree(async () => {
        const [a, b] = pair(type);
        let made: Fd | null = null;
        void b.serve((_, context) =>
          context.reply({ fd: (made = marked("x")) }, { transfer: true }),
        );
        using answer = await a.request({});
        expect(markOf(answer.value["fd"] as Fd)).toBe("x");
        expect((made as Fd | null)?.closed).toBe(true);
        a.close();
        b.close();
      }));

    test("a consumer that waits for an answer over the same channel gets it", () =>
      leakFree(async () => {
        const [a, b] = pair(type);
        void a.serve(({ value }) => ({ twice: 2 * Number(value["n"]) }));
        const got: unknown[] = [];
        const end = b.consume(async ({ value }) => {
          using answer = await b.request({ n: value["n"] });
          got.push(answer.value["twice"]);
        });
        for (let n = 0; n < 5; n++) await a.send({ n });
        await eventually(() => got.length === 5, "five answers");
        expect(got).toEqual([0, 2, 4, 6, 8]);
        a.close();
        await end;
        b.close();
      }));

    test("over the limits: EMSGSIZE, and the channel is closed", () =>
      leakFree(async () => {
        for (const limits of [{ maxMessageBytes: 1000 }, { maxFds: 2 }]) {
          const [a, b] = pair(type, limits);
          const fds = [marked("1"), marked("2"), marked("3")];
          void a.send({ fds, pad: "x".repeat(2000) }).catch(() => {});
          expect(await codeOf(() => b.receive())).toBe("EMSGSIZE");
          expect(b.closed).toBe(true);
          for (const fd of fds) fd.close();
          a.close();
        }
      }));
  });
}

test("bytes, and a codec of one's own", () =>
  leakFree(async () => {
    const [near, far] = socketPair("stream");
    const a = openChannel<Uint8Array, Uint8Array | string>(near, { codec: "bytes" });
    const b = openChannel<Uint8Array, Uint8Array | string>(far, { codec: "bytes" });
    using fd = marked("beside");
    await a.send("text", { fds: [fd] });
    await a.send(new Uint8Array([1, 2, 3]));
    await a.send("");
    using first = await b.receive();
    expect([Buffer.from(first!.value).toString(), first!.fds.map(markOf)]).toEqual([
      "text",
      ["beside"],
    ]);
    const { value } = (await b.receive())!;
    expect([value.constructor, value.buffer.byteLength, ...value]).toEqual([
      Uint8Array,
      3,
      1,
      2,
      3,
    ]);
    expect((await b.receive())!.value).toHaveLength(0);
    expect(await thrown(() => a.send(7 as never))).toBeInstanceOf(TypeError);
    a.close();
    b.close();
    const codec: Codec<number, number> = {
      encode: (value) => ({ data: String(value), fds: [] }),
      decode: (data) => Number(Buffer.from(data).toString()),
    };
    const [c, d] = socketPair("seqpacket").map((socket) => openChannel(socket, { codec }));
    await c!.send(42);
    expect((await d!.receive())!.value).toBe(42);
    c!.close();
    d!.close();
  }));

test("bad arguments before anything is sent", async () => {
  const [near, far] = socketPair("stream");
  const channel = openChannel(near);
  expect(() => openChannel(far, { codec: "xml" as never })).toThrow(TypeError);
  expect(() => openChannel(far, { maxFds: -1 })).toThrow(RangeError);
  expect(() => openChannel({} as never)).toThrow(TypeError);
  expect(() => channel.send(undefined)).toThrow(TypeError);
  expect(() => channel.serve(1 as never)).toThrow(TypeError);
  expect(() => channel.request(1, { timeoutMs: -1 })).toThrow(RangeError);
  channel.close();
  far.close();
  const error = await failure(() => channel.receive());
  expect([error instanceof UnixError, error.code]).toEqual([true, "ERR_CLOSED"]);
  expect(await codeOf(() => channel.request(1))).toBe("ERR_CLOSED");
});

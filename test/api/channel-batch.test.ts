// Messages of one turn that go out together: what one of them does to the others; and what a value
// of the caller's may do while a message is put together.

import { describe, expect, test } from "bun:test";
import { openChannel, socketPair } from "../../src/index.ts";
import { frame, kind } from "./channel-frames.ts";
import { leakFree, marked, markOf, turns } from "./tools.ts";

const types = ["stream", "seqpacket"] as const;

describe.each(types.map((type) => [type] as const))("%s", (type) => {
  test("a small send buffer: each goes, in packets that fit", () =>
    leakFree(async () => {
      const [near, far] = socketPair(type);
      const [a, b] = [openChannel(near), openChannel<string>(far)];
      near.sendBufferBytes = 4096; // after the channel was opened
      const texts = Array.from({ length: 100 }, (_, i) => `${i}`.padEnd(500, "x"));
      texts.push("y".repeat(100_000)); // longer than a packet there
      const sending = Promise.all(texts.map((text) => a.send(text)));
      const got: string[] = [];
      for (const _ of texts) got.push((await b.receive())!.value);
      await sending;
      expect(got).toEqual(texts);
      a.close();
      b.close();
    }));

  test("the peer leaves with a part of them read: its answers count, the others fail", () =>
    leakFree(async () => {
      const [near, raw] = socketPair(type);
      near.sendBufferBytes = 4096;
      const channel = openChannel<number>(near);
      const pad = "x".repeat(1000);
      const asked = Array.from({ length: 40 }, (_, i) => channel.request({ i, pad }));
      const outcomes = Promise.all(
        asked.map((one) => one.then(() => "answered").catch(({ code }) => code)),
      );
      await turns();
      await raw.receive(); // the first one, and on a stream some more
      await raw.send(frame("1", { kind: kind.answer, number: 1 }));
      await raw.send(frame("2", { kind: kind.answer, number: 2 }));
      raw.close();
      const [first, second, ...others] = await outcomes;
      expect([first, second]).toEqual(["answered", "answered"]);
      expect(others.filter((code) => code !== "ECONNRESET" && code !== "EPIPE")).toEqual([]);
      channel.close();
    }));

  test.each([
    ["", 1],
    [" (many descriptors, in two frames)", 300],
  ])("a descriptor that sends when it is asked for its number: two whole messages%s", (_, many) =>
    leakFree(async () => {
      const [near, far] = socketPair(type);
      const options = { maxFds: 1000 };
      const [a, b] = [openChannel(near), openChannel<{ readonly text: string }>(far, options)];
      using fd = marked("here");
      let asked = 0;
      const sends = {
        get fd(): number {
          asked++;
          a.trySend({ text: "inner".repeat(20) });
          return fd.fd;
        },
      };
      const fds = Array.from({ length: many - 1 }, () => fd.fd);
      expect(a.trySend({ text: "outer" }, { fds: [...fds, sends] })).toBe(true);
      const texts: string[] = [];
      for (let i = 0; i <= asked; i++) {
        using one = (await b.receive())!;
        texts.push(one.value.text);
        expect(one.fds).toHaveLength(one.value.text === "outer" ? many : 0);
        expect(one.fds.every((came) => markOf(came) === "here")).toBe(true);
      }
      expect(texts.filter((text) => text !== "inner".repeat(20))).toEqual(["outer"]);
      a.close();
      b.close();
    }),
  );
});

test("bytes of a view that lies about its length arrive as they are", () =>
  leakFree(async () => {
    class Liar extends Uint8Array {
      override get length(): number {
        return 3;
      }
    }
    const [near, far] = socketPair("stream");
    const [a, b] = [openChannel(near, { codec: "bytes" }), openChannel(far, { codec: "bytes" })];
    for (const size of [10, 100_000]) {
      const sending = a.send(new Liar(size).fill(7));
      await a.send("next");
      await sending;
      expect(Buffer.from((await b.receive())!.value as Uint8Array)).toEqual(Buffer.alloc(size, 7));
      expect(Buffer.from((await b.receive())!.value as Uint8Array).toString()).toBe("next");
    }
    a.close();
    b.close();
  }));

test("a codec of one's own gives bytes or text, and a list", async () => {
  const [near, far] = socketPair("stream");
  const encode = (encoded: unknown): { data: string; fds: [] } => encoded as never;
  const channel = openChannel(near, { codec: { encode, decode: (data) => data } });
  const wrong = [
    { data: new Uint16Array(4), fds: [] },
    { data: new DataView(new ArrayBuffer(4)), fds: [] },
    { data: 5, fds: [] },
    { data: "text" },
    undefined,
  ];
  for (const one of wrong) expect(() => channel.trySend(one)).toThrow(TypeError);
  expect(channel.trySend({ data: "right", fds: [] })).toBe(true);
  expect((await far.receive())!.text().slice(12)).toBe("right");
  channel.close();
  far.close();
});

/** Each is as JSON.stringify has it, with a descriptor beside it and without. */
const values: Record<string, unknown> = {
  dates: { at: new Date(0), list: [new Date(1)] },
  "numbers, strings and booleans as objects": [Object(1), Object("text"), Object(false)],
  "what JSON has not": { no: undefined, list: [undefined, () => 1, Symbol("s")], not: Number.NaN },
  "keys of all kinds": JSON.parse('{"__proto__":{"a":1},"":2,"1":3,"$":4,"$fdx":5,"$$":6}'),
  "a list with holes": Object.assign([1], { 2: 3 }),
  "no prototype": Object.assign(Object.create(null), { a: 1 }),
  "a class, inherited keys, getters": new (class extends Map {
    own = 1;
    get inherited(): number {
      return 2;
    }
  })(),
  "one that says what it is": { toJSON: () => ({ said: [1] }) },
  deep: JSON.parse(`${"[".repeat(100)}1${"]".repeat(100)}`),
};

test.each(Object.entries(values))("%s, as JSON has it, descriptors or not", (_, value) =>
  leakFree(async () => {
    const [near, far] = socketPair("stream");
    const [a, b] = [openChannel(near), openChannel<Record<string, unknown>>(far)];
    using fd = marked("beside");
    const plain = JSON.parse(JSON.stringify({ value }));
    await a.send({ value });
    expect((await b.receive())!.value).toEqual(plain);
    await a.send({ value, $fd: 1, beside: [fd, { inner: fd }] });
    using both = (await b.receive())!;
    const { beside, ...rest } = both.value;
    expect(rest).toEqual({ ...plain, $fd: 1 });
    expect(both.fds).toHaveLength(1);
    expect(beside).toEqual([both.fds[0], { inner: both.fds[0] }] as never);
    a.close();
    b.close();
  }),
);

test("a descriptor in what a value's toJSON gives", () =>
  leakFree(async () => {
    const [near, far] = socketPair("stream");
    const [a, b] = [openChannel(near), openChannel<{ job: { log: never } }>(far)];
    using fd = marked("inside");
    class Job {
      toJSON(): unknown {
        return { log: fd };
      }
    }
    await a.send({ job: new Job() });
    using message = (await b.receive())!;
    expect(markOf(message.value.job.log)).toBe("inside");
    a.close();
    b.close();
  }));

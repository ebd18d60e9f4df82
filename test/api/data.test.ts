// Data goes through unchanged: every kind of socket, address, direction and form.

import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { type Data, type Payload, socketPair } from "../../src/index.ts";
import { smallBuffers, testUnless } from "../support/unless.ts";
import { forms, pairVariants, variants } from "./pairs.ts";
import { fill, must, pattern, readExactly } from "./tools.ts";

const backing = new Uint8Array([9, 8, 7, 104, 195, 169, 33, 6, 5]).buffer;

const payloads: readonly [name: string, data: Payload, bytes: Buffer][] = [
  ["ASCII text", "hello", Buffer.from("hello")],
  ["text beyond ASCII", "héllo € 😀 \u0000 end", Buffer.from("héllo € 😀 \u0000 end")],
  ["a Uint8Array", new Uint8Array([0, 1, 254, 255]), Buffer.from([0, 1, 254, 255])],
  ["a small Buffer", Buffer.from("pooled"), Buffer.from("pooled")],
  ["a view with an offset", new Uint8Array(backing, 3, 4), Buffer.from("hé!")],
  ["a subarray", new Uint8Array(backing).subarray(1, 3), Buffer.from([8, 7])],
  ["a DataView with an offset", new DataView(backing, 4, 3), Buffer.from([195, 169, 33])],
  ["an ArrayBuffer", backing, Buffer.from(backing)],
  ["a Float64Array", new Float64Array([1.5]), Buffer.from(new Float64Array([1.5]).buffer)],
  [
    "an array of all of them",
    ["a€", new Uint8Array(backing, 3, 4), backing, new DataView(backing, 8), ""],
    Buffer.concat([Buffer.from("a€hé!"), Buffer.from(backing), Buffer.from([5])]),
  ],
  ["more than 1,024 parts", Array.from({ length: 3000 }, (_, i) => `${i % 10}`), digits(3000)],
  ["64 KiB of text", "€".repeat(21_845), Buffer.from("€".repeat(21_845))],
];

function digits(count: number): Buffer {
  return Buffer.from(Array.from({ length: count }, (_, i) => `${i % 10}`).join(""));
}

describe.each(variants)("$name", ({ kind, stream, open }) => {
  for (const form of forms) {
    test(`${form.name}: what is sent is what is received`, async () => {
      using pair = await open();
      for (const [name, data, bytes] of payloads) {
        await form.send(pair.near, data);
        const received = stream
          ? await readExactly(pair.far, bytes.length)
          : Buffer.from(must(await form.receive(pair.far)).data);
        expect(received.equals(bytes), name).toBe(true);
      }
    });
  }

  test("a message says nothing that was not sent", async () => {
    using pair = await open();
    pair.near.trySend("plain");
    const message = must(pair.far.tryReceive());
    expect(message.text()).toBe("plain");
    expect(message.fds).toEqual([]);
    expect(message.credentials).toBeUndefined();
    expect(message.pidfd).toBeUndefined();
    expect(message.truncated).toBe(false);
    expect(message.fdsTruncated).toBe(false);
  });

  test("nothing now is undefined", async () => {
    using pair = await open();
    expect(pair.far.tryReceive()).toBeUndefined();
    expect(pair.far.tryReceiveInto(new Uint8Array(8))).toBeUndefined();
  });

  test("an empty send is nothing on a stream and a message elsewhere", async () => {
    using pair = await open();
    for (const form of forms) {
      for (const empty of ["", new Uint8Array(0), [], ["", ""]] satisfies Payload[]) {
        await form.send(pair.near, empty);
        const message = pair.far.tryReceive();
        if (stream) expect(message).toBeUndefined();
        else expect(must(message).data.length).toBe(0);
      }
    }
    pair.near.trySend("after");
    expect(must(pair.far.tryReceive()).text()).toBe("after");
  });

  test("boundaries are kept, except on a stream", async () => {
    using pair = await open();
    for (const text of ["one", "two", "three"]) await pair.near.send(text);
    const texts: string[] = [];
    for (let m = pair.far.tryReceive(); m; m = pair.far.tryReceive()) texts.push(m.text());
    expect(texts).toEqual(stream ? ["onetwothree"] : ["one", "two", "three"]);
  });

  test("too little room: a stream keeps the rest, a message is cut and says so", async () => {
    using pair = await open();
    pair.near.trySend("0123456789");
    pair.near.trySend("next");
    const first = must(pair.far.tryReceive({ maxBytes: 4 }));
    expect([first.text(), first.truncated]).toEqual(["0123", !stream]);
    expect(must(pair.far.tryReceive()).text()).toBe(stream ? "456789next" : "next");
  });

  test("exactly enough room is not cut", async () => {
    using pair = await open();
    pair.near.trySend("0123");
    const message = must(pair.far.tryReceive({ maxBytes: 4 }));
    expect([message.text(), message.truncated]).toEqual(["0123", false]);
  });

  test("receiveInto fills the view it was given and nothing beside it", async () => {
    using pair = await open();
    const whole = new Uint8Array(16).fill(0xaa);
    const view = new DataView(whole.buffer, 4, 6);
    const calls = [
      async () => pair.far.tryReceiveInto(view),
      async () => pair.far.receiveIntoSync(view, { timeoutMs: 10_000 }),
      () => pair.far.receiveInto(view),
    ];
    for (const receive of calls) {
      whole.fill(0xaa);
      await pair.near.send("abcdefgh");
      const received = await receive();
      expect(received?.bytes).toBe(6);
      expect(received?.truncated).toBe(!stream);
      expect(Buffer.from(whole).toString("latin1")).toBe(
        `${"\xaa".repeat(4)}abcdef${"\xaa".repeat(6)}`,
      );
      if (stream) await readExactly(pair.far, 2);
    }
  });

  test("a receive that waits gets what comes later, in the order of asking", async () => {
    using pair = await open();
    const waiting = [1, 2, 3].map(() => pair.far.receive({ maxBytes: 1 }));
    for (const text of ["a", "b", "c"]) await pair.near.send(text);
    const texts = (await Promise.all(waiting)).map((message) => must(message).text());
    expect(texts).toEqual(["a", "b", "c"]);
  });

  test("both ends send and receive at the same time", async () => {
    using pair = await open();
    const rounds = 500;
    const talk = async (socket: typeof pair.near): Promise<void> => {
      for (let i = 0; i < rounds; i++) await socket.send(`${i % 10}`);
    };
    const hear = (socket: typeof pair.near): Promise<Buffer> => readExactly(socket, rounds);
    const all = [talk(pair.near), hear(pair.far), talk(pair.far), hear(pair.near)] as const;
    const [, there, , back] = await Promise.all(all);
    expect(there.equals(digits(rounds))).toBe(true);
    expect(back.equals(digits(rounds))).toBe(true);
  });

  if (kind !== "datagram") {
    test("the iterator yields what comes until the end", async () => {
      using pair = await open();
      const sender = (async () => {
        for (const text of ["a", "b", "c"]) await pair.near.send(text);
        pair.near.close();
      })();
      let text = "";
      for await (const message of pair.far) text += message.text();
      await sender;
      expect(text).toBe("abc");
      expect(pair.far.closed).toBe(false);
    });
  }
});

describe("large streams", () => {
  const sizes = [2 ** 16, 2 ** 16 + 1, 2 ** 18 - 1, 2 ** 18, 2 ** 18 + 1, 2 ** 20, 2 ** 22];
  for (const size of sizes) {
    test(`${size} bytes arrive byte for byte`, async () => {
      const [near, far] = socketPair("stream");
      using _near = near;
      using _far = far;
      const bytes = pattern(size);
      const [, received] = await Promise.all([near.send(bytes), readExactly(far, size)]);
      expect(received.equals(bytes)).toBe(true);
    });
  }

  test("4 MiB in 5,000 parts of many kinds arrive in order", async () => {
    const [near, far] = socketPair("stream");
    using _near = near;
    using _far = far;
    const bytes = pattern(4 * 2 ** 20, 7);
    const parts: Data[] = [];
    for (let at = 0, i = 0; at < bytes.length; i++) {
      const length = Math.min(bytes.length - at, 1 + ((i * 7919) % 1700));
      const part = bytes.subarray(at, at + length);
      parts.push(i % 2 === 0 ? part : new DataView(bytes.buffer, part.byteOffset, length));
      at += length;
    }
    const [, received] = await Promise.all([near.send(parts), readExactly(far, bytes.length)]);
    expect(received.equals(bytes)).toBe(true);
  });

  test("trySend takes a part and says how much; the rest is not sent", () => {
    const [near, far] = socketPair("stream");
    using _near = near;
    using _far = far;
    const bytes = pattern(2 ** 22);
    const taken = near.trySend(bytes) ?? 0;
    expect(taken).toBeGreaterThan(0);
    expect(taken).toBeLessThan(bytes.length);
    expect(near.trySend("more")).toBeNull();
    let got = Buffer.alloc(0);
    for (let m = far.tryReceive(); m; m = far.tryReceive()) got = Buffer.concat([got, m.data]);
    expect(got.equals(bytes.subarray(0, taken))).toBe(true);
  });
});

test("any split of any bytes into sends comes out as the same bytes", async () => {
  const [near, far] = socketPair("stream");
  using _near = near;
  using _far = far;
  const sends = fc.array(fc.array(fc.uint8Array({ maxLength: 3000 }), { maxLength: 5 }), {
    maxLength: 8,
  });
  await fc.assert(
    fc.asyncProperty(sends, async (groups) => {
      const expected = Buffer.concat(groups.flat());
      const all = Promise.all(groups.map((parts) => near.send(parts)));
      const received = await readExactly(far, expected.length);
      await all;
      expect(received.equals(expected)).toBe(true);
    }),
    { numRuns: 100 },
  );
});

describe.each(pairVariants)("$name", ({ stream, open }) => {
  test("data may be changed as soon as a send has resolved", async () => {
    using pair = await open();
    const bytes = new Uint8Array([1, 2, 3]);
    await pair.near.send(bytes);
    bytes.fill(0);
    expect([...must(pair.far.tryReceive()).data]).toEqual([1, 2, 3]);
  });

  test("received data is the receiver's own memory", async () => {
    using pair = await open();
    pair.near.trySend("first");
    const first = must(pair.far.tryReceive());
    pair.near.trySend("later");
    const second = must(pair.far.tryReceive());
    expect([first.text(), second.text()]).toEqual(["first", "later"]);
    first.data.fill(0);
    expect(second.text()).toBe("later");
  });

  test("maxMessageBytes bounds every receive", async () => {
    using pair = await open({ maxMessageBytes: 5 });
    pair.near.trySend("0123456789");
    const message = must(pair.far.tryReceive());
    expect([message.text(), message.truncated]).toEqual(["01234", !stream]);
  });

  if (!stream) {
    const size = 600_000;
    const whole = "a message longer than the shared buffer comes whole where there is room";
    testUnless(smallBuffers(size), whole, async () => {
      using pair = await open({ sendBufferBytes: 2 ** 20, maxMessageBytes: size });
      const bytes = pattern(size);
      await pair.near.send(bytes);
      const message = must(pair.far.tryReceive());
      expect(message.truncated).toBe(false);
      expect(Buffer.from(message.data).equals(bytes)).toBe(true);
    });

    test("the boundaries of 200 messages of growing length are kept", async () => {
      using pair = await open();
      const sent = Array.from({ length: 200 }, (_, i) => pattern(i * 97, i + 1));
      const all = Promise.all(sent.map((bytes) => pair.near.send(bytes)));
      for (const bytes of sent) {
        expect(Buffer.from(must(await pair.far.receive()).data).equals(bytes)).toBe(true);
      }
      await all;
      expect(fill(pair.near, "x")).toBeGreaterThan(0);
    });
  }
});

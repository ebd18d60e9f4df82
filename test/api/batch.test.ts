// sendBatch and receiveBatch: many messages with one system call, each as if sent alone.

import { describe, expect, test } from "bun:test";
import { closeSync } from "node:fs";
import {
  type BatchMessage,
  type DatagramSocket,
  type Message,
  openDatagram,
  type SeqpacketSocket,
  socketPair,
} from "../../src/index.ts";
import { Memory } from "../../src/syscalls/memory.ts";
import { type Ends, freshAddress, freshPath, variants } from "./pairs.ts";
import {
  callsOf,
  closeAll,
  codeOf,
  failure,
  fill,
  leakFree,
  marked,
  markedMany,
  markOf,
  pattern,
} from "./tools.ts";

type Packets = SeqpacketSocket | DatagramSocket;
const packets = variants.filter(({ kind }) => kind !== "stream");
const texts = (batch: readonly Message[] | null | undefined): string[] | null | undefined =>
  batch?.map((message) => message.text());
const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => `${i}`);

/** All of `count` messages, as often as it takes. */
async function receiveAll(socket: Packets, count: number): Promise<string[]> {
  const all: string[] = [];
  while (all.length < count) all.push(...(texts(await socket.receiveBatch({ max: 100 })) ?? []));
  return all;
}

describe.each(packets)("$name", ({ kind, open }) => {
  const opened = open as (options?: Parameters<typeof open>[0]) => Promise<Ends<Packets>>;

  for (const count of [0, 1, 63, 64, 65, 129, 1500]) {
    test(`${count} messages, in order`, () =>
      leakFree(async () => {
        using pair = await opened();
        const sending = pair.near.sendBatch(numbers(count));
        expect(await receiveAll(pair.far, count)).toEqual(numbers(count));
        await sending;
        expect(pair.far.tryReceiveBatch()).toBeUndefined();
      }));
  }

  test("descriptors that wait are those that were given, whoever gets their numbers", () =>
    leakFree(async () => {
      using pair = await opened();
      while (pair.near.trySendBatch(["x".repeat(900)]) === 1);
      const given = markedMany(3);
      const sending = pair.near.sendBatch(given.map((fd, i) => ({ data: `${i}`, fds: [fd] })));
      closeAll(given);
      using _a = marked("another");
      using _b = marked("another");
      using _c = marked("another");
      const marks: string[] = [];
      while (marks.length < 3) {
        using message = await pair.far.receive();
        for (const fd of message?.fds ?? []) marks.push(markOf(fd));
      }
      await sending;
      expect(marks).toEqual(["fd 0", "fd 1", "fd 2"]);
    }));

  test("trySendBatch says how many fit, and those arrive", async () => {
    using pair = await opened();
    const sent = pair.near.trySendBatch(numbers(2000));
    expect(sent).toBeGreaterThan(0);
    expect(sent).toBeLessThan(2000);
    expect(pair.near.trySendBatch(["full"])).toBe(0);
    expect(await receiveAll(pair.far, sent)).toEqual(numbers(sent));
    expect(pair.near.trySendBatch([])).toBe(0);
  });

  test("max bounds a batch; the rest stays", async () => {
    using pair = await opened();
    await pair.near.sendBatch(numbers(50));
    expect(texts(pair.far.tryReceiveBatch({ max: 3 }))).toEqual(["0", "1", "2"]);
    expect(pair.far.tryReceiveBatch()?.length).toBe(32);
    expect(texts(await pair.far.receiveBatch({ max: 1 }))).toEqual(["35"]);
    expect(pair.far.tryReceiveBatch({ max: 1024 })?.length).toBe(14);
  });

  test("all forms of data, short and long", async () => {
    using pair = await opened();
    const long = pattern(9000);
    const batch: BatchMessage[] = [
      "text €",
      "l".repeat(3000),
      new Uint8Array([1, 2]),
      long,
      new DataView(long.buffer, long.byteOffset + 5, 10),
      new Uint8Array([7]).buffer,
      "",
      { data: ["a", new Uint8Array([98]), "c"] },
      { data: "with options" },
    ];
    await pair.near.sendBatch(batch);
    const received = (await pair.far.receiveBatch())?.map(({ data }) => Buffer.from(data));
    const expected = [
      Buffer.from("text €"),
      Buffer.from("l".repeat(3000)),
      Buffer.from([1, 2]),
      long,
      long.subarray(5, 15),
      Buffer.from([7]),
      Buffer.alloc(0),
      Buffer.from("abc"),
      Buffer.from("with options"),
    ];
    expect(received?.length).toBe(expected.length);
    for (const [i, bytes] of expected.entries()) expect(received?.[i]?.equals(bytes)).toBe(true);
  });

  test("each message has its own descriptors", () =>
    leakFree(async () => {
      using pair = await opened();
      const fds = markedMany(4);
      const given = marked("given");
      await pair.near.sendBatch([
        { data: "0", fds: fds.slice(0, 1) },
        "none",
        { data: "3", fds: fds.slice(1) },
        { data: "given", fds: [given], transfer: true },
      ]);
      expect(given.closed).toBe(true);
      const batch = (await pair.far.receiveBatch()) ?? [];
      expect(batch.map((message) => message.fds.map(markOf))).toEqual([
        ["fd 0"],
        [],
        ["fd 1", "fd 2", "fd 3"],
        ["given"],
      ]);
      closeAll(batch);
      closeAll(fds);
    }));

  test("64 messages with 253 descriptors each", () =>
    leakFree(async () => {
      using pair = await opened({ sendBufferBytes: 2 ** 20 });
      using fd = marked("m");
      const fds = Array(253).fill(fd.fd);
      const sending = pair.near.sendBatch(numbers(64).map((data) => ({ data, fds })));
      let got = 0;
      for (let i = 0; i < 64; ) {
        const batch = (await pair.far.receiveBatch()) ?? [];
        for (const message of batch) got += message.fds.length;
        i += batch.length;
        closeAll(batch);
      }
      await sending;
      expect(got).toBe(64 * 253);
    }));

  test("a bad descriptor in the middle: those before it were sent, those after it were not", () =>
    leakFree(async () => {
      using pair = await opened();
      const bad = marked("gone").release();
      closeSync(bad);
      const batch = ["0", "1", { data: "2", fds: [bad] }, "3"];
      const error = await failure(() => pair.near.sendBatch(batch));
      expect([error.code, error.syscall]).toEqual(["EBADF", "sendmsg"]);
      expect(texts(pair.far.tryReceiveBatch())).toEqual(["0", "1"]);
      expect(pair.near.trySendBatch(batch)).toBe(2);
      expect(texts(pair.far.tryReceiveBatch())).toEqual(["0", "1"]);
      expect(await codeOf(() => pair.near.trySendBatch([batch[2]!]))).toBe("EBADF");
      expect(pair.far.tryReceiveBatch()).toBeUndefined();
    }));

  test("cut messages are marked, each on its own", async () => {
    using pair = await opened();
    await pair.near.sendBatch(["0123456789", "ab", "abcd"]);
    const batch = (await pair.far.receiveBatch({ maxBytes: 4 })) ?? [];
    expect(batch.map((message) => [message.text(), message.truncated])).toEqual([
      ["0123", true],
      ["ab", false],
      ["abcd", false],
    ]);
  });

  test("credentials with each", async () => {
    using pair = await opened({ passCredentials: true });
    await pair.near.sendBatch([{ data: "a", credentials: {} }, "b"]);
    const batch = (await pair.far.receiveBatch()) ?? [];
    expect(batch.map(({ credentials }) => credentials?.pid)).toEqual([process.pid, process.pid]);
  });

  test("a batch goes behind what is queued", async () => {
    using pair = await opened();
    const filled = fill(pair.near, "f");
    const queued = pair.near.send("queued");
    const batch = pair.near.sendBatch(["b0", "b1"]);
    expect(pair.near.trySendBatch(["overtakes"])).toBe(0);
    const all = await receiveAll(pair.far, filled + 3);
    await Promise.all([queued, batch]);
    expect(all.slice(filled)).toEqual(["queued", "b0", "b1"]);
  });

  test("wrong batches are refused before any system call", async () => {
    using pair = await opened();
    const wrong = ["text", [1], [null], [{}], [{ data: 1 }], [{ data: "x", fds: [-1] }]];
    const calls = await callsOf(async () => {
      for (const batch of wrong) {
        const bad = batch as unknown as BatchMessage[];
        const problems = [
          await pair.near.sendBatch(bad).catch((error: unknown) => error),
          (() => {
            try {
              return pair.near.trySendBatch(bad);
            } catch (error) {
              return error;
            }
          })(),
        ];
        for (const problem of problems) {
          const known = problem instanceof TypeError || problem instanceof RangeError;
          expect(known, JSON.stringify(batch)).toBe(true);
        }
      }
      for (const max of [0, 1025, 1.5]) {
        expect(() => pair.far.tryReceiveBatch({ max })).toThrow(RangeError);
      }
    });
    expect(calls).toEqual([]);
    expect(pair.far.tryReceiveBatch()).toBeUndefined();
  });

  if (kind === "seqpacket") {
    test("the end: first the messages, then null, as often as asked", async () => {
      using pair = await opened();
      await pair.near.sendBatch(["a", ""]);
      pair.near.close();
      expect(texts(await pair.far.receiveBatch())).toEqual(["a", ""]);
      expect(await pair.far.receiveBatch()).toBeNull();
      expect(pair.far.tryReceiveBatch()).toBeNull();
      expect(await codeOf(() => pair.far.sendBatch(["x"]))).toBe("EPIPE");
    });

    test("a reset: the messages, then ECONNRESET, then the end", async () => {
      using pair = await opened();
      await pair.far.send("unread");
      await pair.near.sendBatch(["a", "b"]);
      pair.near.close();
      expect(texts(await pair.far.receiveBatch())).toEqual(["a", "b"]);
      expect(await codeOf(() => pair.far.receiveBatch())).toBe("ECONNRESET");
      expect(await pair.far.receiveBatch()).toBeNull();
    });
  }
});

describe("datagrams with addresses", () => {
  test("one batch to many receivers, long paths among them", () =>
    leakFree(async () => {
      using sender = openDatagram(freshPath());
      const paths = [freshPath(), freshAddress("abstract"), freshPath()];
      const receivers = paths.map((path) => openDatagram(path));
      await sender.sendBatch(
        numbers(30).map((data, i): BatchMessage => ({ data, to: paths[i % 3]! })),
      );
      for (const [i, receiver] of receivers.entries()) {
        const batch = receiver.tryReceiveBatch() ?? [];
        expect(texts(batch)).toEqual(numbers(30).filter((_, n) => n % 3 === i));
        for (const { from } of batch) expect(from).toEqual(sender.localAddress);
      }
      closeAll(receivers);
    }));

  test("500 messages to one that is full wait for room, in order", () =>
    leakFree(async () => {
      const to = freshPath();
      using receiver = openDatagram(to);
      using sender = openDatagram();
      const sending = sender.sendBatch(numbers(500).map((data): BatchMessage => ({ data, to })));
      expect(await receiveAll(receiver, 500)).toEqual(numbers(500));
      await sending;
    }));

  test("a receiver that is not there fails the batch at that message", async () => {
    const [to, missing] = [freshPath(), freshPath()];
    using receiver = openDatagram(to);
    using sender = openDatagram();
    const batch = [
      { data: "a", to },
      { data: "b", to: missing },
      { data: "c", to },
    ];
    const error = await failure(() => sender.sendBatch(batch));
    expect([error.code, error.address]).toEqual(["ENOENT", missing]);
    expect(texts(receiver.tryReceiveBatch())).toEqual(["a"]);
  });
});

describe("memory for what comes", () => {
  /** Bytes of ArrayBuffers that are made while `body` runs. */
  function allocated(body: () => void): number {
    const real = globalThis.ArrayBuffer;
    let bytes = 0;
    globalThis.ArrayBuffer = new Proxy(real, {
      construct(target, args: [number], self) {
        bytes += args[0];
        return Reflect.construct(target, args, self) as object;
      },
    });
    try {
      body();
    } finally {
      globalThis.ArrayBuffer = real;
    }
    return bytes;
  }

  test("is made once, whatever sizes are asked for in turn", () => {
    const [near, far] = socketPair("datagram");
    const sizes = [{ max: 1024 }, { max: 1024, maxBytes: 16 }, { max: 1, maxBytes: 2 ** 20 }, {}];
    const round = (): void => {
      for (const size of sizes) {
        near.trySend("x");
        expect(texts(far.tryReceiveBatch(size))).toEqual(["x"]);
      }
    };
    round();
    expect(allocated(() => new Memory(4096))).toBe(4096); // it does see what is made
    expect(allocated(round)).toBeLessThan(100_000);
    near.close();
    far.close();
  });
});

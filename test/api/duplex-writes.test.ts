// When what is written to a toDuplex() goes to the kernel, in which order, and who is told.

import { describe, expect, test } from "bun:test";
import { once } from "node:events";
import type net from "node:net";
import type { DescriptorDuplex, StreamSocket } from "../../src/index.ts";
import { socketPair } from "../../src/index.ts";
import { runSource, succeeded } from "../support/child.ts";
import { eventually, leakFree, marked, markOf, must, readExactly, turns } from "./tools.ts";

type Stream = DescriptorDuplex & net.Socket;

interface Pair extends Disposable {
  readonly duplex: Stream;
  readonly far: StreamSocket;
  /** What has reached the kernel and was not read yet. */
  now(): string | undefined;
}

/** `served`: as an HTTP server's socket. */
function open({ served = false } = {}): Pair {
  const [near, far] = socketPair("stream");
  const duplex = near.toDuplex();
  if (served) Object.assign(duplex, { server: {} });
  duplex.resume();
  return {
    duplex,
    far,
    now: () => far.tryReceive()?.text(),
    [Symbol.dispose]: () => {
      duplex.destroy();
      far.close();
    },
  };
}

describe("when it goes out", () => {
  test("the first write of a turn at once, those after it together at its end", async () => {
    using pair = open();
    expect(pair.duplex.write("one")).toBe(true);
    expect(pair.now()).toBe("one");
    pair.duplex.write("two");
    pair.duplex.write(Buffer.from("three"));
    expect(pair.now()).toBeUndefined();
    expect([pair.duplex.bytesWritten, pair.duplex.writableLength]).toEqual([11, 0]);
    await null;
    expect(pair.now()).toBe("twothree");
  });

  test("an HTTP server's: together, the first too", async () => {
    using pair = open({ served: true });
    pair.duplex.write("head ");
    pair.duplex.write("body");
    expect(pair.now()).toBeUndefined();
    await null;
    expect(pair.now()).toBe("head body");
  });

  test("an answer from inside a listener, before the next event", async () => {
    using pair = open({ served: true });
    const [other, far] = socketPair("stream");
    const second = other.toDuplex();
    const log: (string | undefined)[] = [];
    pair.duplex.on("data", () => {
      pair.duplex.write("a");
      pair.duplex.write("b");
    });
    second.on("data", () => log.push(pair.now()));
    await turns(); // both read
    pair.far.trySend("?");
    far.trySend("?");
    await eventually(() => log.length > 0, "the other stream's data");
    expect(log).toEqual(["ab"]);
    second.destroy();
    far.close();
  });

  for (const how of ["cork", "end", "destroy", "destroySoon", "writeWithFds", "large", "latin1"]) {
    test(`what is held goes before ${how}`, () =>
      leakFree(async () => {
        using pair = open({ served: true });
        using file = marked("x");
        const { duplex, far } = pair;
        duplex.write("held ");
        let want = "held ";
        if (how === "cork") {
          duplex.cork();
          duplex.write("corked ");
          duplex.write("too");
          duplex.uncork();
          want += "corked too";
        } else if (how === "end") {
          duplex.end("end");
          want += "end";
        } else if (how === "destroy") duplex.destroy();
        else if (how === "destroySoon") duplex.destroySoon();
        else if (how === "writeWithFds") {
          duplex.writeWithFds(Buffer.from("fds"), [file]);
          want += "fds";
        } else if (how === "large") {
          duplex.write("x".repeat(100_000));
          want += "x".repeat(100_000);
        } else {
          duplex.write("\u00e4", "latin1");
          want += "\ufffd";
        }
        expect(
          String(await readExactly(far, Buffer.byteLength(want) - (how === "latin1" ? 2 : 0))),
        ).toBe(want);
      }));
  }

  test("in the order of the calls, whatever is mixed", async () => {
    for (const served of [false, true]) {
      using pair = open({ served });
      let want = "";
      for (let i = 0; i < 400; i++) {
        const text = `${i},`.repeat(i % 7 === 0 ? 3000 : 1);
        want += text;
        if (i % 11 === 0) pair.duplex.cork();
        pair.duplex.write(i % 2 === 0 ? text : Buffer.from(text));
        if (i % 11 === 0) pair.duplex.uncork();
        if (i % 13 === 0) await null;
        if (i % 57 === 0) await turns();
      }
      expect(String(await readExactly(pair.far, want.length))).toBe(want);
    }
  });

  test("also when the process ends in the same turn", async () => {
    const source = `
      import { adoptSocket } from "@/src/index.ts";
      const stream = adoptSocket(3).toDuplex();
      stream.write("first ");
      stream.write("second");
      process.exit(0);`;
    const [near, far] = socketPair("stream");
    succeeded(await runSource(source, { fds: [near.fd] }));
    near.close();
    expect(must(await far.receive()).text()).toBe("first second");
    far.close();
  });
});

describe("who is told", () => {
  test("callbacks come in the order of the writes, later than the call", async () => {
    using pair = open();
    const log: string[] = [];
    for (const name of ["a", "b", "c"]) pair.duplex.write(name, () => log.push(name));
    pair.duplex.end("d", () => log.push("end"));
    pair.duplex.on("finish", () => log.push("finish"));
    expect(log).toEqual([]);
    await once(pair.duplex, "finish");
    await turns();
    expect(log.slice(0, 3)).toEqual(["a", "b", "c"]);
    expect(log.slice(3).toSorted()).toEqual(["end", "finish"]);
  });

  test("a callback comes when the kernel has the bytes, not before", async () => {
    using pair = open();
    const large = Buffer.alloc(2 ** 21, 1);
    let told = false;
    pair.duplex.write("first");
    expect(pair.duplex.write(large, () => (told = true))).toBe(false);
    await turns();
    expect(told).toBe(false);
    await readExactly(pair.far, 5 + large.length);
    await eventually(() => told, "the callback");
    expect(pair.duplex.bytesWritten).toBe(5 + large.length);
  });

  for (const served of [false, true]) {
    test(`the peer is gone: the callback gets the error, and so does "error", ${served}`, () =>
      leakFree(async () => {
        using pair = open({ served });
        pair.far.close();
        const failed = once(pair.duplex, "error");
        const errors: unknown[] = [];
        pair.duplex.write("x", (error) => errors.push(error));
        pair.duplex.write("y", (error) => errors.push(error));
        const [error] = await failed;
        expect(error.code).toBe("EPIPE");
        await turns();
        expect(errors.map((one) => (one as Error | null)?.message !== undefined)).toEqual([
          true,
          true,
        ]);
      }));
  }

  /** Whether it waits for room; corked, or larger than what is gathered, it is node:stream's. */
  const written = {
    "that had to wait": 600_000,
    "that was corked": 4,
    "of 100 kB": 100_000,
    "of 4 bytes": 4,
    "that others went before": 4,
    "with the end": 4,
  };
  type Then = (call: () => void) => void;
  const puttingOff: Readonly<Record<string, Then>> = {
    "in ticks": (call) => process.nextTick(() => process.nextTick(call)),
    "with setImmediate": setImmediate,
  };
  for (const [what, bytes] of Object.entries(written)) {
    for (const [how, putOff] of Object.entries(puttingOff)) {
      for (const end of [false, true]) {
        const does = end ? "ends with" : "answers";
        test(`of a write ${what}, and what it does ${how}, before what the peer ${does}`, () =>
          ofWrite({ what, bytes, putOff, end }));
      }
    }
  }

  interface Write {
    readonly what: string;
    readonly bytes: number;
    readonly putOff: Then;
    readonly end: boolean;
  }

  async function ofWrite({ what, bytes, putOff, end }: Write): Promise<void> {
    for (let round = 0; round < 10; round++) {
      using pair = open();
      const seen: string[] = [];
      const before = what === "that others went before" ? 2 : 0;
      const answered = (async () => {
        await readExactly(pair.far, bytes + before);
        if (end) pair.far.end();
        else pair.far.trySend("answer");
      })();
      if (round % 2 > 0) await turns(); // it begins to read in the first
      if (what === "that was corked") pair.duplex.cork();
      for (let i = 0; i < before; i++) pair.duplex.write("y");
      const told = () => putOff(() => seen.push("written"));
      if (what === "with the end") pair.duplex.end("x".repeat(bytes), told);
      else pair.duplex.write("x".repeat(bytes), told);
      pair.duplex.uncork();
      pair.duplex.on(end ? "end" : "data", () => seen.push("answer"));
      await answered;
      await eventually(() => seen.length === 2, "both");
      expect(seen).toEqual(["written", "answer"]);
    }
  }

  test("of a write, before an answer that comes in the same microtasks", async () => {
    using pair = open();
    await turns();
    pair.duplex.pause();
    pair.far.trySend(Buffer.alloc(2 ** 17)); // more than it reads ahead
    await turns();
    const seen: string[] = [];
    await null;
    pair.duplex.on("data", (data) => seen.push(String(data).includes("answer") ? "answer" : "old"));
    pair.duplex.write("ask", () => seen.push("written"));
    expect(pair.now()).toBe("ask");
    pair.far.trySend("answer");
    pair.duplex.resume();
    pair.duplex.read();
    await eventually(() => seen.includes("answer"), "the answer");
    expect(seen.filter((one) => one !== "old")).toEqual(["written", "answer"]);
  });

  for (const corked of [false, true]) {
    test(`one who writes in every turn keeps nobody from reading, corked: ${corked}`, async () => {
      using pair = open();
      const [near, far] = socketPair("stream");
      void pair.far.consume(({ data }) => data.length).catch(() => {});
      let [came, ended, count] = ["", false, 0];
      pair.duplex.on("data", (data) => (came += data));
      pair.duplex.on("end", () => (ended = true));
      const write = (): void => {
        if (ended || ++count > 10_000) return;
        if (corked) pair.duplex.cork();
        pair.duplex.write("x", () => setImmediate(write));
        pair.duplex.uncork();
      };
      write();
      pair.far.trySend("some");
      await eventually(() => came === "some", "what was sent");
      far.trySend("to another");
      expect(must(await near.receive()).text()).toBe("to another");
      pair.far.end();
      await eventually(() => ended, "the end");
      expect(count).toBeLessThan(10_000);
      for (const one of [near, far]) one.close();
    });
  }

  test("to corked writes that the kernel took, answers come in the same turn", async () => {
    const exchanges = 400;
    const atOnce = async (corked: boolean): Promise<number> => {
      using pair = open();
      void pair.far.consume(({ data }) => void pair.far.trySend(data)).catch(() => {});
      let [left, turn, asked, same] = [exchanges, 0, 0, 0];
      const ask = (): void => {
        asked = turn;
        if (corked) pair.duplex.cork();
        pair.duplex.write("ask");
        if (corked) pair.duplex.uncork();
      };
      pair.duplex.on("data", () => {
        if (asked === turn) same += 1;
        if (--left > 0) ask();
      });
      ask();
      for (; left > 0; turn++) await new Promise((resolve) => setImmediate(resolve));
      return same;
    };
    // but for those at which the loop has its turn in any case
    expect(await atOnce(false)).toBeGreaterThan(exchanges / 10);
    expect(await atOnce(true)).toBeGreaterThan(exchanges / 10);
  });

  test("false, then 'drain', for one who writes on and on", async () => {
    using pair = open();
    let count = 0;
    const reading = (async () => {
      for await (const message of pair.far) message.close();
    })();
    for (let rounds = 0; rounds < 3; rounds++) {
      while (pair.duplex.write("0123456789".repeat(100))) {
        pair.now(); // the kernel always has room
        count += 1;
      }
      await once(pair.duplex, "drain");
    }
    expect(count).toBeGreaterThan(100);
    pair.duplex.end();
    await reading;
  });

  test("a default encoding is kept to", async () => {
    using pair = open();
    pair.duplex.setDefaultEncoding("hex");
    pair.duplex.write("6162");
    expect(pair.now()).toBe("ab");
  });

  test("descriptors go at once, and need no duplicates", () =>
    leakFree(async () => {
      using pair = open();
      using file = marked("mine");
      expect(pair.duplex.writeWithFds(Buffer.from("x"), [file])).toBe(true);
      using message = must(pair.far.tryReceive());
      expect([message.text(), markOf(message.fds[0]!)]).toEqual(["x", markOf(file)]);
    }));
});

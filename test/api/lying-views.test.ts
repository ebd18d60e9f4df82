// What a caller gives may lie about its length, at once or only the second time it is asked. Never
// more than its true bytes are read, and never a byte beside them is written.

import { describe, expect, test } from "bun:test";
import {
  type Fd,
  type FdLike,
  parseAddress,
  SharedMemory,
  sendMessage,
  spawnSync,
} from "../../src/index.ts";
import { lacking } from "../support/unless.ts";
import { disguised, lies, proxied } from "../support/views.ts";
import { fifo, text } from "./fifos.ts";
import { forms, pairVariants } from "./pairs.ts";
import { newQueue } from "./queues.ts";
import { leakFree, marked, markOf, must, thrown } from "./tools.ts";

const CLAIMED = 4096;
const TRUE = "sixteen bytes ok";
const honest = (): Uint8Array => new Uint8Array(Buffer.from(TRUE));
const liars = Object.entries(lies);

describe.each(pairVariants)("$name", ({ open }) => {
  test.each(liars)("what is sent: %s", async (_, lie) => {
    using pair = await open();
    const { near, far } = pair;
    for (const { send } of forms) {
      for (const options of [undefined, { fds: [0] }]) {
        await send(near, lie(honest(), CLAIMED), options);
        using message = must(await far.receive());
        expect(message.text()).toBe(TRUE);
      }
      await send(near, ["<", lie(honest(), CLAIMED), ">"]);
      expect(must(await far.receive()).text()).toBe(`<${TRUE}>`);
    }
    sendMessage(near, lie(honest(), CLAIMED));
    expect(must(await far.receive()).text()).toBe(TRUE);
    if (!("sendBatch" in near)) return;
    await near.sendBatch([lie(honest(), CLAIMED), { data: lie(honest(), CLAIMED) }]);
    for (let i = 0; i < 2; i++) expect(must(await far.receive()).text()).toBe(TRUE);
  });

  test.each(liars)("where it is received: %s", async (_, lie) => {
    for (const how of ["try", "sync", "async", "consume"]) {
      using pair = await open();
      const { near, far } = pair;
      const memory = new Uint8Array(CLAIMED).fill(0xee);
      const room = lie(new Uint8Array(memory.buffer, 64, 32), CLAIMED);
      near.trySend(Buffer.alloc(1000, 7));
      let bytes = 0;
      if (how === "try") bytes = far.tryReceiveInto(room)?.bytes ?? 0;
      else if (how === "sync") bytes = far.receiveIntoSync(room)?.bytes ?? 0;
      else if (how === "async") bytes = (await far.receiveInto(room))?.bytes ?? 0;
      else {
        const stop = new Error("enough");
        const first = (received: { bytes: number }): never => {
          bytes = received.bytes;
          throw stop;
        };
        expect(await thrown(() => far.consumeInto(room, first))).toBe(stop);
      }
      expect(bytes).toBe(32);
      expect([...memory.subarray(64, 96)]).toEqual(Array(32).fill(7));
      expect(memory.filter((byte) => byte !== 0xee).length).toBe(32);
    }
  });

  test("a Proxy of a view is none; elements of eight bytes are eight bytes", async () => {
    using pair = await open();
    const { near, far } = pair;
    const proxy = proxied(honest(), CLAIMED);
    const calls = [
      () => near.send(proxy),
      () => near.trySend(proxy),
      () => near.trySend(proxy, { fds: [0] }),
      () => near.sendSync(["a", proxy]),
      () => far.tryReceiveInto(proxy),
      () => far.receiveInto(proxy),
      () => far.consumeInto(proxy, () => {}),
      () => near.send(new Proxy(new ArrayBuffer(8), {})),
    ];
    for (const call of calls) expect(await thrown(call)).toBeInstanceOf(TypeError);
    expect(far.tryReceive()).toBeUndefined();
    const plain = new Uint8Array(new Float64Array(8).fill(1.5).buffer);
    for (const options of [undefined, { fds: [0] }, {}]) {
      expect(near.trySend(disguised(), options)).toBe(64);
      using message = must(far.tryReceive());
      expect(message.data).toEqual(plain);
    }
  });
});

describe("lists", () => {
  test("fds: a Proxy, an iterator of its own, getters: each element is read once", () =>
    leakFree(async () => {
      for (const { open } of pairVariants) {
        using pair = await open();
        const [one, two] = [marked("one"), marked("two")];
        const reads: string[] = [];
        const changing = (first: Fd, then: Fd): FdLike => {
          let asked = 0;
          return {
            get fd(): number {
              reads.push("fd");
              return (asked++ === 0 ? first : then).fd;
            },
          };
        };
        const iterated = [one];
        iterated[Symbol.iterator] = () =>
          Array.from({ length: 1000 }, () => two)[Symbol.iterator]();
        const watched = new Proxy([one], {
          get(list, name, self) {
            if (name === "0") reads.push("0");
            return Reflect.get(list, name, self) as unknown;
          },
        });
        for (const { send } of forms) {
          for (const list of [iterated, watched, [changing(one, two)]]) {
            reads.length = 0;
            await send(pair.near, "x", { fds: list });
            expect(reads.length).toBe(list === iterated ? 0 : 1);
            using message = must(await pair.far.receive());
            expect(message.fds.map(markOf)).toEqual(["one"]);
          }
        }
        for (const fd of [one, two]) fd.close();
      }
    }));

  test("fds with holes, or with more than they said, are refused", async () => {
    using pair = await pairVariants[1]!.open();
    const holes = Object.assign([] as number[], { 2: 0 });
    expect(await thrown(() => pair.near.send("x", { fds: holes }))).toBeInstanceOf(TypeError);
    const many = new Proxy([0], { get: (_, name) => (name === "length" ? 300 : 0) });
    expect(await thrown(() => pair.near.trySend("x", { fds: many }))).toBeInstanceOf(RangeError);
    const none = new Proxy([0], { get: (_, name) => (name === "length" ? Number.NaN : 0) });
    expect(await thrown(() => pair.near.trySend("x", { fds: none }))).toBeInstanceOf(RangeError);
    expect(pair.far.tryReceive()).toBeUndefined();
  });

  test("pieces: what a getter does to the others is seen before anything is sent", async () => {
    for (const { open } of pairVariants) {
      using pair = await open();
      for (const { send } of forms) {
        const first = new Uint8Array(2000).fill(1);
        const list = new Proxy([first, "b"], {
          get(pieces, name, self) {
            if (name === "1") structuredClone(first.buffer, { transfer: [first.buffer] });
            return Reflect.get(pieces, name, self) as unknown;
          },
        });
        expect(await thrown(() => send(pair.near, list))).toBeInstanceOf(TypeError);
        const later = new Uint8Array(2000).fill(1);
        const fd = {
          get fd(): number {
            structuredClone(later.buffer, { transfer: [later.buffer] });
            return 0;
          },
        };
        expect(await thrown(() => send(pair.near, later, { fds: [fd] }))).toBeInstanceOf(TypeError);
      }
      expect(pair.far.tryReceive()).toBeUndefined();
    }
  });
});

describe("other channels", () => {
  test.each(liars)("message queues: %s", async (_, lie) => {
    using queue = newQueue({ maxMessages: 2, messageBytes: CLAIMED });
    await queue.send(lie(honest(), CLAIMED));
    expect((await queue.receive()).text()).toBe(TRUE);
  });

  test.each(liars)("FIFOs, shared memory: %s", async (_, lie) => {
    using pipe = fifo();
    await pipe.writer().write(lie(honest(), CLAIMED));
    expect(text(pipe.reader.tryRead())).toBe(TRUE);
    using memory = SharedMemory.create(lie(honest(), CLAIMED));
    expect(text(memory.bytes)).toBe(TRUE);
  });

  test("addresses are copied before they are checked", () => {
    for (const [, lie] of liars) {
      const name = lie(new Uint8Array(200).fill(65), 5);
      if (lacking("abstractNames") === null) {
        expect(() => parseAddress({ abstract: name })).toThrow(RangeError);
        expect(() => parseAddress({ kind: "abstract", name })).toThrow(RangeError);
      }
      const path = lie(new Uint8Array(Buffer.from("/a\0b")), 2);
      expect(() => parseAddress({ path })).toThrow(TypeError);
    }
  });

  test("a child's descriptors are read once", () => {
    const [one, two] = [marked("one"), marked("two")];
    let asked = 0;
    const fds = {
      get 3(): Fd {
        return asked++ === 0 ? one : two;
      },
    };
    const { stdout } = spawnSync(["cat", "/proc/self/fd/3"], { fds, stdout: "pipe" });
    expect([stdout.toString(), asked]).toEqual(["one", 1]);
    for (const fd of [one, two]) fd.close();
  });
});

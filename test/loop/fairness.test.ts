// One busy socket does not starve the rest of the program.

import { describe, expect, test } from "bun:test";
import { type StreamSocket, socketPair } from "../../src/index.ts";
import { pairVariants } from "../api/pairs.ts";
import { eventually, must } from "../api/tools.ts";

/** Seconds of them, on any machine: who has had no turn by then never gets one. */
const MAX_ROUNDS = 500_000;

/** Run `busy` again and again until the other side is done; MAX_ROUNDS if it never was. */
async function whileBusy(
  busy: () => Promise<unknown>,
  tick: (done: () => void) => void,
): Promise<number> {
  let over = false;
  tick(() => {
    over = true;
  });
  let rounds = 0;
  for (; !over && rounds < MAX_ROUNDS; rounds++) await busy();
  return rounds;
}

const others: [string, (done: () => void) => void][] = [
  ["a timer", (done) => void setTimeout(done, 5)],
  ["setImmediate", (done) => void setImmediate(done)],
  [
    "a chain of 20 immediates and timers",
    (done) => {
      let left = 20;
      const next = (): void => {
        if (--left === 0) done();
        else if (left % 2 === 0) setTimeout(next, 0);
        else setImmediate(next);
      };
      next();
    },
  ],
  [
    "file I/O",
    (done) => {
      void Bun.file(import.meta.path)
        .text()
        .then(done);
    },
  ],
];

describe.each(pairVariants)(
  "$name: in a loop of sends and receives that never wait",
  ({ open }) => {
    for (const [name, tick] of others) {
      test(`${name} has its turn`, async () => {
        using pair = await open();
        const rounds = await whileBusy(async () => {
          await pair.near.send("x");
          must(await pair.far.receive());
        }, tick);
        expect(rounds).toBeLessThan(MAX_ROUNDS);
      });
    }

    test("a flood read by an iterator leaves turns to timers and to another socket", async () => {
      using flood = await open();
      using quiet = await open();
      let over = false;
      let ticks = 0;
      let messages = 0;
      const timer = setInterval(() => {
        ticks += 1;
      }, 1);
      const sender = (async () => {
        while (!over) await flood.near.send("flood");
      })();
      const reader = (async () => {
        for (; !over && messages < MAX_ROUNDS; messages++) must(await flood.far.receive());
      })();
      for (let i = 0; i < 50; i++) {
        const answer = quiet.far.receive();
        await quiet.near.send(`${i}`);
        expect(must(await answer).text()).toBe(`${i}`);
      }
      const before = ticks;
      await eventually(() => ticks >= before + 10, "ten ticks more");
      over = true;
      clearInterval(timer);
      flood.near.trySend("last");
      flood.near.close();
      await Promise.allSettled([sender, reader]);
      expect(messages).toBeLessThan(MAX_ROUNDS); // the flood never stood still
    });
  },
);

test("a promise chain that never waits still lets other sockets' events in", async () => {
  const [busyNear, busyFar] = socketPair("stream");
  const [near, far] = socketPair("stream");
  let heard = "";
  void far.receive().then((message) => {
    heard = message?.text() ?? "end";
  });
  near.trySend("event");
  let rounds = 0;
  while (heard === "" && rounds++ < MAX_ROUNDS) {
    await busyNear.send("x");
    must(await busyFar.receive());
  }
  expect(heard).toBe("event");
  for (const socket of [busyNear, busyFar, near, far]) socket.close();
});

describe("a socket that always has something", () => {
  /** Feeds itself for as long as it may: whatever is taken out is put in again. */
  const busy: [string, (near: StreamSocket, far: StreamSocket) => Promise<unknown>][] = [
    ["consume", (near, far) => far.consume(({ data }) => void near.trySend(data))],
    [
      "a loop of receives",
      async (near, far) => {
        for await (const { data } of far) near.trySend(data);
      },
    ],
  ];
  for (const [name, run] of busy) {
    test(`${name}: another one is served`, async () => {
      const [near, far] = socketPair("stream");
      const [a, b] = socketPair("stream");
      const running = run(near, far).catch(() => {});
      near.trySend("ball");
      for (let i = 0; i < 20; i++) {
        const coming = b.receive();
        setTimeout(() => a.trySend(`${i}`), 1);
        using message = must(await coming);
        expect(message.text()).toBe(`${i}`);
      }
      for (const socket of [far, near, a, b]) socket.close();
      await running;
    });
  }
});

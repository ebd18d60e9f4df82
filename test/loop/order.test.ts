// Receives that were asked for one after the other are answered one after the other, also where
// Bun's loop gets its turn in between.

import { expect, test } from "bun:test";
import { socketPair } from "../../src/index.ts";
import { Watch } from "../../src/loop/poller.ts";

/** More than are answered in a row before the clock is looked at. */
const AT_ONCE = 150;
const LONGER_THAN_A_TURN_MS = 5;

test("one that has to wait does not overtake those that need not", async () => {
  const [near, far] = socketPair("seqpacket");
  const order: number[] = [];
  const all: Promise<unknown>[] = [];
  const receive = (): void => {
    const number = all.length;
    all.push(far.receive().then(() => order.push(number)));
  };
  for (let i = 0; i < AT_ONCE; i++) expect(near.trySend("x")).toBe(1);
  const end = performance.now() + LONGER_THAN_A_TURN_MS;
  while (performance.now() < end) {}
  for (let i = 0; i < AT_ONCE; i++) receive();
  receive(); // nothing is there for this one
  near.trySend("late");
  expect(Watch.of(far.fd, false).retry("read")).toBe("promise"); // what the kernel would say
  const next = all[AT_ONCE - 1]!.then(() => {
    near.trySend("last");
    receive();
  });
  await next;
  await Promise.all(all);
  expect(order).toEqual(Array.from({ length: AT_ONCE + 2 }, (_, i) => i));
  near.close();
  far.close();
});

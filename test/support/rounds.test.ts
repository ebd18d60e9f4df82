// How much is done: the least in any case, more while there is time, and until chance was kind.

import { expect, test } from "bun:test";
import { emulated } from "./child.ts";
import { rounds, roundsSync } from "./rounds.ts";

const nothing = (): void => {};
const TEN = emulated ? 1 : 10;

test("at least so many, though the time is over", async () => {
  expect(await rounds({ atLeast: 10, seconds: 0 }, nothing)).toBe(TEN);
  expect(roundsSync({ atLeast: 10, seconds: 0 }, nothing)).toBe(TEN);
});

test("more while there is time, and no more than the most", async () => {
  expect(roundsSync({ atLeast: 1, seconds: 0.05 }, nothing)).toBeGreaterThan(1);
  expect(await rounds({ atLeast: 1, max: 7, seconds: 60 }, nothing)).toBe(7);
});

test("until there is enough, whatever the time", async () => {
  let found = false;
  const amount = { atLeast: 1, max: 100, seconds: 0, enough: () => found };
  expect(await rounds(amount, (i) => void (found = i === 20))).toBe(21);
  found = false;
  expect(await rounds(amount, nothing)).toBe(100);
});

test("each is told its number; false is the end", async () => {
  const seen: number[] = [];
  const three = async (i: number): Promise<boolean> => {
    seen.push(i);
    return i < 2;
  };
  expect(await rounds({ atLeast: 30, seconds: 0 }, three)).toBe(3);
  expect(seen).toEqual([0, 1, 2]);
});

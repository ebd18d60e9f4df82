// Starters killed at every point of start and stop: the next one always gets the address, nobody
// is masked, nothing stays behind.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync } from "node:fs";
import { probe } from "../../src/index.ts";
import { emulated, slower } from "../support/child.ts";
import { rounds } from "../support/rounds.ts";
import { tempDir } from "../support/tmp.ts";
import { noSockDiag, testUnless } from "../support/unless.ts";
import { type Answer, Crew, leaveStale, type Starter, type Take, visit } from "./crew.ts";

setDefaultTimeout(60_000 * slower);

/** A generator that gives the same numbers each run. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_664_525 + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

async function takes(crew: Crew, one: Starter, take: Take): Promise<Answer | null> {
  return (await crew.race(new Map([[one, take]]))).get(one) ?? null;
}

/** The address can be had, and whoever comes by its path reaches the one that has it. */
async function nextStarts(crew: Crew, one: Starter, take: Take): Promise<void> {
  const answer = await takes(crew, one, take);
  if (answer?.won !== true) throw new Error(`the next one: ${answer?.message}`);
  expect(visit(take.address, "stream")).toBe(one.pid);
  expect(await one.close()).toBe(1);
}

const MAX_POINTS = 300;
const SPARE = 3;

/** Every eighth point from here on, and what each further pass adds while there is time. */
const PASSES = [0, 4, 2, 6, 1, 5, 3, 7];

interface Killing {
  readonly crew: Crew;
  readonly act: (victim: Starter, dieAt: number) => Promise<unknown>;
  readonly after: (next: Starter) => Promise<void>;
  readonly enough?: () => boolean;
}

/**
 * Have `act` killed at the points from 1/2 (before the first call) in halves (before and after
 * each) to its last: how many were tried, of at most how many.
 */
async function everyPoint({ crew, act, after, ...rest }: Killing): Promise<[number, number]> {
  let [tried, end] = [0, MAX_POINTS];
  const amount = { atLeast: 2, max: PASSES.length, seconds: 1, ...rest };
  await rounds(amount, async (pass) => {
    for (let point = PASSES[pass]!; point < MAX_POINTS; point += PASSES.length) {
      const [victim, next] = [crew.members[tried % SPARE]!, crew.members[(tried + 1) % SPARE]!];
      const done = (await act(victim, (point + 1) / 2)) !== null;
      if (done) victim.kill(); // for the next pass all is to be as it was
      await crew.replace(victim);
      await after(next);
      if (done) {
        end = Math.min(end, point);
        return;
      }
      tried += 1;
    }
    throw new Error(`${MAX_POINTS} points, and no end`);
  });
  return [tried, end];
}

describe("killed before and after each call into libc", () => {
  const prepared = {
    "a fresh start": () => {},
    "a start over a stale file": (path: string) => leaveStale(path),
  };
  for (const [name, prepare] of Object.entries(prepared)) {
    test(name, async () => {
      using own = tempDir();
      using dir = tempDir();
      await using crew = await Crew.of(own, SPARE);
      const take = { address: dir.file("s"), type: "stream" } as const;
      prepare(take.address);
      const [tried, points] = await everyPoint({
        crew,
        act: (victim, dieAt) => takes(crew, victim, { ...take, dieAt }),
        async after(next) {
          await nextStarts(crew, next, take);
          expect(readdirSync(dir.path)).toEqual([]);
          prepare(take.address);
        },
      });
      expect(points).toBeGreaterThan(6);
      console.log(`note: ${name}: killed at ${tried} of at most ${points} points`);
    });
  }

  test("a stop", async () => {
    using own = tempDir();
    using dir = tempDir();
    await using crew = await Crew.of(own, SPARE);
    const take = { address: dir.file("s"), type: "stream" } as const;
    const stop = async (victim: Starter, dieAt: number): Promise<unknown> => {
      expect(await takes(crew, victim, take)).toMatchObject({ won: true });
      return victim.close(dieAt);
    };
    const after = async (next: Starter): Promise<void> => {
      await nextStarts(crew, next, take);
      expect(readdirSync(dir.path)).toEqual([]);
    };
    const [tried, points] = await everyPoint({ crew, act: stop, after });
    expect(points).toBeGreaterThan(6);
    console.log(`note: a stop: killed at ${tried} of at most ${points} points`);
  });

  testUnless(noSockDiag(), "a successor that replaces a live server", async () => {
    using own = tempDir();
    using dir = tempDir();
    await using crew = await Crew.of(own, SPARE);
    using other = tempDir();
    await using keeper = await Crew.of(other, 1);
    const server = keeper.members[0]!;
    const take = { address: dir.file("s"), type: "stream" } as const;
    const replacing = { ...take, options: { replace: true } };
    expect(await takes(keeper, server, take)).toMatchObject({ won: true });
    let kept = 0;
    let left = 0;
    const [tried, points] = await everyPoint({
      crew,
      act: (victim, dieAt) => takes(crew, victim, { ...replacing, dieAt }),
      enough: () => kept > 1 && left > 0,
      async after(next) {
        // either the old one still has it, or the new one had it already
        const { state } = probe(take.address);
        expect(["listening", "stale"]).toContain(state);
        if (state === "listening") {
          expect(visit(take.address, "stream")).toBe(server.pid);
          kept += 1;
        }
        left += readdirSync(dir.path).filter((one) => one.startsWith(".bunix-")).length;
        await nextStarts(crew, next, replacing);
        await server.close();
        expect(readdirSync(dir.path)).toEqual([]);
        expect(await takes(keeper, server, take)).toMatchObject({ won: true });
      },
    });
    expect(kept).toBeGreaterThan(1);
    expect(left).toBeGreaterThan(0);
    const where = `killed at ${tried} of at most ${points} points`;
    console.log(`note: replace: ${where}; ${left} files left, all cleaned up`);
  });
});

test("some of a crowd killed at random moments", async () => {
  using own = tempDir();
  using dir = tempDir();
  await using crew = await Crew.of(own, 6);
  const next = random(42);
  const options = { lockTimeoutMs: 60_000 }; // nobody has to give up on a busy machine
  const take = { address: dir.file("s"), type: "stream", options } as const;
  let [killed, killedWinners] = [0, 0];
  const enough = (): boolean => killedWinners > 0;
  const done = await rounds({ atLeast: 6, max: 600, seconds: 2, enough }, async (round) => {
    if (round % 2 === 1) leaveStale(take.address);
    const first = Math.floor(next() * 6);
    const victims = [crew.members[first]!, crew.members[(first + 3) % 6]!];
    const answers = await crew.raceAll(take, () => {
      Bun.sleepSync(next() * (emulated ? 400 : 40));
      for (const one of victims) one.kill();
    });
    const won = [...answers].filter(([, answer]) => answer?.won).map(([one]) => one);
    const winner = won.find((one) => !victims.includes(one));
    killed += victims.length;
    killedWinners += won.filter((one) => victims.includes(one)).length;
    expect(won.filter((one) => !victims.includes(one)).length).toBeLessThan(2);
    for (const one of victims) await crew.replace(one);
    for (const answer of answers.values()) {
      if (answer?.won === false) expect(answer.code).toBe("EADDRINUSE");
    }
    if (winner === undefined) {
      await nextStarts(crew, crew.members[(first + 1) % 6]!, take);
    } else {
      expect(visit(take.address, "stream")).toBe(winner.pid);
      // more, if a loser looked just as the one before it died: then it had to knock
      expect(await winner.close()).toBeGreaterThan(0);
    }
    expect(readdirSync(dir.path)).toEqual([]);
  });
  expect(killedWinners).toBeGreaterThan(0);
  console.log(`note: ${done} rounds, ${killed} killed, ${killedWinners} of them had won`);
});

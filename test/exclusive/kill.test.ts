// Starters killed at every point of start and stop: the next one always gets the address, nobody
// is masked, nothing stays behind.
// time limit: 180 s

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync } from "node:fs";
import { probe } from "../../src/index.ts";
import { fewer, slower } from "../support/child.ts";
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

/** From 1/2 (before the first call) in halves (before and after each) to its last. */
const EVERY = slower > 1 ? 7 : 1;
const STEP = EVERY / 2;
const MOST = 300;
const SPARE = 3;

/** Have `act` killed at one point after the other, until there is none left; how many there are. */
async function everyPoint(
  crew: Crew,
  act: (victim: Starter, dieAt: number) => Promise<unknown>,
  after: (next: Starter) => Promise<void>,
): Promise<number> {
  for (let points = 0; points < MOST; points++) {
    const [victim, next] = [crew.members[points % SPARE]!, crew.members[(points + 1) % SPARE]!];
    const done = (await act(victim, STEP * (points + 1))) !== null;
    if (done) return points;
    await crew.replace(victim);
    await after(next);
  }
  throw new Error(`${MOST} points, and no end`);
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
      const points = await everyPoint(
        crew,
        (victim, dieAt) => takes(crew, victim, { ...take, dieAt }),
        async (next) => {
          await nextStarts(crew, next, take);
          expect(readdirSync(dir.path)).toEqual([]);
          prepare(take.address);
        },
      );
      expect(points).toBeGreaterThan(6 / EVERY);
      console.log(`note: ${name}: killed at ${points} points`);
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
    const points = await everyPoint(crew, stop, async (next) => {
      await nextStarts(crew, next, take);
      expect(readdirSync(dir.path)).toEqual([]);
    });
    expect(points).toBeGreaterThan(6 / EVERY);
    console.log(`note: a stop: killed at ${points} points`);
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
    const points = await everyPoint(
      crew,
      (victim, dieAt) => takes(crew, victim, { ...replacing, dieAt }),
      async (next) => {
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
    );
    expect(kept).toBeGreaterThan(10);
    expect(left).toBeGreaterThan(0);
    console.log(`note: replace: killed at ${points} points; ${left} files left, all cleaned up`);
  });
});

/** So many times the rounds, where no winner was among the killed by then. */
const TIMES = 10;

test("some of a crowd killed at random moments", async () => {
  const rounds = fewer(60);
  using own = tempDir();
  using dir = tempDir();
  await using crew = await Crew.of(own, 6);
  const next = random(42);
  const options = { lockTimeoutMs: 60_000 }; // nobody has to give up on a busy machine
  const take = { address: dir.file("s"), type: "stream", options } as const;
  let [killed, killedWinners] = [0, 0];
  const enough = (round: number): boolean => round >= rounds && killedWinners > 0;
  for (let round = 0; !enough(round) && round < TIMES * rounds; round++) {
    if (round % 2 === 1) leaveStale(take.address);
    const first = Math.floor(next() * 6);
    const victims = [crew.members[first]!, crew.members[(first + 3) % 6]!];
    const answers = await crew.raceAll(take, () => {
      Bun.sleepSync(next() * 40 * slower);
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
  }
  expect(killedWinners).toBeGreaterThan(0);
  console.log(`note: ${rounds} rounds, ${killed} killed, ${killedWinners} of them had won`);
});

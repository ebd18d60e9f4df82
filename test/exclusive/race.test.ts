// Many processes start on one address at the same moment: one gets it, the others are told who.

import { expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync } from "node:fs";
import type { SocketType } from "../../src/index.ts";
import { ownCommand } from "../cli/tools.ts";
import { emulated, slower, succeeded } from "../support/child.ts";
import { rounds } from "../support/rounds.ts";
import { type TempDir, tempDir } from "../support/tmp.ts";
import { noSockDiag } from "../support/unless.ts";
import { type Answer, Crew, leaveStale, type Starter, startServer, visit } from "./crew.ts";

setDefaultTimeout(60_000 * slower);

interface Place {
  readonly type: SocketType;
  readonly address: string;
  readonly dir: TempDir | null;
}

/** Who looks for a server asks the kernel; else it has to knock. */
const asked = noSockDiag() === null;

/** The only one that won; throws where none did, or two, or a loser cannot say who. */
function winnerOf(answers: ReadonlyMap<Starter, Answer | null>, type: SocketType): Starter {
  const winners = [...answers].filter(([, answer]) => answer?.won === true);
  if (winners.length !== 1) {
    const said = [...answers.values()].map((answer) => answer?.message ?? String(answer?.won));
    throw new Error(`${winners.length} winners: ${[...new Set(said)].join("\n")}`);
  }
  const winner = winners[0]![0];
  for (const answer of answers.values()) {
    if (answer?.won !== false) continue;
    expect(answer.code).toBe("EADDRINUSE");
    if (!asked && type === "datagram") continue; // nobody answers who is knocked at
    expect(answer.message).toContain(`process ${winner.pid} (${ownCommand}`);
    expect(answer.pids).toEqual([winner.pid]);
  }
  return winner;
}

/** How far apart they began, in microseconds, without the slowest tenth. */
function spread(answers: ReadonlyMap<Starter, Answer | null>): number {
  const times = [...answers.values()].map((one) => one?.began ?? 0).sort((a, b) => a - b);
  return times[Math.floor(times.length * 0.9)]! - times[0]!;
}

/** For the directory's lock: nobody has to give up on a busy machine. */
const patient = { lockTimeoutMs: 60_000 };

async function round(crew: Crew, { type, address, dir }: Place, stale: boolean): Promise<number> {
  if (stale) leaveStale(address, type);
  const answers = await crew.raceAll({ address, type, options: patient });
  const winner = winnerOf(answers, type);
  const server = visit(address, type);
  if (server !== null) expect(server).toBe(winner.pid);
  const visits = await winner.close();
  if (asked)
    expect(visits).toBe(1); // our visit, and nobody who only wanted to know
  else expect(visits).toBeGreaterThan(0);
  if (dir !== null) expect(readdirSync(dir.path)).toEqual([]);
  return spread(answers);
}

interface Plan {
  readonly starters: number;
  readonly seconds: number;
  readonly type: SocketType;
  readonly kind: "path" | "name";
}

async function carryOut(crew: Crew, { starters, seconds, type, kind }: Plan): Promise<void> {
  using dir = tempDir();
  const path = kind === "path";
  const address = path ? dir.file("s") : `@bunix-race-${process.pid}-${type}`;
  const spreads: number[] = [];
  const done = await rounds({ atLeast: 4, seconds }, async (i) => {
    const place = { type, address, dir: path ? dir : null };
    spreads.push(await round(crew, place, path && i % 2 === 1));
  });
  const apart = spreads.sort((a, b) => a - b)[done >> 1]!.toFixed(0);
  const what = `${done} rounds of ${starters}, ${type}, ${kind}`;
  console.log(`note: ${what}; nine tenths began within ${apart} µs (median)`);
}

const crowds = ["stream", "seqpacket", "datagram"] as const;

const CROWD = emulated ? 5 : 20;

const plans: readonly Plan[] = [
  { starters: CROWD, seconds: 1, type: "stream", kind: "path" },
  { starters: CROWD, seconds: 0.5, type: "seqpacket", kind: "path" },
  { starters: CROWD, seconds: 0.5, type: "datagram", kind: "path" },
  { starters: CROWD, seconds: 0.5, type: "stream", kind: "name" },
  { starters: CROWD, seconds: 0.5, type: "datagram", kind: "name" },
  ...crowds.map((type) => ({ starters: 2, seconds: 0.5, type, kind: "path" }) as const),
  { starters: 2, seconds: 0.5, type: "stream", kind: "name" },
];

for (const starters of new Set(plans.map((plan) => plan.starters))) {
  test(`${starters} at once: exactly one wins, fresh or over a stale file`, async () => {
    using dir = tempDir();
    await using crew = await Crew.of(dir, starters);
    for (const plan of plans) if (plan.starters === starters) await carryOut(crew, plan);
  });
}

test("processes that are started for it", async () => {
  const starters = emulated ? 4 : 8;
  using dir = tempDir();
  const address = dir.file("s");
  const done = await rounds({ atLeast: 2, seconds: 1 }, async (i) => {
    if (i % 2 === 1) leaveStale(address);
    const all = Array.from({ length: starters }, () => startServer(address, patient));
    const said = await Promise.all(all.map((child) => child.line()));
    const winners = all.filter((_, n) => said[n] === "listening");
    expect(winners).toHaveLength(1);
    const lost = said.filter((line) => line !== "listening");
    for (const line of lost) expect(line).toContain(`EADDRINUSE`);
    for (const line of lost) expect(line).toContain(`process ${winners[0]!.pid} (${ownCommand}`);
    expect(visit(address, "stream")).toBe(winners[0]!.pid);
    for (const child of all) child.endInput();
    for (const child of all) succeeded(await child.exited);
    expect(readdirSync(dir.path)).toEqual([]);
  });
  console.log(`note: ${done} rounds of ${starters} fresh processes`);
});

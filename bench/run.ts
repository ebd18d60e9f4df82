// npm run bench [-- FILTER… --rounds N --quick --syscalls --publish]: every *.bench.ts whose name
// has one of the filters in it, in turn, each in a process of its own; writes to bench/results.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Glob } from "bun";
import { chart } from "./chart.ts";
import { folder, pinned, type Row, rounds, scratch } from "./harness.ts";
import { publish } from "./publish.ts";
import { type CallsRow, callsTable, machine, markdown, results } from "./results.ts";
import { syscalls } from "./syscalls.ts";

/**
 * The groups of --quick, with as much of their work; of some, `works` leaves only the first lines.
 * Under two minutes together.
 */
const quickGroups: Record<string, number> = {
  accept: 0.3,
  crowd: 0.15,
  descriptor: 0.6,
  duplex: 0.15,
  flow: 0.12,
  list: 0.34,
  pair: 0.7,
  start: 0.25,
};
const QUICK_ROUNDS = 3;
/** Of a run of everything that is published: twenty minutes where nothing else runs. */
const PUBLISHED_ROUNDS = 3;

const { values: options, positionals: filters } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string" },
    quick: { type: "boolean", default: false },
    syscalls: { type: "boolean", default: false },
    publish: { type: "boolean", default: false },
  },
});
const { quick } = options;
const env: Record<string, string | undefined> = {
  ...process.env,
  BENCH_ROUNDS:
    options.rounds ?? `${quick ? QUICK_ROUNDS : options.publish ? PUBLISHED_ROUNDS : rounds}`,
  BENCH_QUICK: quick ? "1" : "",
};

/** They measure inside their own process, which stays on one processor (children, too). */
const inProcess = new Set(["channel", "descriptor", "pair"]);

const groups = [...new Glob("*.bench.ts").scanSync(folder)]
  .map((name) => name.replace(/\.bench\.ts$/, ""))
  .filter((name) => !quick || name in quickGroups)
  .sort();
const chosen = groups.filter(
  (name) => filters.length === 0 || filters.some((f) => name.includes(f)),
);
if (chosen.length === 0) {
  console.error(`no group matches; there are ${groups.join(", ")}`);
  process.exit(64);
}
const whole = filters.length === 0 && !quick && process.env["BENCH_SCALE"] === undefined;
if (options.publish && !whole) {
  console.error("--publish is for a run of everything, in full; see publish.ts for parts");
  process.exit(64);
}

/** The rows of one group; null where it failed. `where`: the folder it builds in. */
async function measured(name: string, where: string): Promise<Row[] | null> {
  mkdirSync(where, { recursive: true });
  const kept = join(where, `${name}.jsonl`);
  writeFileSync(kept, "");
  const command = [process.execPath, join(folder, `${name}.bench.ts`)];
  const scale = quick ? { BENCH_SCALE: `${quickGroups[name]}` } : {};
  const run = Bun.spawn(inProcess.has(name) ? pinned(0, command) : command, {
    env: { ...env, ...scale, BENCH_SCRATCH: where, BENCH_ROWS: kept },
    stdio: ["ignore", "inherit", "inherit"],
  });
  if ((await run.exited) !== 0) return null;
  const lines = readFileSync(kept, "utf8").trim().split("\n").filter(Boolean);
  return lines.map((row) => JSON.parse(row) as Row);
}

console.log(`${machine()}\n`);
const rows: Row[] = [];
for (const name of chosen) {
  const begin = performance.now();
  // once more where it fails: the others take minutes
  const found = (await measured(name, scratch)) ?? (await measured(name, join(scratch, name)));
  if (found === null) {
    console.error(`${name} failed`);
    process.exitCode = 1;
  } else rows.push(...found);
  console.log(`(${name}: ${((performance.now() - begin) / 1000).toFixed(0)} s)\n`);
}

/** What was measured is kept, whatever becomes of this. */
async function counted(): Promise<CallsRow[]> {
  try {
    return await syscalls();
  } catch (error) {
    console.error(`no system calls: ${error}`);
    process.exitCode = 1;
    return [];
  }
}

const calls = options.syscalls || options.publish ? await counted() : [];
if (calls.length > 0) console.log(`${callsTable(calls)}\n`);

const found = results(rows, calls);
const out = join(folder, "results");
mkdirSync(out, { recursive: true });
const base = join(out, found.when.replace(/[:.]/g, "-"));
writeFileSync(`${base}.json`, `${JSON.stringify(found, null, 1)}\n`);
writeFileSync(`${base}.md`, markdown(found));
writeFileSync(`${base}.svg`, chart(found.rows));
console.log(`${base}.json, .md, .svg`);
if (options.publish && process.exitCode === undefined) publish(found);

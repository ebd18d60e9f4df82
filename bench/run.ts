// npm run bench [-- FILTER… --rounds N --syscalls --publish]: every *.bench.ts whose name has one
// of the filters in it, in turn, each in a process of its own; writes results to bench/results.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Glob } from "bun";
import { chart } from "./chart.ts";
import { folder, output, pinned, type Row, rounds, scratch } from "./harness.ts";
import { type CallsRow, callsTable, machine, markdown, results } from "./results.ts";
import { syscalls } from "./syscalls.ts";

const { values: options, positionals: filters } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string", default: `${rounds}` },
    syscalls: { type: "boolean", default: false },
    publish: { type: "boolean", default: false },
  },
});
const kept = join(scratch, "rows.jsonl");
writeFileSync(kept, "");
const env = {
  ...process.env,
  BENCH_ROUNDS: options.rounds,
  BENCH_SCRATCH: scratch,
  BENCH_ROWS: kept,
};

/** They measure inside their own process, which stays on one processor (children, too). */
const inProcess = new Set(["channel.bench.ts", "descriptor.bench.ts", "pair.bench.ts"]);

const names = [...new Glob("*.bench.ts").scanSync(folder)].sort();
const chosen = names.filter(
  (name) => filters.length === 0 || filters.some((f) => name.includes(f)),
);
if (chosen.length === 0) {
  console.error(`no group matches; there are ${names.join(", ")}`);
  process.exit(64);
}
if (options.publish && (filters.length > 0 || process.env["BENCH_SCALE"] !== undefined)) {
  console.error("--publish is for a run of everything, in full");
  process.exit(64);
}

console.log(`${machine()}\n`);
for (const name of chosen) {
  const command = [process.execPath, join(folder, name)];
  const begin = performance.now();
  const run = Bun.spawn(inProcess.has(name) ? pinned(0, command) : command, {
    env,
    stdio: ["ignore", "inherit", "inherit"],
  });
  if ((await run.exited) !== 0) {
    console.error(`${name} failed`);
    process.exitCode = 1;
  }
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

const calls = options.syscalls ? await counted() : [];
if (calls.length > 0) console.log(`${callsTable(calls)}\n`);

const rows = readFileSync(kept, "utf8").trim().split("\n").filter(Boolean);
const found = results(
  rows.map((row) => JSON.parse(row) as Row),
  calls,
);
const out = join(folder, "results");
mkdirSync(out, { recursive: true });
const base = join(out, found.when.replace(/[:.]/g, "-"));
writeFileSync(`${base}.json`, `${JSON.stringify(found, null, 1)}\n`);
writeFileSync(`${base}.md`, markdown(found));
writeFileSync(`${base}.svg`, chart(found.rows));
console.log(`${base}.json, .md, .svg`);
if (options.publish && process.exitCode === undefined) publish();

/** Put the tables into README.md between its marks, and the picture beside it. */
function publish(): void {
  const readme = join(folder, "README.md");
  const text = readFileSync(readme, "utf8");
  const marks = /(<!-- results -->\n)[\s\S]*(\n<!-- end of results -->)/;
  if (!marks.test(text)) throw new Error("README.md has lost its marks");
  const picture = "![How many times as fast as the others](chart.svg)";
  writeFileSync(
    readme,
    text.replace(
      marks,
      (_, from: string, to: string) => `${from}\n${picture}\n\n${markdown(found)}${to}`,
    ),
  );
  writeFileSync(join(folder, "chart.svg"), chart(found.rows));
  output([join(folder, "../node_modules/.bin/biome"), "format", "--write", readme]);
}

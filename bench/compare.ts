// bun bench/compare.ts BEFORE.json AFTER.json: what changed between two runs, ratio by ratio, so
// that it does not matter how fast the machine was on either day.

import { readFileSync } from "node:fs";
import { compared, type Figure, isRate, type Row, show } from "./harness.ts";
import type { Results } from "./results.ts";

const keyOf = ({ work, ours, against, unit }: Row): string =>
  `${work} [${unit}]: ${ours} / ${against}`;

function load(file: string): Map<string, Row> {
  const { rows } = JSON.parse(readFileSync(file, "utf8")) as Results;
  return new Map(rows.map((row) => [keyOf(row), row]));
}

/** Pairs below which a spread says nothing. */
const MIN_ROUNDS = 3;

/** "better" or "worse" where not even the spreads touch; nothing where it may be chance. */
function verdict(row: Row, before: Figure, after: Figure): string {
  if (row.oursTaken.length < MIN_ROUNDS) return "";
  const lower = after.max < before.min;
  const higher = after.min > before.max;
  if (!lower && !higher) return "";
  return higher === isRate(row.unit) ? "  better" : "  WORSE";
}

const [first, second] = process.argv.slice(2);
if (first === undefined || second === undefined) {
  console.error("usage: bun bench/compare.ts BEFORE.json AFTER.json");
  process.exit(64);
}
const before = load(first);
const after = load(second);
let worse = 0;
for (const [key, row] of after) {
  const old = before.get(key);
  const now = compared(row);
  if (old === undefined) console.log(`${key}\n  new: ${show(now)}`);
  else {
    const was = compared(old);
    const fewer = old.oursTaken.length < row.oursTaken.length ? old : row;
    const said = verdict(fewer, was, now);
    if (said.includes("WORSE")) worse += 1;
    console.log(`${key}\n  ${show(was)} → ${show(now)}${said}`);
  }
}
for (const key of before.keys()) if (!after.has(key)) console.log(`${key}\n  gone`);
console.log(`\n${after.size} comparisons, ${worse} worse beyond the spread`);
if (worse > 0) process.exitCode = 1;

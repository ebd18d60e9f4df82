// Paired measurements: everybody's turn comes in every round, pinned, in one run; ratios pair by
// pair, with their spread.

import { appendFileSync, mkdtempSync, rmSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";

export const folder = import.meta.dir;

/** Where things are built and sockets are bound; run.ts shares its own with the groups. */
export const scratch = process.env["BENCH_SCRATCH"] ?? mkdtempSync(join(tmpdir(), "bunix-bench-"));
if (process.env["BENCH_SCRATCH"] === undefined) {
  process.on("exit", () => rmSync(scratch, { recursive: true, force: true }));
}

/** How often everybody's turn comes. */
export const rounds = Number(process.env["BENCH_ROUNDS"] ?? 5);
/** BENCH_SCALE=0.1 does a tenth of the work: to try the benchmarks themselves. */
export const scaled = (count: number): number =>
  Math.max(1, Math.round(count * Number(process.env["BENCH_SCALE"] ?? 1)));

/** Only the lines that one works on, and their floors: see run.ts. */
export const quick = process.env["BENCH_QUICK"] === "1";

/** Of several works all, or the first of them where it has to be quick. */
export const works = <T>(...all: readonly [T, ...T[]]): readonly T[] =>
  quick ? all.slice(0, 1) : all;

/** Which processor the server runs on, and which the client. */
export type Placement = readonly [server: number, client: number];
export const onOne: Placement = [0, 0];
export const onTwo: Placement = [0, 1];
export const twoProcessors = cpus().length > 1;
if (!twoProcessors) console.log("(one processor only: what needs two is left out)");

/** The command, kept on one processor where taskset is there. */
export function pinned(cpu: number, command: readonly string[]): string[] {
  return Bun.which("taskset") === null ? [...command] : ["taskset", "-c", String(cpu), ...command];
}

/** Run to the end and return what it printed. */
export function output(command: readonly string[], options: { cwd?: string } = {}): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync([...command], options);
  if (exitCode !== 0) throw new Error(`${command.join(" ")}: exit ${exitCode}\n${stderr}`);
  return stdout.toString();
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
}

export interface Figure {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

export function figure(values: readonly number[]): Figure {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/** What each contender measured, one value a round. */
export type Taken = Record<string, number[]>;
export type Contenders = Record<string, () => number | Promise<number>>;

/** Everybody in every round, forwards and backwards in turn. */
export async function interleave(contenders: Contenders): Promise<Taken> {
  const taken: Taken = {};
  const order = Object.entries(contenders);
  for (let round = 0; round < rounds; round++) {
    for (const [name, run] of order) (taken[name] ??= []).push(await run());
    order.reverse();
  }
  return taken;
}

export type Unit = "ns" | "ms" | "MB" | "bytes" | "threads" | "messages/s" | "MB/s" | "times/s";
const rates: readonly Unit[] = ["messages/s", "MB/s", "times/s"];

/** More is better. */
export const isRate = (unit: Unit): boolean => rates.includes(unit);

/** One comparison of one group, as results are kept. */
export interface Row {
  readonly group: string;
  readonly work: string;
  /** Which form of ours. */
  readonly ours: string;
  readonly against: string;
  readonly unit: Unit;
  /** How the two are compared: ours / theirs, or ours − theirs. */
  readonly as: "ratio" | "difference";
  /** What was aimed at: at most so much, or at least where more is better. */
  readonly reach: number | null;
  readonly oursTaken: readonly number[];
  readonly theirsTaken: readonly number[];
}

/** Pair by pair: what the machine does to one of a pair it does to the other. */
export function compared({ as, oursTaken, theirsTaken }: Row): Figure {
  return figure(
    oursTaken.map((value, i) => {
      const other = theirsTaken[i] ?? Number.NaN;
      return as === "ratio" ? value / other : value - other;
    }),
  );
}

/** Whether the median is where it was to be; null where nothing was aimed at. */
export function reached(row: Row): boolean | null {
  if (row.reach === null) return null;
  const { median: value } = compared(row);
  return isRate(row.unit) ? value >= row.reach : value <= row.reach;
}

const digitsOf = (value: number): number =>
  Math.abs(value) >= 100 || Number.isInteger(value) ? 0 : Math.abs(value) >= 10 ? 1 : 2;

export const round = (value: number, digits = digitsOf(value)): string => value.toFixed(digits);

export const show = ({ median: m, min, max }: Figure): string =>
  `${round(m)} (${round(min)}–${round(max)})`;

/** What is to be measured, and how. */
export interface Line {
  readonly work: string;
  readonly unit: Unit;
  readonly as?: Row["as"];
}

/** Who is compared with whom, and what is aimed at. */
export type Pairing = readonly [ours: string, against: string, reach?: number | undefined];

const group = (process.argv[1] ?? "").replace(/^.*\/|\.bench\.ts$/g, "");

/** Print what was measured, and keep it for run.ts. A contender who is not here gets no row. */
export function report(line: Line, taken: Taken, pairings: readonly Pairing[]): void {
  const { work, unit, as = "ratio" } = line;
  console.log(`${work} [${unit}]`);
  for (const [name, values] of Object.entries(taken)) {
    console.log(`  ${name.padEnd(34)}${show(figure(values))}`);
  }
  for (const [ours, against, reach = null] of pairings) {
    const [oursTaken, theirsTaken] = [taken[ours], taken[against]];
    if (oursTaken === undefined || theirsTaken === undefined) continue;
    const row: Row = { group, work, ours, against, unit, as, reach, oursTaken, theirsTaken };
    const sign = as === "ratio" ? "/" : "−";
    const verdict = { true: "  reached", false: "  NOT reached", null: "" }[`${reached(row)}`];
    const aim = reach === null ? "" : ` aim ${isRate(unit) ? "≥" : "≤"} ${reach}${verdict}`;
    console.log(`    ${ours} ${sign} ${against}: ${show(compared(row))}${aim}`);
    keep(row);
  }
}

function keep(row: Row): void {
  const file = process.env["BENCH_ROWS"];
  if (file !== undefined) appendFileSync(file, `${JSON.stringify(row)}\n`);
}

// Paired measurements: ours and theirs in turn, pinned, in one run; ratios with their spread.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export const folder = import.meta.dir;
export const scratch = mkdtempSync(join(tmpdir(), "bunix-bench-"));
process.on("exit", () => rmSync(scratch, { recursive: true, force: true }));

/** Compile one of bench/peers with gcc -O2. */
export function compile(name: string): string {
  const out = join(scratch, name);
  const source = join(folder, "peers", `${name}.c`);
  const { exitCode, stderr } = Bun.spawnSync(["cc", "-O2", "-o", out, source]);
  if (exitCode !== 0) throw new Error(stderr.toString());
  return out;
}

/** The command, kept on one processor where taskset is there. */
export function pinned(cpu: number, command: string[]): string[] {
  return Bun.which("taskset") === null ? command : ["taskset", "-c", String(cpu), ...command];
}

/** Run to the end and return what it printed. */
export function output(command: string[]): string {
  const { exitCode, stdout, stderr } = Bun.spawnSync(command);
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
  readonly least: number;
  readonly most: number;
}

export function figure(values: readonly number[]): Figure {
  return { median: median(values), least: Math.min(...values), most: Math.max(...values) };
}

/** Ratios pair by pair: what the machine does to one of a pair it does to the other. */
export function ratio(ours: readonly number[], theirs: readonly number[]): Figure {
  return figure(ours.map((value, i) => value / (theirs[i] ?? Number.NaN)));
}

export const show = ({ median: m, least, most }: Figure, digits = 2): string =>
  `${m.toFixed(digits)} (${least.toFixed(digits)}–${most.toFixed(digits)})`;

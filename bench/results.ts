// What a run found, as it is kept, and as a table.

import { cpus, release, totalmem } from "node:os";
import { compared, isRate, type Row, reached, show } from "./harness.ts";

/** System calls of one server, per message (or per connection accepted). */
export interface CallsRow {
  readonly work: string;
  readonly server: string;
  readonly calls: Readonly<Record<string, number>>;
  /** Processor time in user mode and in the kernel, microseconds per message. */
  readonly userMicros: number;
  readonly systemMicros: number;
}

export interface Results {
  readonly when: string;
  readonly machine: string;
  readonly rounds: number;
  /** Below 1 the work was cut down, and the figures are no use. */
  readonly scale: number;
  readonly rows: readonly Row[];
  readonly calls: readonly CallsRow[];
  /** What readers have to know of this run. */
  readonly note?: string;
}

/** The first line of what a command says of its version. */
function version(...command: string[]): string[] {
  if (Bun.which(command[0] ?? "") === null) return [];
  const { stdout } = Bun.spawnSync(command, { stderr: "ignore" });
  return [stdout.toString().split("\n")[0]?.trim() ?? ""];
}

/** In a sentence: the system, its processors, and the versions of everybody who was measured. */
export function machine(): string {
  const all = cpus();
  const gib = Math.round(totalmem() / 2 ** 30);
  const where = `${process.platform} ${release().split("-")[0]} ${process.arch}`;
  const versions = [
    `Bun ${Bun.version}`,
    ...version("cc", "--version"),
    ...version("go", "version"),
    ...version("node", "--version").map((text) => `node ${text}`),
    ...version("python3", "--version"),
  ];
  return `${where}, ${all.length} × ${all[0]?.model.trim()}, ${gib} GiB; ${versions.join(", ")}`;
}

export const results = (rows: readonly Row[], calls: readonly CallsRow[]): Results => ({
  when: new Date().toISOString(),
  machine: machine(),
  rounds: rows[0]?.oursTaken.length ?? 0,
  scale: Number(process.env["BENCH_SCALE"] ?? 1),
  rows,
  calls,
});

const marks = { true: "yes", false: "**no**", null: "" } as const;

function cells(row: Row): string[] {
  const { work, ours, against, unit, as, reach } = row;
  const found = show(compared(row));
  const result = as === "ratio" ? `× ${found}` : `${unit} more: ${found}`;
  const aim = reach === null ? "" : `${isRate(unit) ? "≥" : "≤"} ${reach}`;
  const kind = isRate(unit) ? "more is better" : "less is better";
  return [work, ours, against, result, kind, aim, marks[`${reached(row)}`]];
}

export function table(head: readonly string[], body: readonly (readonly string[])[]): string {
  const line = (texts: readonly string[]): string => `| ${texts.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...body.map(line)].join("\n");
}

const headings = ["work", "ours", "against", "median (least–most)", "", "aim", "reached"];

/** The whole of it in Markdown. */
export function markdown({
  when,
  machine: where,
  rounds: times,
  scale,
  rows,
  calls,
}: Results): string {
  const warning = scale < 1 ? ` Only ${scale} of the work was done: no figures to go by.` : "";
  const parts = [
    `${when.slice(0, 10)}, ${where}. ${times} rounds.${warning}`,
    table(headings, rows.map(cells)),
  ];
  if (calls.length > 0) parts.push(callsTable(calls));
  return `${parts.join("\n\n")}\n`;
}

/** Most frequent first; those that come less than once in fifty messages are left out. */
function frequent(calls: Readonly<Record<string, number>>): string {
  const MIN = 0.02;
  const named = Object.entries(calls).filter(([, count]) => count >= MIN);
  named.sort(([, a], [, b]) => b - a);
  return named.map(([name, count]) => `${name} ${count.toFixed(2)}`).join(", ");
}

/** System calls and processor time per message, in Markdown. */
export function callsTable(calls: readonly CallsRow[]): string {
  const body = calls.map((row) => {
    const sum = Object.values(row.calls).reduce((all, count) => all + count, 0);
    const times = [row.userMicros, row.systemMicros].map((micros) => micros.toFixed(1));
    return [row.work, row.server, sum.toFixed(2), frequent(row.calls), ...times];
  });
  const head = ["work", "server", "calls per message", "which", "user µs", "kernel µs"];
  return table(head, body);
}

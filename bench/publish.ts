// bun bench/publish.ts RUN.json…: put what was measured into published.json, the README files and
// the picture. Of several runs a group is the last one's that has it: one that failed can be
// measured again by itself.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { chart } from "./chart.ts";
import { floors } from "./floors.ts";
import { folder, output } from "./harness.ts";
import { speed } from "./prose.ts";
import { markdown, type Results } from "./results.ts";

const root = join(folder, "..");
export const publishedFile = join(folder, "published.json");

/** What is generated, by file and by the name of its marks. */
export const generated: readonly (readonly [file: string, mark: string, (r: Results) => string])[] =
  [
    [join(folder, "README.md"), "results", tables],
    [join(folder, "README.md"), "floors", floors],
    [join(root, "README.md"), "speed", speed],
  ];

const picture = "![How many times as fast as the others](chart.svg)";

function tables(found: Results): string {
  return `${picture}\n\n${markdown(found).trim()}`;
}

const marks = (name: string): RegExp =>
  new RegExp(`(<!-- ${name} -->\n)([\\s\\S]*)(<!-- end of ${name} -->)`);

/** What stands between a file's marks. @throws where it has lost them */
export function between(text: string, name: string): string {
  const found = marks(name).exec(text)?.[2];
  if (found === undefined) throw new Error(`the marks of "${name}" are lost`);
  return found.trim();
}

export function publish(found: Results): void {
  writeFileSync(publishedFile, `${JSON.stringify(found)}\n`);
  for (const [file, name, make] of generated) {
    const text = readFileSync(file, "utf8");
    between(text, name);
    const made = make(found);
    writeFileSync(
      file,
      text.replace(marks(name), (_, from: string, __, to: string) => `${from}\n${made}\n\n${to}`),
    );
  }
  writeFileSync(join(folder, "chart.svg"), chart(found.rows));
  const files = generated.map(([file]) => file);
  output([join(root, "node_modules/.bin/biome"), "format", "--write", publishedFile, ...files]);
}

/** Several runs as one. */
export function merged(runs: readonly Results[]): Results {
  const [last] = runs.slice(-1);
  if (last === undefined) throw new Error("no run");
  const groups = new Map(runs.flatMap((run) => run.rows.map((row) => [row.group, run] as const)));
  const rows = [...groups]
    .sort()
    .flatMap(([group, run]) => run.rows.filter((row) => row.group === group));
  const calls = runs.findLast((run) => run.calls.length > 0)?.calls ?? [];
  return { ...last, rounds: Math.min(...runs.map((run) => run.rounds)), rows, calls };
}

if (import.meta.main) {
  const runs = process.argv
    .slice(2)
    .map((file) => JSON.parse(readFileSync(file, "utf8")) as Results);
  publish(merged(runs));
}

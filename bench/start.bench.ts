// What importing the package costs a program: the built package, as it is published, and the first
// message through a pair, against an empty program.

import { cpSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  folder,
  interleave,
  median,
  output,
  pinned,
  report,
  scaled,
  scratch,
  type Taken,
} from "./harness.ts";

/** Starts in one round, after one that does not count. */
const STARTS = 12;
const root = join(folder, "..");
const built = join(scratch, "package");
const app = join(scratch, "app");

/** dist/ as npm run build makes it, without types, from a copy: the working tree stays as it is. */
function build(): void {
  mkdirSync(built);
  for (const name of ["native", "src", "scripts", "package.json", "tsconfig.json"]) {
    cpSync(join(root, name), join(built, name), { recursive: true });
  }
  symlinkSync(join(root, "node_modules"), join(built, "node_modules"));
  output([process.execPath, join(built, "scripts/build.ts")]);
}

const FIRST_MESSAGE = `import { socketPair } from "bunix";
const [a, b] = socketPair("stream");
a.trySend("hello");
if (b.tryReceive()?.text() !== "hello") process.exit(1);
`;

function program(name: string, text: string): string {
  const file = join(app, name);
  writeFileSync(file, text);
  return file;
}

const memory: Taken = {};

/** The median time of some starts, in ms; the memory is kept aside. */
function start(name: string, file: string): number {
  const [took, used]: [number[], number[]] = [[], []];
  const command = pinned(0, [process.execPath, file]);
  for (let i = 0; i <= scaled(STARTS); i++) {
    const begin = Bun.nanoseconds();
    const { success, resourceUsage } = Bun.spawnSync(command, { cwd: app });
    const ms = (Bun.nanoseconds() - begin) / 1e6;
    if (!success) throw new Error(`${name} failed`);
    if (i === 0) continue;
    took.push(ms);
    used.push(resourceUsage.maxRSS / 1e6);
  }
  (memory[name] ??= []).push(median(used));
  return median(took);
}

build();
mkdirSync(join(app, "node_modules"), { recursive: true });
symlinkSync(built, join(app, "node_modules/bunix"));
const ours = program("first.mjs", FIRST_MESSAGE);
const empty = program("empty.mjs", "");
const taken = await interleave({
  bunix: () => start("bunix", ours),
  "empty program": () => start("empty program", empty),
});
const work = 'import "bunix", first message through a pair';
report({ work, unit: "ms", as: "difference" }, taken, [["bunix", "empty program", 6]]);
report({ work, unit: "MB", as: "difference" }, memory, [["bunix", "empty program", 8]]);

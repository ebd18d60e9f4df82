// What each part of scripts/build.ts saves at every start: the package built without it against the
// package as it is, start by start in turn. `taskset -c 1 bun bench/build-parts.ts [starts]`

import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dir, "..");
const scratch = mkdtempSync(join(tmpdir(), "bunix-parts-"));
const starts = Number(process.argv[2] ?? 45);

type Edit = readonly [file: string, from: string, to: string];

/** What is replaced in scripts/ to leave a part out. */
const without: Readonly<Record<string, readonly Edit[]>> = {
  whole: [],
  tables: [["plugins.ts", "await nativeSources()", "new Map<string, string>()"]],
  builtins: [["build.ts", "[builtins, atFirstUse, sources]", "[atFirstUse, sources]"]],
  "texts until first use": [["build.ts", "[builtins, atFirstUse, sources]", "[builtins, sources]"]],
  "short names": [
    ["plugins.ts", "minifyIdentifiers: true", "minifyIdentifiers: false"],
    ["build.ts", "withOwnNames(text)", "text"],
  ],
};

const programs: Readonly<Record<string, string>> = {
  "first message": `import { socketPair } from "bunix/socket";
const [a, b] = socketPair("stream");
a.trySend("hello");
if (b.tryReceive()?.text() !== "hello") process.exit(1);`,
  'import "bunix"': `import "bunix";`,
};

function build(name: string): string {
  const folder = join(scratch, name.replace(" ", "-"));
  mkdirSync(folder);
  for (const part of ["native", "src", "scripts", "package.json", "tsconfig.json"]) {
    cpSync(join(root, part), join(folder, part), { recursive: true });
  }
  for (const [file, from, to] of without[name] ?? []) {
    const path = join(folder, "scripts", file);
    const text = readFileSync(path, "utf8");
    if (!text.includes(from)) throw new Error(`${file} has no ${from}: a part that is gone?`);
    writeFileSync(path, text.replace(from, to));
  }
  symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
  const done = Bun.spawnSync([process.execPath, join(folder, "scripts/build.ts")]);
  if (!done.success) throw new Error(done.stderr.toString());
  const app = `${folder}-app`;
  mkdirSync(join(app, "node_modules"), { recursive: true });
  symlinkSync(folder, join(app, "node_modules/bunix"));
  for (const [i, text] of Object.values(programs).entries()) {
    writeFileSync(join(app, `${i}.mjs`), text);
  }
  return app;
}

/** Milliseconds of processor time: on a busy machine the clock says nothing. */
function start(program: string): number {
  const { success, resourceUsage } = Bun.spawnSync([process.execPath, program]);
  if (!success) throw new Error(`${program} failed`);
  return Number(resourceUsage.cpuTime.total) / 1000;
}

const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1] ?? 0;

try {
  const apps = Object.keys(without).map((name) => [name, build(name)] as const);
  for (const [i, program] of Object.keys(programs).entries()) {
    const taken = new Map<string, number[]>(apps.map(([name]) => [name, []]));
    for (let round = -1; round < starts; round++) {
      for (const [name, app] of apps) {
        const ms = start(join(app, `${i}.mjs`));
        if (round >= 0) taken.get(name)?.push(ms);
      }
    }
    const fewest = (values: readonly number[]): string => Math.min(...values).toFixed(1);
    const whole = [...(taken.get("whole") ?? [])];
    for (const [name, times] of taken) {
      const saves = median(times.map((ms, at) => ms - (whole[at] ?? 0)));
      const says = name === "whole" ? "" : `, ${saves.toFixed(2)} ms more than whole`;
      const label = name === "whole" ? name : `without ${name}`;
      const middle = median([...times]).toFixed(1);
      console.log(`${program}, ${label}: ${middle} ms (fewest ${fewest(times)})${says}`);
    }
  }
} finally {
  rmSync(scratch, { recursive: true });
}

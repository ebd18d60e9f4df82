// Fuzzing for as long as you like: npm run fuzz -- --minutes 60 [part of a target's name …]
//
// What fails is made small, told, and added to the corpus, which every test run replays.

import { appendFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { corpusFile, type Failure, fuzz, type Target, toHex } from "./engine.ts";
import { protocols } from "./protocols.ts";
import { texts } from "./texts.ts";
import { memory } from "./views.ts";

const SLICE = 5_000;
const MINUTE_MS = 60_000;

const { values, positionals } = parseArgs({
  options: { minutes: { type: "string", default: "1" } },
  allowPositionals: true,
});
const minutes = Number(values.minutes);
if (!(minutes > 0)) throw new Error(`--minutes is a number above 0, not ${values.minutes}`);
const wanted = ({ name }: Target): boolean =>
  positionals.length === 0 || positionals.some((part) => name.includes(part));
const targets = [...protocols, ...texts, ...memory].filter(wanted);
if (targets.length === 0) throw new Error("no target has that in its name");

function keep({ target, input, reason }: Failure): void {
  console.error(`FAIL ${target}: ${toHex(input)}\n${reason}`);
  const first = reason.split("\n")[0] ?? "";
  appendFileSync(corpusFile(target), `${toHex(input)} # ${first.slice(0, 80)}\n`);
}

const executions = new Map<string, number>();
const times = new Map<string, number>();
const failed = new Set<string>();
const end = performance.now() + minutes * MINUTE_MS;
while (performance.now() < end && failed.size < targets.length) {
  for (const target of targets) {
    if (failed.has(target.name)) continue;
    const begin = performance.now();
    const failure = await fuzz(target, SLICE);
    times.set(target.name, (times.get(target.name) ?? 0) + performance.now() - begin);
    executions.set(target.name, (executions.get(target.name) ?? 0) + SLICE / (target.cost ?? 1));
    if (failure === null) continue;
    failed.add(target.name);
    keep(failure);
  }
}

let total = 0;
for (const [name, count] of executions) {
  const rate = Math.round((count * 1_000) / (times.get(name) ?? 1));
  console.log(`${failed.has(name) ? "FAIL" : "ok  "} ${name}: ${count} inputs, ${rate} a second`);
  total += count;
}
console.log(`${total} inputs, ${failed.size} targets failed`);
process.exitCode = failed.size === 0 ? 0 : 1;

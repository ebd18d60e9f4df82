// Runs test files as on a Mac: bunix with macOS's column and calls, on a library of ours in the
// place of Apple's (rig.sh). It tests our code, and nothing of XNU.
//
//   bun test/darwin/run.ts [--short] [part of a file name …]
//
// A test that ends with an UnsupportedError of what macOS does not have is left out, and so is what
// `leftOut` names: both are counted, by reason. The last line is the sum, as test/run.ts has it.

import { join, resolve } from "node:path";
import {
  type LeftOut,
  leftOut,
  missingThere,
  notRun,
  type Suite,
  short,
  suites,
} from "./suites.ts";

const root = resolve(import.meta.dir, "../..");
const AT_ONCE = 3;
const LIMIT_MS = 120_000;
/** For a test that does not say how long it may take. */
const TEST_LIMIT_MS = 30_000;

interface Counts {
  passed: number;
  failed: number;
  out: number;
}

const reasons = new Map<string, number>();
const note = (reason: string): void => void reasons.set(reason, (reasons.get(reason) ?? 0) + 1);

const unsupported = /^(?:\+ )?UnsupportedError: (\w+) is not available here/gm;

/** What a file's output says: each failed test with what was printed since the one before. */
function judge(file: string, output: string): Counts & { bad: string[] } {
  const counts = { passed: 0, failed: 0, out: 0, bad: [] as string[] };
  let block = "";
  for (const line of output.split("\n")) {
    if (/^\d+ tests? failed:$/.test(line)) break; // the same once more
    const skipped = /^skip: .*? \((.*)\)$/.exec(line);
    if (skipped !== null) note(skipped[1]!);
    const ended = /^\((pass|fail|skip)\) (.*?)(?: \[[\d.]+m?s\])?$/.exec(line);
    if (ended === null) {
      block += `${line}\n`;
      continue;
    }
    const [, how, name] = ended;
    const reason = how === "pass" ? null : why(file, name!, block);
    if (how === "pass") counts.passed++;
    else if (reason !== null || how === "skip") {
      counts.out++;
      if (reason !== null) note(reason); // a skipped one has printed its own
    } else {
      counts.failed++;
      counts.bad.push(`${block}${line}`);
    }
    block = "";
  }
  return counts;
}

/** Why a test that failed is left out; null: it has failed. */
function why(file: string, name: string, block: string): string | null {
  const found = [...block.matchAll(unsupported)].map(([, what]) => what!);
  const absent = found.find((what) => what in missingThere);
  if (absent !== undefined) return missingThere[absent]!;
  const listed = leftOut.find(({ test, in: where }) => where === file && test.test(name));
  if (listed === undefined) return null;
  used.add(listed);
  return listed.why;
}

const used = new Set<LeftOut>();

async function runFile(bun: string, { file, only }: Suite): Promise<Counts> {
  const part = only === undefined ? [] : ["-t", only];
  const child = Bun.spawn([bun, "test", `./${file}`, `--timeout=${TEST_LIMIT_MS}`, ...part], {
    cwd: root,
    env: { ...process.env, BUNIX_RIG: "darwin", FORCE_COLOR: "0", NO_COLOR: "1" },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  const killGroup = (): void => {
    try {
      process.kill(-child.pid, "SIGKILL");
    } catch {} // all of them have ended
  };
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    killGroup();
  }, LIMIT_MS);
  const [out, said] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  await child.exited;
  clearTimeout(timer);
  killGroup();
  const { bad, ...counts } = judge(file, `${out}${said}`);
  if (counts.passed + counts.failed + counts.out === 0 || late) {
    counts.failed++;
    bad.push(`${late ? `killed after ${LIMIT_MS} ms` : "it ran no tests"}\n${said.slice(-4000)}`);
  }
  if (bad.length > 0) console.log(`--- ${file}\n${bad.join("\n")}\n---`);
  const sum = `${counts.passed} passed, ${counts.failed} failed, ${counts.out} left out`;
  console.log(`${bad.length > 0 ? "FAIL" : "ok  "} ${file}: ${sum}`);
  return counts;
}

const setup = Bun.spawnSync(["bash", join(import.meta.dir, "rig.sh")]);
if (!setup.success) {
  console.log(`skip: as on a Mac (${setup.stderr.toString().trim()})`);
  console.log("0 passed, 0 failed");
  process.exit(0);
}
const bun = setup.stdout.toString().trim().split("\n").at(-1)!;
const asked = process.argv.slice(2).filter((word) => !word.startsWith("--"));
const filters = process.argv.includes("--short") ? [...short] : asked;
const queue = suites.filter(
  ({ file }) => filters.length === 0 || filters.some((part) => file.includes(part)),
);
const total: Counts = { passed: 0, failed: 0, out: 0 };
const worker = async (): Promise<void> => {
  for (let suite = queue.shift(); suite !== undefined; suite = queue.shift()) {
    const { passed, failed, out } = await runFile(bun, suite);
    total.passed += passed;
    total.failed += failed;
    total.out += out;
  }
};
await Promise.all(Array.from({ length: AT_ONCE }, worker));
for (const [reason, count] of [...reasons].sort(([, a], [, b]) => b - a)) {
  console.log(`note: ${count} left out: ${reason}`);
}
if (filters.length === 0) {
  for (const { in: file, test } of leftOut.filter((one) => !used.has(one))) {
    console.log(`${file}: ${test} is listed as left out, and was not`);
    total.failed++;
  }
  for (const file of new Bun.Glob("test/api/*.test.ts").scanSync(root)) {
    const reasonOf = ([, names]: [string, readonly string[]]): boolean =>
      names.some((name) => file === `test/api/${name}.test.ts`);
    const runs = suites.some((suite) => suite.file === file);
    if (runs !== Object.entries(notRun).some(reasonOf)) continue;
    console.log(`${file}: is either run here or has a reason in notRun`);
    total.failed++;
  }
  for (const [why, names] of Object.entries(notRun)) {
    console.log(
      `note: ${names.length} files of test/api do not run here, ${why}: ${names.join(" ")}`,
    );
  }
}
const skipped = total.out > 0 ? `, ${total.out} skipped` : "";
console.log(`${total.passed} passed, ${total.failed} failed${skipped}`);
process.exit(total.failed === 0 ? 0 : 1);

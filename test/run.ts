// Runs the checks and every test file, each in a process of its own; the last line is the sum.
//
//   bun test/run.ts [--only-tests] [--limit=SECONDS] [--files=GLOB] [--bun=FILE]
//                   [--waker=aio|thread] [--slower=TIMES] [part of a file name …]
//
// --bun: have another Bun run the test files, and whatever they start, in this one's place;
// --waker: only this one; --slower: that Bun needs so many times longer for everything.
// Files of the folders in `twice` run once per waker. A file may ask for more time in its first
// lines: "// time limit: 300 s".

import { closeSync, globSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dir, "..");
const twice = [
  "test/loop/",
  "test/api/",
  "test/cases/",
  "test/faults/",
  "test/interop/",
  "test/stress/",
  "test/hostile/",
];
const AT_ONCE = 2;
const LIMIT_SECONDS = 120;
/** For a test that does not say how long it may take: Bun's 5 s are too few on a busy machine. */
const TEST_LIMIT_MS = 20_000;

interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

interface Job {
  readonly name: string;
  readonly command: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly limitSeconds: number;
  /** What the finished process counts for; `code` is null where it was killed. */
  readonly count: (code: number | null) => Counts & { problem?: string };
}

interface Arguments {
  readonly onlyTests: boolean;
  readonly limitSeconds: number;
  readonly files: string;
  readonly bun: string;
  readonly wakers: readonly string[];
  readonly slower: number;
  readonly filters: readonly string[];
}

function parseArguments(args: readonly string[]): Arguments {
  let onlyTests = false;
  let limitSeconds = LIMIT_SECONDS;
  let files = "test/**/*.test.ts";
  let bun = process.execPath;
  let wakers = ["aio", "thread"];
  let slower = 1;
  for (const option of args.filter((arg) => arg.startsWith("--"))) {
    const [name, value = ""] = option.split("=");
    if (option === "--only-tests") onlyTests = true;
    else if (name === "--limit" && Number(value) > 0) limitSeconds = Number(value);
    else if (name === "--files") files = value;
    else if (name === "--bun") bun = resolve(value);
    else if (name === "--waker") wakers = [value];
    else if (name === "--slower" && Number(value) > 0) slower = Number(value);
    else throw new Error(`unknown option ${option}; see the top of test/run.ts`);
  }
  const filters = args.filter((arg) => !arg.startsWith("--"));
  return { onlyTests, limitSeconds, files, bun, wakers, slower, filters };
}

const scratch = mkdtempSync(join(tmpdir(), "bunix-run-"));
let files = 0;
const scratchFile = (): string => join(scratch, String(++files));

/** A command that is one test: it passes if it exits with 0. */
function check(name: string, command: readonly string[]): Job {
  return {
    name,
    command: [process.execPath, join(root, "node_modules/.bin", command[0]!), ...command.slice(1)],
    limitSeconds: LIMIT_SECONDS,
    count: (code) => ({ passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, skipped: 0 }),
  };
}

function testJobs(file: string, { limitSeconds, bun, wakers, slower }: Arguments): Job[] {
  const asked = /^\/\/ time limit: (\d+) s$/m.exec(readFileSync(join(root, file), "utf8"))?.[1];
  const timeout = `--timeout=${slower * TEST_LIMIT_MS}`;
  const forced = twice.some((folder) => file.startsWith(folder)) ? wakers : [undefined];
  return forced.map((waker) => {
    const report = scratchFile();
    const reporter = ["--reporter=junit", `--reporter-outfile=${report}`];
    return {
      name: waker === undefined ? file : `${file} [${waker}]`,
      command: [bun, "test", `./${file}`, timeout, ...reporter],
      env: {
        ...(waker === undefined ? {} : { BUNIX_WAKER: waker }),
        ...(slower === 1 ? {} : { BUNIX_SLOWER: String(slower) }),
      },
      limitSeconds: slower * Math.max(limitSeconds, Number(asked ?? 0)),
      count: (code) => countReport(report, code),
    };
  });
}

/** The sums that stand in the report's first element. */
function countReport(report: string, code: number | null): Counts & { problem?: string } {
  let text = "";
  try {
    text = readFileSync(report, "utf8");
  } catch {
    return { passed: 0, failed: 1, skipped: 0, problem: "it ended without a report" };
  }
  const head = /<testsuites [^>]*>/.exec(text)?.[0] ?? "";
  const number = (name: string): number =>
    Number(new RegExp(` ${name}="(\\d+)"`).exec(head)?.[1] ?? Number.NaN);
  const [tests, failed, skipped] = [number("tests"), number("failures"), number("skipped")];
  if (!(tests > 0)) return { passed: 0, failed: 1, skipped: 0, problem: "it ran no tests" };
  const counts = { passed: tests - failed - skipped, failed, skipped };
  if (code === 0 || failed > 0) return counts;
  return { ...counts, failed: 1, problem: `no test failed, yet it ended with code ${code}` };
}

const running = new Set<number>();

/** The child leads a process group, so that nothing it started outlives it. */
function killGroup(pid: number): boolean {
  try {
    process.kill(-pid, "SIGKILL");
    return true;
  } catch {
    return false;
  }
}

async function runJob(job: Job): Promise<Counts> {
  const begin = performance.now();
  const output = scratchFile();
  const fd = openSync(output, "w");
  const child = Bun.spawn([...job.command], {
    cwd: root,
    env: { ...process.env, ...job.env, FORCE_COLOR: "0", NO_COLOR: "1" },
    stdio: ["ignore", fd, fd],
    detached: true,
  });
  closeSync(fd);
  running.add(child.pid);
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    killGroup(child.pid);
  }, job.limitSeconds * 1_000);
  await child.exited;
  clearTimeout(timer);
  running.delete(child.pid);
  const stragglers = killGroup(child.pid);
  const counts = job.count(child.exitCode);
  let problem = counts.problem;
  if (late) {
    problem = `killed after ${job.limitSeconds} s`;
    counts.failed ||= 1;
  } else if (child.exitCode === null) {
    problem = `killed by ${child.signalCode}`;
    counts.failed ||= 1;
  }
  const seconds = (performance.now() - begin) / 1_000;
  tell(job, { counts, seconds, problem, stragglers, said: readFileSync(output, "utf8") });
  return counts;
}

interface Ended {
  readonly counts: Counts;
  readonly seconds: number;
  readonly problem: string | undefined;
  readonly stragglers: boolean;
  readonly said: string;
}

/** One line for a file that passed, all that it said for one that did not. */
function tell(job: Job, { counts, seconds, problem, stragglers, said }: Ended): void {
  const bad = counts.failed > 0;
  if (bad) console.log(`--- ${job.name}\n${said.trimEnd()}\n---`);
  console.log(`${bad ? "FAIL" : "ok  "} ${job.name}: ${sum(counts)}, ${seconds.toFixed(1)} s`);
  if (problem !== undefined) console.log(`     ${problem}`);
  if (stragglers) console.log("     it left processes behind, which were killed");
  if (bad) return;
  for (const line of said.split("\n")) {
    if (/^(skip|note): /.test(line)) console.log(`     ${line}`);
  }
}

function sum({ passed, failed, skipped }: Counts): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}

async function runAll(jobs: readonly Job[]): Promise<Counts> {
  const total: Counts = { passed: 0, failed: 0, skipped: 0 };
  const queue = [...jobs];
  const worker = async (): Promise<void> => {
    for (let job = queue.shift(); job !== undefined; job = queue.shift()) {
      const { passed, failed, skipped } = await runJob(job);
      total.passed += passed;
      total.failed += failed;
      total.skipped += skipped;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return total;
}

function stop(code: number): never {
  for (const pid of running) killGroup(pid);
  rmSync(scratch, { recursive: true, force: true });
  process.exit(code);
}

process.on("SIGINT", () => stop(130));
process.on("SIGTERM", () => stop(143));

const asked = parseArguments(process.argv.slice(2));
const { onlyTests, filters } = asked;
const found = globSync(asked.files, { cwd: root })
  .map((file) => file.replaceAll("\\", "/"))
  .filter((file) => filters.length === 0 || filters.some((part) => file.includes(part)))
  .sort();
const checks = [
  check("tsc --noEmit", ["tsc", "--noEmit", "-p", "."]),
  check("biome check", ["biome", "check", "."]),
];
const total = await runAll([
  ...(onlyTests ? [] : checks),
  ...found.flatMap((file) => testJobs(file, asked)),
]);
if (found.length === 0) {
  console.log("no test file has that in its name");
  total.failed += 1;
}
console.log(sum(total));
stop(total.failed === 0 ? 0 : 1);

// Runs the checks and every test file, each in a process of its own; the last line is the sum.
//
//   bun test/run.ts [--only-tests] [--files=GLOB] [--not=PART]… [--bun=FILE] [--waker=aio|thread]
//                   [--both=FOLDER]… [--work=TIMES] [--slower=TIMES] [--limit=SECONDS] [--times]
//                   [part of a file name …]
//
// --bun: have another Bun run the test files, and whatever they start, in this one's place;
// --waker: files of the folders in `matrix` run with this one; without it, once per waker;
// --both: but those in this folder with each; --not: leave out files with this in their names;
// --work: so many times more of what is done in numbers; --slower: Bun is emulated, and needs so
// many times longer for everything; --limit: after which a file is killed; --times: what each took.
//
// A process per file, because the tests count descriptors and are killed as a group, with whatever
// they started; `bun test --parallel` uses its processes again.

import { closeSync, globSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

const root = resolve(import.meta.dir, "..");
const matrix = ["loop", "api", "cases", "faults", "interop", "stress", "hostile"];
/** In these nothing waits for a waker. */
const either = [
  ...["addresses", "bound-sockets", "errors", "inspect", "list-sockets"].map(
    (name) => `api/${name}`,
  ),
  "faults/public",
].map((name) => `test/${name}.test.ts`);
/** One more than processors on the smallest machine that this is for: some files mostly wait. */
const AT_ONCE = 3;
/** For what hangs: the slowest file takes a minute, and several on a busy machine. */
const LIMIT_SECONDS = 900;
/** For a test that does not say how long it may take. */
const TEST_LIMIT_MS = 120_000;

/**
 * What a user has once for all processes: files that use the same do not run at once. One that
 * finds out where a limit is would leave nothing for the other.
 */
const shared = {
  "RLIMIT_MSGQUEUE, queues_max": /MessageQueue\b|[cC]onnectQueue|listenQueue|QueueDatagram|mq_open/,
  RLIMIT_SIGPENDING: /\bsendFd\b|SIGRT|sendSignal|sigpending/,
};

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
  /** Of `shared`. */
  readonly uses: readonly string[];
  /** What the finished process counts for; `code` is null where it was killed. */
  readonly count: (code: number | null) => Counts & { problem?: string };
}

const { values: asked, positionals: filters } = parseArgs({
  args: process.argv.slice(2),
  allowPositionals: true,
  options: {
    "only-tests": { type: "boolean", default: false },
    times: { type: "boolean", default: false },
    files: { type: "string", default: "test/**/*.test.ts" },
    not: { type: "string", multiple: true, default: [] },
    bun: { type: "string", default: process.execPath },
    waker: { type: "string" },
    both: { type: "string", multiple: true, default: [] },
    work: { type: "string", default: "1" },
    slower: { type: "string", default: "1" },
    limit: { type: "string", default: String(LIMIT_SECONDS) },
  },
});

/** An option's number; anything else is an error. */
function positive(name: "work" | "slower" | "limit"): number {
  const value = Number(asked[name]);
  if (!(value > 0)) throw new Error(`--${name}=${asked[name]}: not a number above 0`);
  return value;
}

const [work, slower, limitSeconds] = [positive("work"), positive("slower"), positive("limit")];

const scratch = mkdtempSync(join(tmpdir(), "bunix-run-"));
let files = 0;
const scratchFile = (): string => join(scratch, String(++files));

/** A command that is one test: it passes if it exits with 0. */
function check(name: string, command: readonly string[]): Job {
  return {
    name,
    command: [process.execPath, join(root, "node_modules/.bin", command[0]!), ...command.slice(1)],
    limitSeconds,
    uses: [],
    count: (code) => ({ passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, skipped: 0 }),
  };
}

/** The wakers that a file is run with. */
function wakersFor(file: string): (string | undefined)[] {
  const within = (folder: string): boolean => file.startsWith(`test/${folder}/`);
  if (!matrix.some(within) || either.includes(file)) return [undefined];
  return asked.waker === undefined || asked.both.some(within) ? ["aio", "thread"] : [asked.waker];
}

function testJobs(file: string): Job[] {
  const text = readFileSync(join(root, file), "utf8");
  const uses = Object.entries(shared).flatMap(([what, by]) => (by.test(text) ? [what] : []));
  const timeout = `--timeout=${work * slower * TEST_LIMIT_MS}`;
  return wakersFor(file).map((waker) => {
    const report = scratchFile();
    const reporter = ["--reporter=junit", `--reporter-outfile=${report}`];
    return {
      name: waker === undefined ? file : `${file} [${waker}]`,
      command: [resolve(asked.bun), "test", `./${file}`, timeout, ...reporter],
      env: {
        ...(waker === undefined ? {} : { BUNIX_WAKER: waker }),
        ...(asked.waker === undefined ? {} : { BUNIX_WAKER_OF_PROGRAMS: asked.waker }),
        ...(slower === 1 ? {} : { BUNIX_SLOWER: String(slower) }),
        ...(work === 1 ? {} : { BUNIX_WORK: String(work) }),
      },
      limitSeconds: limitSeconds * slower * Math.max(1, work),
      uses,
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
  const cpuSeconds = Number(child.resourceUsage()?.cpuTime.total ?? 0) / 1e6;
  times.push({ name: job.name, seconds, cpuSeconds, tests: counts.passed + counts.failed });
  tell(job, { counts, seconds, problem, stragglers, said: readFileSync(output, "utf8") });
  return counts;
}

interface Time {
  readonly name: string;
  readonly seconds: number;
  /** Of the process and of all that it waited for. */
  readonly cpuSeconds: number;
  readonly tests: number;
}

const times: Time[] = [];

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
  const inUse = new Set<string>();
  let ended = Promise.withResolvers<void>();
  const worker = async (): Promise<void> => {
    while (queue.length > 0) {
      const free = queue.findIndex(({ uses }) => !uses.some((what) => inUse.has(what)));
      if (free < 0) {
        await ended.promise;
        continue;
      }
      const job = queue.splice(free, 1)[0]!;
      for (const what of job.uses) inUse.add(what);
      const { passed, failed, skipped } = await runJob(job);
      for (const what of job.uses) inUse.delete(what);
      ended.resolve();
      ended = Promise.withResolvers();
      total.passed += passed;
      total.failed += failed;
      total.skipped += skipped;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return total;
}

/** What each file took, the longest first. */
function tellTimes(): void {
  console.log("  CPU s   wall s  tests  file");
  for (const { name, seconds, cpuSeconds, tests } of times.sort(
    (a, b) => b.cpuSeconds - a.cpuSeconds,
  )) {
    const columns = [cpuSeconds.toFixed(1).padStart(7), seconds.toFixed(1).padStart(8)];
    console.log(`${columns.join(" ")} ${String(tests).padStart(6)}  ${name}`);
  }
  const all = times.reduce((sum, time) => sum + time.cpuSeconds, 0);
  console.log(`note: ${all.toFixed(0)} s of CPU time`);
}

function stop(code: number): never {
  for (const pid of running) killGroup(pid);
  rmSync(scratch, { recursive: true, force: true });
  process.exit(code);
}

process.on("SIGINT", () => stop(130));
process.on("SIGTERM", () => stop(143));

/** Files come in the order in which their parts are asked for. */
const place = (file: string): number => filters.findIndex((part) => file.includes(part));

const found = globSync(asked.files, { cwd: root })
  .map((file) => file.replaceAll("\\", "/"))
  .filter((file) => filters.length === 0 || filters.some((part) => file.includes(part)))
  .filter((file) => !asked.not.some((part) => file.includes(part)))
  .sort()
  .sort((a, b) => place(a) - place(b));
const checks = [
  check("tsc --noEmit", ["tsc", "--noEmit", "-p", "."]),
  check("biome check", ["biome", "check", "."]),
];
const total = await runAll([...(asked["only-tests"] ? [] : checks), ...found.flatMap(testJobs)]);
if (found.length === 0) {
  console.log("no test file has that in its name");
  total.failed += 1;
}
if (asked.times) tellTimes();
console.log(sum(total));
stop(total.failed === 0 ? 0 : 1);

// What the commands of package.json run: which of the test files, and with which Bun.
//
//   bun test/platforms/run.ts [here] [thread] [long] [darwin] [musl] [bun-1.3] [arm64] [--short]
//                             [--times] [part of a file name …]
//
// "here", "thread" and "long" are this Bun itself: what `npm test` runs, with the checks; the other
// waker; more of what is done in numbers, and files that take long. The rest are other Buns: of
// another libc, another architecture, or older. --short: a part of them; what it leaves out, and
// why, is printed. The last line is the sum.

import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

const root = resolve(import.meta.dir, "../..");

interface Rig {
  readonly what: string;
  /** For test/run.ts. */
  readonly options: readonly string[];
  /** Parts of file names. Default: every file. */
  readonly files?: readonly string[];
  /** With --short: only these. */
  readonly short?: readonly string[];
  /** Of these, what the thread waker gets, too; the rest is with the other one only. */
  readonly thread?: readonly string[];
  readonly leftOut?: string;
}

const folders = (...names: string[]): string[] => names.map((name) => `test/${name}/`);

const calls = folders("abi", "structs", "syscalls");
const common = [
  ...[...calls, ...folders("api", "interop", "loop", "cases", "hostile")],
  ...["doctor", "main"].map((name) => `test/cli/${name}`),
];
const thread = ["fairness", "generation", "many", "order"].map((name) => `test/loop/${name}`);
const emulated = [
  ...["accept-fds", "batch", "cancel", "credentials", "data", "descriptors", "ends", "exec"],
  ...["fifo", "handover", "message-queue", "notify", "process", "queue-socket-datagram"],
  ...["signals", "stream-descriptors"],
].map((name) => `test/api/${name}.test`);
const besides = ["cases/rights", "cases/stream", "loop/generation", "interop/peers"];

/** Other machines, bundlers, package managers and packages: little in them is this Bun's. */
const slow = [
  ...["abi/cross", "darwin/mutations", "darwin/report", "docs/development", "docs/reference"],
  ...[
    "docs/site",
    "interop/duplex-x11",
    "interop/shim-suites",
    "interop/x11-suite",
    "interop/dbus-suite",
  ],
  ...["api/socket-graph-real", "package/package", "package/places"],
].map((name) => `test/${name}`);
/** What more of is better: `long` has it anyway. */
const more = [
  ...["cli/postbox-life", "exclusive/kill", "exclusive/race"],
  ...["faults/cli", "faults/listen", "faults/servers", "fuzz/"],
].map((name) => `test/${name}`);
/** Of other packages: this Bun's with one waker will do. */
const suites = ["dbus-suite", "shim-suites", "x11-suite"].map((name) => `test/interop/${name}`);
/** Left out of every --short: others' headers, and programs that start hundreds of times. */
const elsewhere = ["abi/apple", "abi/cross", "faults/cli", "faults/listen", "faults/servers"].map(
  (name) => `test/${name}`,
);
const without = (names: readonly string[]): string[] => names.map((name) => `--not=${name}`);

const rigs: Readonly<Record<string, Rig>> = {
  here: {
    what: "this Bun",
    options: ["--waker=aio", "--both=loop", ...without([...slow, ...more])],
    leftOut:
      "the thread waker but in loop (test:thread); large amounts, most of the package, cross " +
      "compilers, the reference, the site (test:long); other Buns (test:musl, test:bun-1.3, " +
      "test:arm64)",
  },
  thread: {
    what: "this Bun, the thread waker",
    options: ["--only-tests", "--waker=thread", ...without(suites)],
    files: [
      ...folders("api", "cases", "faults", "interop", "stress", "hostile"),
      ...["docs/programs", "examples/", "cli/doctor", "cli/postbox"].map((name) => `test/${name}`),
    ],
  },
  long: {
    what: "this Bun, more of everything",
    options: ["--only-tests", "--waker=aio", "--work=5"],
    files: [
      ...folders("exclusive", "faults", "fuzz", "hostile", "soak", "stress"),
      ...[...slow, "test/interop/channel", "test/interop/spawn", "test/cli/postbox"],
    ],
  },
  // has a list of its own (test/darwin/suites.ts)
  darwin: {
    what: "as on a Mac: our code for it, on a library of ours in Apple's place",
    options: [],
  },
  musl: {
    what: "Bun for musl, x64",
    options: ["--only-tests", ...without(suites)],
    short: [...common, "test/faults/", "test/package/places"],
    thread,
    leftOut:
      "the thread waker but in most of loop, exclusive, stress, examples, docs, fuzz, soak, " +
      "support, the rest of package, of cli and of faults: minutes of processes, and little in " +
      "them is libc's",
  },
  "bun-1.3": {
    what: "the oldest Bun that package.json admits",
    options: ["--only-tests", ...without(suites)],
    short: [...common, "test/stress/workers"],
    thread,
    leftOut:
      "the thread waker but in most of loop, exclusive, faults, docs, fuzz, soak, support, " +
      "package, examples, the rest of stress and of cli: minutes",
  },
  arm64: {
    what: "Bun for arm64 under qemu-user (thread waker only: it has no io_setup)",
    options: ["--only-tests", "--waker=thread", "--slower=10", "--limit=120"],
    short: [...calls, ...emulated, ...besides.map((name) => `test/${name}`)],
    leftOut: "the other files: an emulated Bun takes seconds to start, and many start several",
  },
};

/** Rigs that need no setup.sh. */
const own = ["here", "thread", "long"];

/** setup.sh's exit codes for "not here" and for "not on machines like this". */
const NOT_HERE = 77;
const OTHER_MACHINE = 76;

type SetUp = { readonly bun: string } | { readonly reason: string; readonly failure: boolean };

/** Builds the rig; the path of its Bun, or why there is none. */
function setUp(name: string): SetUp {
  if (own.includes(name)) return { bun: process.execPath };
  const setup = Bun.spawnSync(["bash", join(import.meta.dir, "setup.sh"), name], { cwd: root });
  const said = setup.stderr.toString().trim();
  if (setup.exitCode === 0) return { bun: setup.stdout.toString().trim().split("\n").at(-1)! };
  if (setup.exitCode === OTHER_MACHINE) return { reason: said, failure: false };
  if (setup.exitCode === NOT_HERE) return { reason: said, failure: process.env["CI"] === "true" };
  throw new Error(`test/platforms/setup.sh ${name} failed:\n${said}`);
}

const total = { passed: 0, failed: 0, skipped: 0 };

/** Run test/run.ts, pass on what it says, and add its last line to the total. */
async function run(
  name: string,
  command: readonly string[],
  script = "test/run.ts",
): Promise<void> {
  const { BUNIX_RIG: _, ...env } = process.env;
  const child = Bun.spawn([process.execPath, script, ...command], {
    cwd: root,
    env: own.includes(name) ? env : { ...env, BUNIX_RIG: name },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const stop = (): void => child.kill("SIGTERM");
  process.once("SIGTERM", stop);
  const decoder = new TextDecoder();
  let said = "";
  for await (const chunk of child.stdout) {
    process.stdout.write(chunk);
    said = (said + decoder.decode(chunk, { stream: true })).slice(-1_000);
  }
  process.off("SIGTERM", stop);
  const last = said.trimEnd().split("\n").at(-1) ?? "";
  const sum = /^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$/.exec(last);
  const failed = Number(sum?.[2] ?? 0);
  total.passed += Number(sum?.[1] ?? 0);
  total.failed += (await child.exited) === 0 ? failed : Math.max(1, failed);
  total.skipped += Number(sum?.[3] ?? 0);
}

const { values: asked, positionals } = parseArgs({
  args: process.argv.slice(2),
  allowPositionals: true,
  options: {
    short: { type: "boolean", default: false },
    times: { type: "boolean", default: false },
  },
});
const chosen = positionals.filter((word) => Object.hasOwn(rigs, word));
const filters = positionals.filter((word) => !Object.hasOwn(rigs, word));
const passedOn = asked.times ? ["--times"] : [];
if (chosen.length === 0) throw new Error("which? See the top of test/platforms/run.ts");

for (const name of chosen) {
  if (name === "darwin") {
    console.log(`=== ${rigs[name]!.what}`);
    await run(name, asked.short ? ["--short"] : filters, "test/darwin/run.ts");
    continue;
  }
  const { what, options, files = [], short: few, thread: again, leftOut } = rigs[name]!;
  const found = setUp(name);
  if ("reason" in found) {
    console.log(`skip: ${what} (${found.reason})`);
    if (found.failure) total.failed++;
    continue;
  }
  console.log(`=== ${what}: ${found.bun}`);
  const isShort = asked.short && few !== undefined;
  if (leftOut !== undefined && (isShort || few === undefined)) {
    const whole = isShort ? `, not in "npm run test:${name}"` : "";
    console.log(`note: left out here${whole}: ${leftOut}`);
  }
  const all = [`--bun=${found.bun}`, ...options, ...passedOn];
  if (!isShort || filters.length > 0) {
    await run(name, [...all, ...(filters.length > 0 ? filters : files)]);
    continue;
  }
  const first = again === undefined ? [] : ["--waker=aio"];
  await run(name, [...all, ...first, ...without(elsewhere), ...few]);
  if (again !== undefined) await run(name, [...all, "--waker=thread", ...again]);
}
const { passed, failed, skipped } = total;
if (skipped > 0) console.log(`note: ${skipped} left out, each with its reason above`);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);

// Runs test files under other kernels, in virtual machines without KVM: what `npm run test:kernels`
// runs. Needs root on Debian x64; all else it installs, builds and keeps (setup.sh).
//
//   bun test/kernels/run.ts [host] [5.10] [6.1] [6.12] [newest] … [arm64] [--short] [--root=SUITE]
//                           [--seconds=SECONDS] [--slower=TIMES] [--cpu=MODEL] [--processors=N]
//                           [part of a file name …]
//
// A kernel is a version, or "newest"; those after "arm64" are for that processor (none: 6.12).
// "host" is this machine's own, in a container with systemd as PID 1: at full speed.
// --short: a part of the files, and those that have one of the parts in their names; --root: of
// which Debian suite the rest is (bookworm has systemd 252, trixie 257; default: what was current
// with the kernel); --seconds: after which a machine is switched off; --slower: how many times
// longer everything may take in there. The last lines are a table of the kernels, and the sum.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { release as ownRelease, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { listFor } from "./lists.ts";
import { type Arch, boot, contain, projectImage, type Said, stopMachine } from "./machine.ts";

const HOST = "host";

/** setup.sh's exit codes for "not here" and for "not on machines like this". */
const NOT_HERE = 77;
const OTHER_MACHINE = 76;

const { values: asked, positionals } = parseArgs({
  args: process.argv.slice(2),
  allowPositionals: true,
  options: {
    short: { type: "boolean", default: false },
    root: { type: "string" },
    slower: { type: "string", default: "10" },
    seconds: { type: "string", default: "5400" },
    cpu: { type: "string" },
    processors: { type: "string" },
  },
});

interface Kernel {
  readonly version: string;
  readonly arch: Arch;
}

const isKernel = (text: string): boolean =>
  [HOST, "newest"].includes(text) || /^\d+\.\d+$/.test(text);

function kernelsAsked(): Kernel[] {
  const at = positionals.indexOf("arm64");
  const versions = (words: readonly string[]): string[] => words.filter(isKernel);
  const amd64 = versions(at < 0 ? positionals : positionals.slice(0, at));
  const arm64 = at < 0 ? [] : versions(positionals.slice(at));
  const all: Kernel[] = amd64.map((version) => ({ version, arch: "amd64" }));
  const rest = at >= 0 && arm64.length === 0 ? ["6.12"] : arm64;
  return [...all, ...rest.map((version): Kernel => ({ version, arch: "arm64" }))];
}

/** The last line that a setup.sh says: where something is. */
function setUp(script: string, ...args: string[]): string {
  const command = ["bash", join(import.meta.dir, script), ...args];
  const done = Bun.spawnSync(command, { stdio: ["ignore", "pipe", "inherit"] });
  if (done.exitCode === NOT_HERE || done.exitCode === OTHER_MACHINE) {
    const failed = done.exitCode === NOT_HERE && process.env["CI"] === "true" ? 1 : 0;
    console.log("skip: the kernels (see above)");
    console.log(`0 passed, ${failed} failed`);
    process.exit(failed);
  }
  if (done.exitCode !== 0) throw new Error(`${command.join(" ")} ended with ${done.exitCode}`);
  return done.stdout.toString().trim().split("\n").at(-1) ?? "";
}

/** Which Debian a kernel is of. */
function suiteOf({ version }: Kernel): string {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const old = major < 6 || (major === 6 && minor < 12); // "newest" is NaN: not old
  return asked.root ?? (old ? "bookworm" : "trixie");
}

const parts = positionals.filter((text) => !isKernel(text) && text !== "arm64");
const slower = String(Number(asked.slower));

/** An arm64 root is unpacked only: its init is a shell, not systemd. */
const job = (arch: Arch): string => {
  const usual = asked.short || parts.length === 0 ? listFor(asked.short, arch === "amd64") : [];
  const list = [...parts, ...usual];
  return `export BUNIX_RIG=kernels TMPDIR=/tmp
unset CI
ip link set lo up
bun test/run.ts --only-tests --waker=aio --slower=${slower} \\
  --files='test/{**/*.test,kernels/units/*}.ts' ${list.join(" ")}
`;
};

const images = new Map<Arch, string>();

function imageFor(arch: Arch, scratch: string): string {
  const made = images.get(arch);
  if (made !== undefined) return made;
  const bun = arch === "amd64" ? process.execPath : setUp("setup.sh", "bun", arch);
  const image = projectImage(join(scratch, arch), bun, job(arch));
  images.set(arch, image);
  return image;
}

const SUM = /^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$/gm;

interface Row {
  readonly name: string;
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  readonly took: string;
}

interface Parts extends Kernel {
  readonly suite: string;
  /** Where the root's image and the kernel are. */
  readonly disk: string;
  readonly folder: string;
}

/** All of them, before the first one boots. */
function prepare(kernel: Kernel): Parts {
  const { version, arch } = kernel;
  const suite = suiteOf(kernel);
  const disk = setUp("setup.sh", "root", suite, arch);
  const folder = version === HOST ? "" : setUp("setup.sh", "kernel", version, arch);
  return { ...kernel, suite, disk, folder };
}

function start({ version, arch, disk, folder }: Parts, scratch: string): Promise<Said> {
  const about = { disk, folder: scratch, seconds: asked.seconds };
  if (version === HOST) return contain({ ...about, job: job(arch) });
  return boot({
    ...{ ...about, arch, kernel: folder, project: imageFor(arch, scratch) },
    cpu: asked.cpu ?? (arch === "amd64" ? "max" : "cortex-a72"),
    processors: asked.processors ?? (arch === "amd64" ? "2" : "1"),
  });
}

const BOOTS = 3;

/** An emulated kernel may crash while it boots (6.18 did, once): that is no test's. Once more. */
async function booted(parts: Parts, scratch: string): Promise<Said> {
  for (let boots = 1; ; boots++) {
    const said = await start(parts, scratch);
    const ended = said.seconds < Number(asked.seconds);
    if (said.text !== "" || boots === BOOTS || !ended) return said;
    console.log(`it ended before it said anything, ${boots} of at most ${BOOTS} times`);
  }
}

async function runUnder(parts: Parts, scratch: string): Promise<Row> {
  const { version, suite, folder } = parts;
  const itself = version === HOST;
  const release = itself ? ownRelease() : readFileSync(join(folder, "release"), "utf8").trim();
  console.log(`+ Linux ${release}, ${suite}${itself ? ", in a container" : ""}`);
  const { text, seconds, cpuSeconds } = await booted(parts, scratch);
  const sum = [...text.matchAll(SUM)].at(-1);
  const ended = /^guest: ended with/m.test(text);
  if (!ended) console.log(`Linux ${release} did not come to its end`);
  const [passed, failed, skipped] = [1, 2, 3].map((i) => Number(sum?.[i] ?? 0));
  return {
    name: `Linux ${release}, ${suite}${itself ? ", in a container" : ""}`,
    passed: passed!,
    failed: ended && sum !== undefined ? failed! : Math.max(1, failed!),
    skipped: skipped!,
    took: `${seconds.toFixed(0)} s (${cpuSeconds.toFixed(0)} of a processor)`,
  };
}

function table(rows: readonly Row[]): string[] {
  const width = Math.max(...rows.map(({ name }) => name.length));
  const line = (name: string, ...cells: unknown[]): string =>
    `${name.padEnd(width)}  ${cells.map((cell) => String(cell).padStart(8)).join("  ")}`;
  return [
    line("kernel", "passed", "failed", "left out", "took"),
    ...rows.map(({ name, passed, failed, skipped, took }) =>
      line(name, passed, failed, skipped, took),
    ),
  ];
}

const kernels = kernelsAsked();
if (kernels.length === 0) throw new Error("which kernels? 5.10 6.1 6.12 newest arm64");
if (kernels.some(({ version }) => version === HOST)) setUp("setup.sh", "tools", HOST);
for (const arch of new Set(kernels.map(({ arch }) => arch))) setUp("setup.sh", "tools", arch);
const prepared = kernels.map(prepare);

const scratch = mkdtempSync(join(tmpdir(), "bunix-kernels-"));
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    stopMachine();
    rmSync(scratch, { recursive: true, force: true });
    process.exit(1);
  });
}

const rows: Row[] = [];
try {
  for (const kernel of prepared) rows.push(await runUnder(kernel, scratch));
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
const sum = (of: "passed" | "failed"): number => rows.reduce((all, row) => all + row[of], 0);
for (const line of table(rows)) console.log(line);
console.log(`${sum("passed")} passed, ${sum("failed")} failed`);
process.exit(sum("failed") === 0 ? 0 : 1);

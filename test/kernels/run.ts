// Runs test files under other kernels, in virtual machines without KVM: what `npm run test:kernels`
// runs. Needs root on Debian x64; all else it installs, builds and keeps (setup.sh).
//
//   bun test/kernels/run.ts [5.10] [6.1] [6.12] [newest] … [--short] [--slower=TIMES]
//                           [--seconds=SECONDS] [part of a file name …]
//
// A kernel is a version, or "newest". --short: a part of the files; --slower: how many times longer
// everything may take in there; --seconds: after which a machine is switched off. The last lines
// are the sum of each kernel, and the sum of all.

import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";

const root = resolve(import.meta.dir, "../..");
const NOT_HERE = 77;

const folders = (...names: string[]): string[] => names.map((name) => `test/${name}/`);

/** What a kernel can make different; the rest is Bun's, libc's or takes minutes. */
const files = [
  ...folders("structs", "abi/probe", "abi/kernel", "syscalls", "loop", "api", "cases").map((part) =>
    part.replace(/(probe|kernel)\/$/, "$1.test"),
  ),
  "test/kernels/units",
  ...["faults/sockets", "faults/processes", "interop/peers", "interop/fifo"].map(
    (name) => `test/${name}.test`,
  ),
];

/** Of these, what fits a few minutes. */
const short = [
  "test/kernels/units",
  ...["abi/kernel", "structs/credentials", "cases/bind", "cases/connect", "cases/processes"],
  ...["cases/batch", "api/credentials", "api/process.", "api/older-kernels", "api/capabilities"],
].map((name) => `test/${name}`);

const { values: asked, positionals } = parseArgs({
  args: process.argv.slice(2),
  allowPositionals: true,
  options: {
    short: { type: "boolean", default: false },
    slower: { type: "string", default: "10" },
    seconds: { type: "string", default: "5400" },
  },
});

const isKernel = (text: string): boolean => text === "newest" || /^\d+\.\d+$/.test(text);
const kernels = positionals.filter(isKernel);
const parts = positionals.filter((text) => !isKernel(text));
const wanted = parts.length > 0 ? parts : asked.short ? short : files;

/** The last line that setup.sh says: where something is. */
function setUp(...args: string[]): string {
  const command = ["bash", join(import.meta.dir, "setup.sh"), ...args];
  const done = Bun.spawnSync(command, { stdio: ["ignore", "pipe", "inherit"] });
  if (done.exitCode === NOT_HERE) {
    console.log("skip: the kernels (see above)");
    console.log("0 passed, 0 failed");
    process.exit(0);
  }
  if (done.exitCode !== 0) throw new Error(`${command.join(" ")} ended with ${done.exitCode}`);
  return done.stdout.toString().trim().split("\n").at(-1) ?? "";
}

const leftOut = ["./.git", "./node_modules/.cache", "./dist", "./site"];
const packages = ["@biomejs", "@typescript", "@arethetypeswrong", "esbuild", "@esbuild"];

/** This project as a file system of its own, with the program that the guest runs. */
function projectImage(into: string, job: string): string {
  const tree = join(into, "project");
  mkdirSync(tree);
  const without = [...leftOut, ...packages.map((name) => `./node_modules/${name}`)];
  const options = without.map((path) => `--exclude=${path}`);
  const copy = `tar -C "$1" ${options.join(" ")} -cf - . | tar -C "$2" -xf -`;
  must("copying the project", ["bash", "-c", copy, "copy", root, tree]);
  copyFileSync(process.execPath, join(tree, "node_modules/bun/bin/bun.exe"));
  writeFileSync(join(tree, "job.sh"), job);
  const image = join(into, "project.img");
  must("making an image", ["mke2fs", "-q", "-t", "ext4", "-d", tree, image, "2G"]);
  rmSync(tree, { recursive: true });
  return image;
}

function must(what: string, command: readonly string[]): void {
  const [name = "", ...args] = command;
  const { status, stderr } = spawnSync(name, args, { stdio: ["ignore", "ignore", "pipe"] });
  if (status !== 0) throw new Error(`${what}: ${stderr}`);
}

/** A sysctl that test machines have, and a user who is nobody's. */
const job = `export BUNIX_RIG=kernels BUNIX_SLOWER=${Number(asked.slower)} TMPDIR=/tmp
unset CI
ip link set lo up
bun test/run.ts --only-tests --waker=aio --slower=${Number(asked.slower)} \\
  --files='test/**/{*.test,units}.ts' ${wanted.join(" ")}
`;

interface Machine {
  readonly kernel: string;
  readonly disk: string;
  readonly project: string;
  readonly folder: string;
}

/** What the guest said on its second serial line. It ends by itself, or is ended after a while. */
async function boot({ kernel, disk, project, folder }: Machine): Promise<string> {
  const [console_, log] = [join(folder, "console"), join(folder, "log")];
  const drive = (id: string, file: string, how: string): string[] => [
    ...["-drive", `file=${file},format=raw,if=none,id=${id},${how}`],
    ...["-device", `virtio-blk-pci,drive=${id}`],
  ];
  const append = [
    ...["quiet", "panic=-1", "net.ifnames=0", "mitigations=off", "console=ttyS0"],
    ...["systemd.show_status=0", "systemd.default_timeout_start_sec=900"], // it is slow
  ].join(" ");
  const command = [
    ...["nice", "-n", "5", "timeout", asked.seconds, "qemu-system-x86_64"],
    ...["-M", "q35", "-cpu", "max", "-m", "3072", "-smp", "2"],
    ...["-accel", "tcg,thread=multi,tb-size=1024", "-display", "none", "-no-reboot"],
    ...["-nodefaults", "-monitor", "none", "-device", "virtio-rng-pci"],
    ...["-kernel", join(kernel, "vmlinuz"), "-initrd", join(kernel, "initrd"), "-append", append],
    ...drive("a", disk, "snapshot=on,cache=unsafe"),
    ...drive("b", join(kernel, "modules.img"), "readonly=on"),
    ...drive("c", project, "snapshot=on,cache=unsafe"),
    ...["-serial", `file:${console_}`, "-serial", `file:${log}`],
  ];
  const machine = Bun.spawn(command, { stdio: ["ignore", "ignore", "inherit"] });
  stop = () => machine.kill("SIGTERM");
  const said = follow(log, machine.exited);
  await machine.exited;
  await said;
  const text = existsSync(log) ? readFileSync(log, "latin1").replaceAll("\r", "") : "";
  if (text === "" && existsSync(console_)) console.log(readFileSync(console_, "latin1"));
  return text;
}

if (kernels.length === 0) throw new Error("which kernels? 5.10 6.1 6.12 newest");
const scratch = mkdtempSync(join(tmpdir(), "bunix-kernels-"));

let stop = (): void => {};
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    stop();
    rmSync(scratch, { recursive: true, force: true });
    process.exit(1);
  });
}

const LOOK_MS = 2_000;

/** Print what comes, while it comes. */
async function follow(log: string, until: Promise<unknown>): Promise<void> {
  let [shown, ended] = [0, false];
  void until.then(() => (ended = true));
  for (;;) {
    const last = ended;
    const text = existsSync(log) ? readFileSync(log, "latin1") : "";
    const end = last ? text.length : text.lastIndexOf("\n") + 1;
    if (end > shown) process.stdout.write(text.slice(shown, end).replaceAll("\r", ""));
    shown = Math.max(shown, end);
    if (last) return;
    await Promise.race([Bun.sleep(LOOK_MS), until]);
  }
}

const SUM = /^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$/gm;

const sums: string[] = [];
let [passed, failed] = [0, 0];
try {
  setUp("tools", "amd64");
  const disk = setUp("root", "bookworm", "amd64");
  const project = projectImage(scratch, job);
  for (const version of kernels) {
    const kernel = setUp("kernel", version, "amd64");
    const release = readFileSync(join(kernel, "release"), "utf8").trim();
    console.log(`+ Linux ${release}`);
    const begin = performance.now();
    const text = await boot({ kernel, disk, project, folder: scratch });
    const seconds = ((performance.now() - begin) / 1_000).toFixed(0);
    const sum = [...text.matchAll(SUM)].at(-1);
    const ended = /^guest: ended with/m.test(text);
    const own = [Number(sum?.[1] ?? 0), sum === undefined || !ended ? 1 : Number(sum[2])] as const;
    passed += own[0];
    failed += own[1];
    const why = ended ? "" : ", it did not come to its end";
    sums.push(`Linux ${release}: ${sum?.[0] ?? "no sum"}, ${seconds} s${why}`);
    for (const name of ["log", "console"]) truncate(join(scratch, name));
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
for (const line of sums) console.log(line);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);

function truncate(file: string): void {
  if (existsSync(file)) truncateSync(file);
}

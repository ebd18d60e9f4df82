// What importing the package costs a program: the built package, as it is published, and the first
// message through a pair, against an empty program. Then what of that is whose: one part of it
// imported, a bundle with what is used, that with bytecode, and the same message by bare FFI calls.

import { cpSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { libcNames, system } from "../native/platform.ts";
import { darwin, linux, posix } from "../native/symbols.ts";
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

const firstMessage = (module: string): string => `import { socketPair } from "${module}";
const [a, b] = socketPair("stream");
a.trySend("hello");
if (b.tryReceive()?.text() !== "hello") process.exit(1);
`;

/** The same without a library, with as many of libc's functions. */
const BARE = `import { dlopen } from "bun:ffi";
const functions = ${JSON.stringify({ ...posix, ...(system === "darwin" ? darwin : linux) })};
const { socketpair, send, recv } = dlopen("${libcNames[0]}", functions).symbols;
const fds = new Int32Array(new ArrayBuffer(8));
socketpair(1, 1, 0, fds);
send(fds[0], new TextEncoder().encode("hello"), 5, 0);
const bytes = new Uint8Array(new ArrayBuffer(64));
const length = recv(fds[1], bytes, bytes.length, 0);
if (new TextDecoder().decode(bytes.subarray(0, length)) !== "hello") process.exit(1);
`;

/**
 * The program's peak, said by itself at its end: what wait4(2) says of a child begins with what the
 * parent had in use when it made it.
 */
const PEAK = `
const status = await Bun.file("/proc/self/status").text();
console.log(status.match(/VmHWM:\\s*(\\d+) kB/)[1]);
`;

function program(name: string, text: string): string {
  const file = join(app, name);
  writeFileSync(file, text);
  return file;
}

/** One file with what `file` uses, and perhaps its bytecode beside it. */
function bundle(file: string, name: string, options: readonly string[] = []): string {
  const outdir = join(app, name);
  const flags = ["--target=bun", "--minify", ...options, "--outdir", outdir];
  output([process.execPath, "build", file, ...flags], { cwd: app });
  return join(outdir, basename(file).replace(/\.mjs$/, ".js"));
}

/** The median time of some starts, in ms. */
function start(file: string): number {
  const took: number[] = [];
  const command = pinned(0, [process.execPath, file]);
  for (let i = 0; i <= scaled(STARTS); i++) {
    const begin = Bun.nanoseconds();
    const { success } = Bun.spawnSync(command, { cwd: app });
    const ms = (Bun.nanoseconds() - begin) / 1e6;
    if (!success) throw new Error(`${file} failed`);
    if (i > 0) took.push(ms);
  }
  return median(took);
}

/** The median peak of some starts, in MB. */
function peak(file: string): number {
  const command = pinned(0, [process.execPath, file]);
  const kib = Array.from({ length: scaled(STARTS) }, () => Number(output(command, { cwd: app })));
  return (median(kib) * 1024) / 1e6;
}

build();
mkdirSync(join(app, "node_modules"), { recursive: true });
symlinkSync(built, join(app, "node_modules/bunix"));
const whole = program("whole.mjs", firstMessage("bunix"));
const part = program("part.mjs", firstMessage("bunix/socket"));
const bare = program("bare.mjs", BARE);
const empty = program("empty.mjs", "");
const bundled = bundle(whole, "bundle");
const bytecode = bundle(whole, "bytecode", ["--bytecode", "--format=cjs"]);

const work = 'import "bunix", first message through a pair';
const taken = await interleave({
  bunix: () => start(whole),
  "bunix/socket": () => start(part),
  "bunix, bundled": () => start(bundled),
  "bunix, bundled with bytecode": () => start(bytecode),
  "bare FFI calls": () => start(bare),
  "empty program": () => start(empty),
});
report({ work, unit: "ms", as: "difference" }, taken, [
  ["bunix", "empty program", 6],
  ["bunix/socket", "empty program"],
  ["bunix, bundled", "empty program"],
  ["bunix, bundled with bytecode", "empty program"],
  ["bare FFI calls", "empty program"],
]);

if (system === "linux") {
  const ours = program("whole-peak.mjs", firstMessage("bunix") + PEAK);
  const nothing = program("empty-peak.mjs", PEAK);
  const memory: Taken = await interleave({
    bunix: () => peak(ours),
    "empty program": () => peak(nothing),
  });
  report({ work, unit: "MB", as: "difference" }, memory, [["bunix", "empty program", 8]]);
}

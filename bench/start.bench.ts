// What importing the package costs a program: the built package, as it is published, and the first
// message through a pair, against an empty program. Then what of that is whose: one part of it
// imported, a bundle with what is used, that with bytecode, and the same message by bare FFI calls.

import { basename, join } from "node:path";
import { libcNames, system } from "../native/platform.ts";
import { darwin, linux, posix } from "../native/symbols.ts";
import { interleave, output, report, type Taken } from "./harness.ts";
import { app, build, printedBy, program, startOf } from "./package.ts";

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

/** One file with what `file` uses, and perhaps its bytecode beside it. */
function bundle(file: string, name: string, options: readonly string[] = []): string {
  const outdir = join(app, name);
  const flags = ["--target=bun", "--minify", ...options, "--outdir", outdir];
  output([process.execPath, "build", file, ...flags], { cwd: app });
  return join(outdir, basename(file).replace(/\.mjs$/, ".js"));
}

const start = (file: string): number => startOf([process.execPath, file]);

/** The median peak of some starts, in MB. */
const peak = (file: string): number => (printedBy(file) * 1024) / 1e6;

build();
const whole = program("whole.mjs", firstMessage("bunix"));
const part = program("part.mjs", firstMessage("bunix/socket"));
const bare = program("bare.mjs", BARE);
const empty = program("empty.mjs", "");
const bundled = bundle(whole, "bundle");
const BYTECODE = ["--bytecode", "--format=cjs"];
const bytecode = bundle(whole, "bytecode", BYTECODE);
const unread = bundle(part, "bytecode-part", BYTECODE);

const work = 'import "bunix", first message through a pair';
const taken = await interleave({
  bunix: () => start(whole),
  "bunix/socket": () => start(part),
  "bunix, bundled": () => start(bundled),
  "bunix, bundled with bytecode": () => start(bytecode),
  "bunix/socket, bundled with bytecode": () => start(unread),
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

/** As a part of an empty program's time, which says how fast the machine is. */
function beyond(): Taken {
  const { "bare FFI calls": bare = [], "empty program": empty = [] } = taken;
  const more = (name: string): number[] => (taken[name] ?? []).map((ms, i) => ms - bare[i]!);
  return {
    "bunix/socket beyond bare FFI calls": more("bunix/socket"),
    "the same with bytecode": more("bunix/socket, bundled with bytecode"),
    "empty program": empty,
  };
}
report({ work, unit: "ms" }, beyond(), [
  ["bunix/socket beyond bare FFI calls", "empty program", 0.48],
  ["the same with bytecode", "empty program"],
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

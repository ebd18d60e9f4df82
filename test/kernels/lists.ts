// Which test files run under other kernels.

const folders = (...names: string[]): string[] => names.map((name) => `test/${name}/`);
const files = (...names: string[]): string[] => names.map((name) => `test/${name}.test`);

/** What a kernel can make different; the rest is Bun's, libc's or takes minutes. */
const kernels = [
  ...files("abi/kernel", "abi/probe", "docs/kernels"),
  ...folders("structs", "syscalls", "loop", "cases", "api"),
  ...files("faults/sockets", "faults/processes", "interop/peers", "interop/fifo"),
];

/** What systemd makes different: it is PID 1 in there. */
const systemd = ["test/kernels/units/"];

/** Of these, what fits a few minutes. The first takes as long as all others together. */
const few = [
  "test/kernels/units/guide",
  ...files("abi/kernel", "docs/kernels"),
  ...files("cases/bind", "cases/connect", "cases/processes", "cases/batch"),
  ...files("api/credentials", "api/process", "api/older-kernels"),
];

/** The parts of file names that are asked for. A machine without systemd leaves its part out. */
export function listFor(short: boolean, withSystemd: boolean): string[] {
  const all = short ? few : [...systemd, ...kernels];
  return all.filter((name) => withSystemd || !name.startsWith("test/kernels/"));
}

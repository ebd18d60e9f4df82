// A virtual machine without KVM: what it is made of, and what it said.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";

export type Arch = "amd64" | "arm64";

export interface Machine {
  readonly arch: Arch;
  /** With vmlinuz, initrd, modules.img and `release`. */
  readonly kernel: string;
  /** An image of a root file system. */
  readonly disk: string;
  /** An image of this project, with job.sh. */
  readonly project: string;
  /** For what it says. */
  readonly folder: string;
  readonly seconds: string;
  readonly cpu: string;
  readonly processors: string;
}

export interface Said {
  /** All that the job said. */
  readonly text: string;
  readonly seconds: number;
  /** Of this machine's processors. */
  readonly cpuSeconds: number;
}

const project = resolve(import.meta.dir, "../..");

function must(what: string, command: readonly string[]): void {
  const [name = "", ...args] = command;
  const { status, stderr } = spawnSync(name, args, { stdio: ["ignore", "ignore", "pipe"] });
  if (status !== 0) throw new Error(`${what}: ${stderr}`);
}

const leftOut = ["./.git", "./dist", "./site", "./node_modules/.cache"];
const packages = ["@biomejs", "@typescript", "@arethetypeswrong", "esbuild", "@esbuild", "typedoc"];

/** This project as a file system of its own, with a Bun and the program that the guest runs. */
export function projectImage(folder: string, bun: string, job: string): string {
  const tree = join(folder, "project");
  mkdirSync(tree, { recursive: true });
  const without = [...leftOut, ...packages.map((name) => `./node_modules/${name}`)];
  const options = without.map((path) => `--exclude=${path}`);
  const copy = `tar -C "$1" ${options.join(" ")} -cf - . | tar -C "$2" -xf -`;
  must("copying the project", ["bash", "-c", copy, "copy", project, tree]);
  must("copying Bun", ["cp", "-f", bun, join(tree, "node_modules/bun/bin/bun.exe")]);
  writeFileSync(join(tree, "job.sh"), job);
  const image = join(folder, "project.img");
  rmSync(image, { force: true });
  must("making an image", ["mke2fs", "-q", "-t", "ext4", "-d", tree, image, "2G"]);
  rmSync(tree, { recursive: true });
  return image;
}

const COMMON = [
  ...["-m", "3072", "-accel", "tcg,thread=multi,tb-size=1024", "-display", "none", "-no-reboot"],
  ...["-nodefaults", "-monitor", "none", "-device", "virtio-rng-pci"],
];
const APPEND = [
  ...["quiet", "panic=-1", "net.ifnames=0", "mitigations=off"],
  ...["systemd.show_status=0", "systemd.default_timeout_start_sec=900"], // it is slow
];

const drive = (id: string, file: string, how: string): string[] => [
  ...["-drive", `file=${file},format=raw,if=none,id=${id},${how}`],
  ...["-device", `virtio-blk-pci,drive=${id}`],
];

interface Board {
  readonly program: string;
  readonly name: string;
  /** The kernel's own console, and what else it is told. */
  readonly line: string;
  /** Where what the job says goes. */
  readonly second: (log: string) => string[];
}

const boards: Readonly<Record<Arch, Board>> = {
  amd64: {
    // a timer that is looked at on a busy machine does not seem to tick
    ...{ program: "qemu-system-x86_64", name: "q35", line: "ttyS0 no_timer_check" },
    second: (log) => ["-serial", `file:${log}`],
  },
  arm64: {
    ...{ program: "qemu-system-aarch64", name: "virt", line: "ttyAMA0" },
    second: (log) => [
      ...["-device", "virtio-serial-pci", "-chardev", `file,id=l,path=${log}`],
      ...["-device", "virtconsole,chardev=l"],
    ],
  },
};

function command(machine: Machine, consoleFile: string, log: string): string[] {
  const { arch, kernel, disk, project, seconds, cpu, processors } = machine;
  const { program, name, line, second } = boards[arch];
  return [
    ...["timeout", seconds, program, "-M", name, "-cpu", cpu, "-smp", processors, ...COMMON],
    ...["-kernel", join(kernel, "vmlinuz"), "-initrd", join(kernel, "initrd")],
    ...["-append", [...APPEND, `console=${line}`].join(" ")],
    ...drive("a", disk, "snapshot=on,cache=unsafe"),
    ...drive("b", join(kernel, "modules.img"), "readonly=on"),
    ...drive("c", project, "snapshot=on,cache=unsafe"),
    ...["-serial", `file:${consoleFile}`, ...second(log)],
  ];
}

let stop = (): void => {};

/** End the machine that runs. */
export const stopMachine = (): void => stop();

/** Boot, print what the job says while it says it; the machine ends by itself, or is ended. */
export async function boot(machine: Machine): Promise<Said> {
  const [consoleFile = "", log = ""] = ["console", "log"].map((name) => join(machine.folder, name));
  return await watched(command(machine, consoleFile, log), log, consoleFile);
}

export interface Container extends Pick<Machine, "disk" | "folder" | "seconds"> {
  /** What job.sh is. */
  readonly job: string;
}

/** The same root and job on this machine's own kernel. */
export async function contain({ disk, folder, seconds, job }: Container): Promise<Said> {
  const [consoleFile = "", log = "", jobFile = ""] = ["console", "log", "job.sh"].map((name) =>
    join(folder, name),
  );
  writeFileSync(jobFile, job);
  const script = join(import.meta.dir, "container.sh");
  const own = ["unshare", "--mount", "--propagation", "private", "bash", script];
  const args = ["timeout", seconds, ...own, disk, jobFile, log];
  return await watched(args, log, consoleFile);
}

/** Run it to its end; what it says itself goes to `consoleFile`, what its job says to `log`. */
async function watched(args: string[], log: string, consoleFile: string): Promise<Said> {
  for (const file of [consoleFile, log]) rmSync(file, { force: true });
  const begin = performance.now();
  const child = Bun.spawn(args, {
    stdio: ["ignore", args.includes("-serial") ? "ignore" : Bun.file(consoleFile), "inherit"],
  });
  stop = () => child.kill("SIGTERM");
  const followed = follow(log, child.exited);
  await child.exited;
  await followed;
  stop = () => {};
  const text = said(log);
  if (text === "") console.log(said(consoleFile));
  const cpuSeconds = Number(child.resourceUsage()?.cpuTime.total ?? 0) / 1e6;
  return { text, seconds: (performance.now() - begin) / 1_000, cpuSeconds };
}

const said = (file: string): string =>
  existsSync(file) ? readFileSync(file, "utf8").replaceAll("\r", "") : "";

const LOOK_MS = 2_000;

/** Print what comes, whole lines, while it comes. */
async function follow(log: string, until: Promise<unknown>): Promise<void> {
  let [shown, ended] = [0, false];
  void until.then(() => (ended = true));
  for (;;) {
    const last = ended;
    const text = said(log);
    const end = last ? text.length : text.lastIndexOf("\n") + 1;
    if (end > shown) process.stdout.write(text.slice(shown, end));
    shown = Math.max(shown, end);
    if (last) return;
    await Promise.race([Bun.sleep(LOOK_MS), until]);
  }
}

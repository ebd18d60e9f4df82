// BUNIX_DEBUG against strace itself: the same calls, with the same results, in the same order; and
// without the variable libc's functions are libc's.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { errno } from "../../native/errno.ts";
import { isMusl } from "../../src/syscalls/libc.ts";
import { Memory } from "../../src/syscalls/memory.ts";
import { groups, tracedCalls } from "../../src/syscalls/trace/calls.ts";
import { trace, wantedGroups } from "../../src/syscalls/trace/trace.ts";
import { type Outcome, root, run, runSource, succeeded } from "../support/child.ts";
import { missing } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { foreignCompiler, testUnless } from "../support/unless.ts";

const program = join(root, "test/fixtures/traced.ts");
const ON = { BUNIX_DEBUG: "1" };

/** One call as both write it. */
interface Line {
  readonly name: string;
  /** Its first argument, where that is a descriptor. */
  readonly fd: string;
  readonly result: string;
  /** Constants and descriptors by name: what is in capitals. */
  readonly constants: readonly string[];
}

/** libc's function and the kernel's call, where their names differ. */
const kernelNames: Readonly<Record<string, string>> = {
  eventfd: "eventfd2",
  mq_getattr: "mq_getsetattr",
  open: "openat",
  recv: "recvfrom",
  send: "sendto",
};

const kernelName = (name: string): string => kernelNames[name] ?? name;

function lineOf(text: string): Line | null {
  const found = /^(\w+)\((.*)\)\s+= (-?\w+)(?: (E[A-Z0-9]+))?/.exec(text);
  if (found === null) return null;
  const [, name = "", args = "", value = "", error] = found;
  const quoted = /"(?:[^"\\]|\\.)*"/g;
  const constants = args.replaceAll(quoted, "").match(/\b[A-Z][A-Z0-9]*_[A-Z0-9_]+\b/g) ?? [];
  return {
    name: kernelName(name),
    fd: /^(\d+),/.exec(args)?.[1] ?? "",
    result: error ?? String(Number(value)),
    constants,
  };
}

/** The lines from the first mark to the second. */
function between(lines: readonly string[]): string[] {
  const isMark = (line: string): boolean => /^kill\(\d+, 0\)\s+= 0$/.test(line);
  const first = lines.findIndex(isMark);
  const last = lines.findLastIndex(isMark);
  expect([first >= 0, last > first]).toEqual([true, true]);
  return lines.slice(first, last + 1);
}

const traceable = new Set([
  ...Object.keys(tracedCalls()).map(kernelName),
  "ioctl",
  "mmap",
  "statx",
]);

/** musl sets the flag once more, for kernels that do not know F_DUPFD_CLOEXEC. */
const muslOwn = /^fcntl\(\d+, F_SETFD, FD_CLOEXEC\)/;

/** Not what Bun does there for itself: other calls, memory of its own, and our lines on fd 2. */
function isProgram(line: string): boolean {
  const name = /^\w+/.exec(line)?.[0] ?? "";
  if (!traceable.has(name) || /^write\(2,|^mmap\(.*, -1, 0\)/.test(line)) return false;
  if (isMusl() && muslOwn.test(line)) return false;
  return name !== "munmap" && name !== "sched_yield";
}

/** Bun looks how much memory it has when it collects: openat, fstat, read, close. */
const withoutLooks = (lines: readonly string[]): string[] =>
  lines.filter(
    (_, i) => ![0, 1, 2, 3].some((back) => lines[i - back]?.includes("/proc/self/statm")),
  );

const ours = (stderr: string): string[] =>
  stderr
    .split("\n")
    .filter((line) => line.startsWith("[bunix "))
    .map((line) => line.replace(/^\[bunix [^\]]*\] /, ""));

testUnless(
  foreignCompiler() ?? missing(["strace"]),
  "strace sees the same calls, results and order, and each constant that is named",
  async () => {
    using dir = tempDir();
    const output = dir.file("strace");
    const command = ["strace", "-o", output, "-s", "200", process.execPath, program, dir.path];
    const outcome = await run(command, { env: ON });
    succeeded(outcome);
    const all = between(readFileSync(output, "utf8").split("\n"));
    const theirs = withoutLooks(all).filter(isProgram);
    const said = between(ours(outcome.stderr));
    const [a, b] = [said.map(lineOf), theirs.map(lineOf)];
    const plain = (line: Line | null): unknown => line && [line.name, line.fd, line.result];
    expect(a.map(plain)).toEqual(b.map(plain));
    expect(a.length).toBeGreaterThan(50);
    for (const [i, line] of a.entries()) {
      const known = b[i]?.constants.map((name) => name.replace("SO_TIMESTAMP_OLD", "SO_TIMESTAMP"));
      for (const name of line?.constants ?? []) expect(known, said[i]).toContain(name);
    }
    expect(said.join("\n")).toContain(`{AF_UNIX, "${dir.path}/none"}`);
  },
  60_000,
);

const SENDS = `
import { socketPair } from "@/src/index.ts";
const [a, b] = socketPair("stream");
a.sendSync("a line", { fds: [0] });
const message = b.receiveSync();
console.log(message.text(), message.fds.length);
message.close();
try { a.sendSync("x", { fds: [999999] }); } catch (error) { console.log(error.code, error.errno); }
`;

const stampedLine = /^\[bunix \d+\.\d{6}( thread \d+)?\] \w+\(.*\) = .+$/;

/** Every line is one call, and what the program says is the same as without. */
async function traced(source: string, env: Record<string, string>): Promise<Outcome> {
  const outcome = await runSource(source, { env });
  const quiet = await runSource(source, { env: { BUNIX_DEBUG: undefined } });
  expect(succeeded(outcome)).toBe(succeeded(quiet));
  expect(quiet.stderr).toBe("");
  for (const line of outcome.stderr.trimEnd().split("\n")) expect(line).toMatch(stampedLine);
  return outcome;
}

describe("what it says", () => {
  test("descriptors, flags, errors by name; the caller still gets the errno", async () => {
    const { stdout, stderr } = await traced(SENDS, ON);
    expect(stdout).toBe(`a line 1\nEBADF ${-errno.EBADF}\n`);
    const flags = "MSG_DONTWAIT\\|MSG_NOSIGNAL";
    const sends = new RegExp(
      `sendmsg\\(\\d+, \\{iov 1×6 bytes, control 24 bytes: SCM_RIGHTS \\[0\\]\\}, ${flags}\\) = 6`,
    );
    expect(stderr).toMatch(sends);
    expect(stderr).toMatch(/SCM_RIGHTS \[999999\]\}.* = -1 EBADF \(bad file descriptor\)/);
  });

  test("a group of calls: only those", async () => {
    const { stderr } = await traced(SENDS, { BUNIX_DEBUG: "socket" });
    const names = ours(stderr).map((line) => /^\w+/.exec(line)?.[0]);
    expect(names).toContain("socketpair");
    for (const name of ["sendmsg", "recvmsg", "close"]) expect(names).not.toContain(name);
  });

  test("in a Worker, with the thread; waiting too", async () => {
    const { stderr } = await traced(
      `import { socketPair } from "@/src/index.ts";
      const [a, b] = socketPair("stream");
      if (Bun.isMainThread) {
        const worker = new Worker(import.meta.path);
        await new Promise((resolve) => { worker.onmessage = resolve; });
        await worker.terminate();
        a.close();
        b.close();
      } else {
        const coming = b.receive();
        await a.send("x");
        await coming;
        postMessage("done");
      }`,
      ON,
    );
    expect(stderr).toMatch(/^\[bunix [\d.]+ thread \d+\] epoll_ctl\(\d+, EPOLL_CTL_ADD, /m);
    expect(stderr).toMatch(/^\[bunix [\d.]+ thread \d+\] recvmsg\(/m);
    expect(stderr).toMatch(/^\[bunix [\d.]+\] socketpair\(AF_UNIX, /m);
  });

  test("a bad address is not looked at", async () => {
    const { stdout, stderr } = await traced(
      `import { libc, lastError } from "@/src/syscalls/libc.ts";
      console.log(libc.bind(0, 16, 12), libc.open(16, 0, 0), lastError.read());`,
      ON,
    );
    expect(stdout).toBe(`-1 -1 ${errno.EFAULT}\n`);
    expect(stderr).toContain("open(0x10, ");
  });

  test("standard error is non-blocking and full: it waits, and no line is lost", async () => {
    const { stdout, stderr } = await runSource(
      `import { setNonBlocking } from "@/src/syscalls/fd.ts";
      setNonBlocking(2, true);
      for (let i = 0; i < 5000; i++) setNonBlocking(2, true);
      console.log("done");`,
      { env: ON },
    );
    expect(stdout).toBe("done\n");
    const asked = ours(stderr).filter((line) => line.startsWith("fcntl(2, F_GETFL, 0) = "));
    expect(asked.length).toBe(5002);
  });

  test("standard error is closed: the program runs all the same, with its own errno", async () => {
    const { stdout } = await runSource(
      `import { close, open, statusFlags } from "@/src/syscalls/fd.ts";
      import { pidfdOpen } from "@/src/syscalls/process.ts";
      close(2); // closeSync leaves it open in Bun 1.3
      console.log(statusFlags(2), statusFlags(1) >= 0, open("/none/x", 0), pidfdOpen(-1));`,
      { env: ON },
    );
    expect(stdout).toBe(`${-errno.EBADF} true ${-errno.ENOENT} ${-errno.EINVAL}\n`);
  });
});

describe("off", () => {
  test("libc's functions are the ones that dlopen gave", async () => {
    const source = `
      import { libc } from "@/src/syscalls/libc.ts";
      const { recvmsg, getpeername, syscall } = libc;
      console.log([recvmsg, getpeername, syscall].every((call) => call.native !== undefined));`;
    for (const [variable, plain] of [
      [undefined, "true"],
      ["", "true"],
      ["0", "true"],
      ["1", "false"],
    ] as const) {
      const { stdout } = await runSource(source, { env: { BUNIX_DEBUG: variable } });
      expect([variable, stdout.trim()]).toEqual([variable, plain]);
    }
  });

  test("which groups a value asks for", () => {
    expect(wantedGroups(undefined)).toBeNull();
    expect(wantedGroups("0")).toBeNull();
    expect([...(wantedGroups("poll, socket") ?? [])].sort()).toEqual(["poll", "socket"]);
    for (const all of ["1", "all", "nonsense"]) {
      expect([...(wantedGroups(all) ?? [])]).toEqual([...groups]);
    }
  });

  test("calls that are not asked for stay as they are", () => {
    const calls = { socket: () => 3, close: () => 0, malloc: () => 8 };
    const before = { ...calls };
    trace(calls, new Memory(8).address, new Set(["poll"]));
    expect(calls).toEqual(before);
    trace(calls, new Memory(8).address, new Set(["fd"]));
    expect(calls.close).not.toBe(before.close);
    expect([calls.socket, calls.malloc]).toEqual([before.socket, before.malloc]);
  });
});

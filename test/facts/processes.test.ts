// What service managers' restrictions do to a process of Bun's.

import { expect } from "bun:test";
import { run } from "../support/child.ts";
import { fact } from "../support/facts.ts";
import { missing } from "../support/peers.ts";
import { noMemoryRestriction, withoutExecutableMemory } from "../support/sandbox.ts";

const PROGRAM = `
try {
  require("bun:ffi").dlopen(process.argv[1], { getpid: { args: [], returns: "i32" } });
  console.log("opened");
} catch (error) {
  console.log(error.message);
}`;

const bun = [process.execPath, "-e", PROGRAM, "libc.so.6"];

/** Whose FFI fails in its compiler, with other words. */
const older = Bun.semver.satisfies(Bun.version, "<1.4.0");

fact(
  "ffi-needs-the-jit",
  "without executable memory Bun runs, and opens no library",
  async () => {
    const { code, stdout } = await run(withoutExecutableMemory(bun));
    expect([code, stdout.includes("opened")]).toEqual([0, false]);
    if (!older) expect(stdout).toContain("requires the JIT");
  },
  await noMemoryRestriction(),
);

fact(
  "getfd-may-kill",
  "systemd's @system-service and pidfd_getfd",
  async () => {
    const { stdout } = await run(["systemd-analyze", "syscall-filter", "@system-service"]);
    expect(stdout).toContain("@system-service");
    expect(stdout).not.toContain("pidfd_getfd");
  },
  missing(["systemd-analyze"]),
);

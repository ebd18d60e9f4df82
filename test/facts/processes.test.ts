// What service managers' restrictions do to a process of Bun's.

import { expect } from "bun:test";
import { run } from "../support/child.ts";
import { fact } from "../support/facts.ts";
import { missing } from "../support/peers.ts";
import { noCompiledPrograms } from "../support/unless.ts";

const PROGRAM = `
try {
  require("bun:ffi").dlopen(process.argv[1], { getpid: { args: [], returns: "i32" } });
  console.log("opened");
} catch (error) {
  console.log(error.message);
}`;

/** prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN), then the command. */
const RESTRICTED = `import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(65, 1, 0, 0, 0) != 0:
    print("prctl:", os.strerror(ctypes.get_errno()))
    sys.exit(3)
os.execv(sys.argv[1], sys.argv[1:])`;

const bun = [process.execPath, "-e", PROGRAM, "libc.so.6"];

/** Whose FFI fails in its compiler, with other words. */
const older = Bun.semver.satisfies(Bun.version, "<1.4.0");

/** Why a process cannot be restricted so; null where it can. */
async function noRestriction(): Promise<string | null> {
  const lacking = missing(["python3"]) ?? noCompiledPrograms();
  if (lacking !== null) return lacking;
  const { code, stdout } = await run(["python3", "-c", RESTRICTED, "/bin/true"]);
  return code === 0 ? null : `PR_SET_MDWE (Linux 6.3): ${stdout.trim()}`;
}

fact(
  "ffi-needs-the-jit",
  "without executable memory Bun runs, and opens no library",
  async () => {
    const { code, stdout } = await run(["python3", "-c", RESTRICTED, ...bun]);
    expect([code, stdout.includes("opened")]).toEqual([0, false]);
    if (!older) expect(stdout).toContain("requires the JIT");
  },
  await noRestriction(),
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

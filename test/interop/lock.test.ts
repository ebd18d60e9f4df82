// Locks together with programs that are not ours: flock(1), Python and Go keep us out and are kept
// out, and lockf's record locks, which are others, are not.

import { describe, expect } from "bun:test";
import { type FileLock, lockFile, lockHolders, tryLockFile } from "../../src/lock.ts";
import { failure } from "../api/tools.ts";
import { type Child, run, start } from "../support/child.ts";
import { buildGo, peerTest } from "../support/peers.ts";
import { type TempDir, tempDir } from "../support/tmp.ts";

const PYTHON = `import fcntl, sys
how, path = sys.argv[1:]
f = open(path, "a+")
ways = {"sh": fcntl.LOCK_SH, "ex": fcntl.LOCK_EX, "try": fcntl.LOCK_EX | fcntl.LOCK_NB}
if how == "lockf":
    fcntl.lockf(f, fcntl.LOCK_EX)
else:
    try:
        fcntl.flock(f, ways[how])
    except BlockingIOError:
        print("busy")
        sys.exit()
print("held", flush=True)
if how != "try":
    sys.stdin.read()
`;
const SHELL = "echo held; exec cat";

interface Program {
  readonly needs: string;
  /** Hold it until the input ends ("ex", "sh"), or try to take it ("try"): "held" or "busy". */
  readonly command: (how: "ex" | "sh" | "try", path: string) => string[];
}

const programs: Readonly<Record<string, Program>> = {
  "flock(1)": {
    needs: "flock",
    command: (how, path) =>
      how === "try"
        ? ["sh", "-c", `flock -n "$0" echo held || echo busy`, path]
        : ["flock", "-F", how === "ex" ? "-x" : "-s", path, "sh", "-c", SHELL],
  },
  "Python's fcntl.flock": {
    needs: "python3",
    command: (how, path) => ["python3", "-c", PYTHON, how, path],
  },
  "Go's syscall.Flock": {
    needs: "go",
    command: (how, path) => [buildGo("test/fixtures/lock-peer.go"), how, path],
  },
};

async function holding(command: string[]): Promise<Child> {
  const child = start(command);
  await child.lineWith("held");
  return child;
}

const take = (dir: TempDir, shared = false): FileLock | null =>
  tryLockFile(dir.file("lock"), { shared });

for (const [name, { needs, command }] of Object.entries(programs)) {
  describe(name, () => {
    peerTest("keeps us out, is named, and lets us in when it ends", [needs], async () => {
      using dir = tempDir();
      const path = dir.file("lock");
      await using child = await holding(command("ex", path));
      expect([take(dir), take(dir, true)]).toEqual([null, null]);
      expect(lockHolders(path)).toMatchObject([{ pid: child.pid, shared: false, since: null }]);
      const late = await failure(() => lockFile(path, { timeoutMs: 0 }));
      expect(late.message).toContain(`process ${child.pid} (`);
      const waits = lockFile(path);
      child.endInput();
      (await waits).release();
    });

    peerTest("shares with us, and keeps a writer out", [needs], async () => {
      using dir = tempDir();
      const path = dir.file("lock");
      await using child = await holding(command("sh", path));
      expect(take(dir)).toBeNull();
      using lock = take(dir, true)!;
      const pids = lock.holders.map(({ pid, shared }) => [pid, shared]);
      expect(pids.sort()).toEqual([child.pid, process.pid].sort().map((pid) => [pid, true]));
      expect((await run(command("try", path))).stdout).toBe("busy\n");
    });

    peerTest("is kept out by us", [needs], async () => {
      using dir = tempDir();
      const path = dir.file("lock");
      const lock = take(dir)!;
      expect((await run(command("try", path))).stdout).toBe("busy\n");
      lock.release();
      expect((await run(command("try", path))).stdout).toBe("held\n");
    });
  });
}

peerTest("record locks (lockf) are other locks", ["python3"], async () => {
  using dir = tempDir();
  await using _child = await holding(["python3", "-c", PYTHON, "lockf", dir.file("lock")]);
  expect(lockHolders(dir.file("lock"))).toEqual([]);
  take(dir)!.release();
});

// Locks on files: who gets one, who waits, and what lets go of it.

import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { lockFile, lockFileSync, lockHolders, tryLockFile } from "../../src/lock.ts";
import { ownCommand } from "../cli/tools.ts";
import {
  type Child,
  fewer,
  run,
  runSource,
  startScript,
  succeeded,
  writeSource,
} from "../support/child.ts";
import { type TempDir, tempDir } from "../support/tmp.ts";
import { lacking, testUnless } from "../support/unless.ts";
import { failure, leakFree, thrown } from "./tools.ts";

/** A child that has the lock, and says so. */
async function holder(dir: TempDir, options = "{}", then = ""): Promise<Child> {
  const program = `import { lockFile } from "@/src/lock.ts";
globalThis.kept = await lockFile(${JSON.stringify(dir.file("lock"))}, ${options});
${then}
console.log("held");
setInterval(() => {}, 1000);`;
  const child = startScript(writeSource(dir, program, "holder.ts"));
  await child.lineWith("held");
  return child;
}

/** Why nobody tells who has a lock; null where /proc/locks does. */
const unnamed = lacking("lockHolders");

describe("one at a time", () => {
  test("another call of this process does not get it, and the holder is named", async () => {
    await leakFree(() => {
      using dir = tempDir();
      const path = dir.file("lock");
      const lock = tryLockFile(path)!;
      expect([lock.path, lock.shared, lock.closed]).toEqual([path, false, false]);
      expect(tryLockFile(path)).toBeNull();
      expect(tryLockFile(path, { shared: true })).toBeNull();
      const one = { pid: process.pid, command: ownCommand, shared: false, since: expect.any(Date) };
      expect(lock.holders).toEqual([one]);
      if (unnamed === null) expect(lockHolders(path)).toEqual([one]);
      lock.release();
      lock.close();
      expect([lock.fd, lock.closed, lock.holders]).toEqual([-1, true, []]);
      if (unnamed === null) expect(lockHolders(path)).toEqual([]);
      using again = tryLockFile(path)!;
      expect(again.closed).toBe(false);
    });
  });

  test("shared ones go together, and keep an exclusive one out", () => {
    using dir = tempDir();
    const path = dir.file("lock");
    const [first, second] = [
      tryLockFile(path, { shared: true })!,
      tryLockFile(path, { shared: true })!,
    ];
    expect(tryLockFile(path)).toBeNull();
    const one = { pid: process.pid, command: ownCommand, shared: true, since: null };
    expect(second.holders).toEqual(unnamed === null ? [one] : []); // both of this process
    expect(readFileSync(path, "utf8")).toBe("");
    first.release();
    expect(tryLockFile(path)).toBeNull();
    second.release();
    tryLockFile(path)!.release();
  });

  test("several processes that add to a number lose none", async () => {
    using dir = tempDir();
    writeFileSync(dir.file("sum"), "0");
    const [processes, each] = [4, fewer(10)];
    const program = (lock: string): string => `
import { lockFile, lockFileSync } from "@/src/lock.ts";
import { readFileSync, writeFileSync } from "node:fs";
for (let i = 0; i < ${each}; i++) {
  using lock = ${lock};
  writeFileSync("sum", String(Number(readFileSync("sum", "utf8")) + 1));
}`;
    const ways = ['await lockFile("lock")', 'lockFileSync("lock")'];
    ways.push('await lockFile("lock", { unlinkOnRelease: true })');
    const scripts = ways.map((way, i) => writeSource(dir, program(way), `${i}.ts`));
    const all = Array.from({ length: processes }, (_, i) =>
      run([process.execPath, scripts[i % scripts.length]!], { cwd: dir.path }),
    );
    for (const outcome of await Promise.all(all)) succeeded(outcome);
    expect(readFileSync(dir.file("sum"), "utf8")).toBe(String(processes * each));
  });
});

describe("waiting", () => {
  test("the thread is not blocked; it is there when the other releases it", async () => {
    using dir = tempDir();
    const path = dir.file("lock");
    const { sleepSync } = Bun;
    Bun.sleepSync = () => {
      throw new Error("it slept");
    };
    try {
      const first = await lockFile(path);
      const order: string[] = [];
      const waits = lockFile(path).then((lock) => {
        order.push("second");
        return lock;
      });
      await new Promise((resolve) => setTimeout(resolve, 5));
      order.push("first");
      first.release();
      (await waits).release();
      expect(order).toEqual(["first", "second"]);
    } finally {
      Bun.sleepSync = sleepSync;
    }
  });

  test("a signal ends it, before or while it waits", async () => {
    await leakFree(async () => {
      using dir = tempDir();
      const path = dir.file("lock");
      using _lock = await lockFile(path);
      const stop = new AbortController();
      const waits = thrown(() => lockFile(path, { signal: stop.signal }));
      stop.abort("enough");
      expect(await waits).toBe("enough");
      const never = dir.file("never");
      expect(await thrown(() => lockFile(never, { signal: stop.signal }))).toBe("enough");
      expect(existsSync(never)).toBe(false);
    });
  });

  test("a time limit ends it, and says who has it since when", async () => {
    using dir = tempDir();
    const path = dir.file("lock");
    await using child = await holder(dir);
    const command = readFileSync(`/proc/${child.pid}/comm`, "utf8").trim();
    const calls = [
      () => lockFile(path, { timeoutMs: 20 }),
      () => lockFileSync(path, { timeoutMs: 20 }),
      () => lockFile(path, { timeoutMs: 0, shared: true }),
    ];
    for (const call of calls) {
      const error = await failure(call);
      expect([error.code, error.syscall, error.path]).toEqual(["ETIMEDOUT", "flock", path]);
      if (unnamed === null) {
        expect(error.message).toContain(`process ${child.pid} (${command}) since 20`);
      }
    }
    if (unnamed !== null) return;
    const [who] = lockHolders(path);
    expect(who).toMatchObject({ pid: child.pid, command, shared: false });
  });

  test("blocking, it waits until another process releases it", async () => {
    using dir = tempDir();
    const program = `import { lockFileSync } from "@/src/lock.ts";
const sleep = Bun.sleepSync;
let said = false;
Bun.sleepSync = (ms) => { if (!said) console.log("waiting"); said = true; sleep(ms); };
lockFileSync(${JSON.stringify(dir.file("lock"))}).release();
console.log("done");`;
    using lock = tryLockFile(dir.file("lock"))!;
    await using child = startScript(writeSource(dir, program));
    await child.lineWith("waiting");
    lock.release();
    await child.lineWith("done");
  });

  test("blocking for a lock that this very thread has is EDEADLK at once", async () => {
    using dir = tempDir();
    const path = dir.file("lock");
    using _lock = lockFileSync(path);
    for (const options of [{}, { shared: true }, { timeoutMs: 60_000 }]) {
      const { code, message } = await failure(() => lockFileSync(path, options));
      expect([code, message.includes("this thread has the lock itself")]).toEqual([
        "EDEADLK",
        true,
      ]);
    }
  });
});

describe("it goes with its holder", () => {
  for (const signal of ["SIGKILL", "SIGTERM"] as const) {
    test(`a process that ${signal} ends`, async () => {
      using dir = tempDir();
      await using child = await holder(dir, "{ unlinkOnRelease: true }");
      child.kill(signal);
      await child.exited;
      using lock = tryLockFile(dir.file("lock"));
      expect(lock?.holders.map(({ pid }) => pid)).toEqual([process.pid]);
      expect(readFileSync(dir.file("lock"), "utf8")).toBe(`${process.pid}\n`);
    });
  }

  test("a process that exits: the file is emptied, or removed", async () => {
    for (const [options, left] of [
      ["{}", ""],
      ["{ unlinkOnRelease: true }", null],
    ] as const) {
      using dir = tempDir();
      await using child = await holder(dir, options, "setTimeout(() => process.exit(), 20);");
      expect((await child.exited).code).toBe(0);
      const path = dir.file("lock");
      expect(existsSync(path) ? readFileSync(path, "utf8") : null).toBe(left);
    }
  });

  test("children do not have it", async () => {
    using dir = tempDir();
    const then = `Bun.spawn(["sleep", "60"], { stdio: ["ignore", "ignore", "ignore"] });`;
    await using child = await holder(dir, "{}", then);
    child.kill("SIGKILL");
    await child.exited;
    tryLockFile(dir.file("lock"))!.release();
  });

  testUnless(lacking("workerTeardown"), "a Worker that is terminated", async () => {
    using dir = tempDir();
    const path = JSON.stringify(dir.file("lock"));
    const program = `import { tryLockFile } from "@/src/lock.ts";
if (Bun.isMainThread) {
  const worker = new Worker(import.meta.path);
  await new Promise((done) => { worker.onmessage = done; });
  console.log(tryLockFile(${path}));
  worker.terminate();
  await new Promise((done) => { worker.addEventListener("close", done); });
  let lock = null;
  while ((lock = tryLockFile(${path})) === null) await Bun.sleep(5);
  console.log(lock.closed);
  process.exit();
} else {
  globalThis.lock = tryLockFile(${path});
  setInterval(() => {}, 1000);
  postMessage("held");
}`;
    expect(succeeded(await runSource(program))).toBe("null\nfalse\n");
  });

  test("a forgotten one is released when it is collected, with a warning", async () => {
    using dir = tempDir();
    const path = JSON.stringify(dir.file("lock"));
    const program = `import { tryLockFile } from "@/src/lock.ts";
process.on("warning", ({ code, message }) => console.log(code, message.includes("tryLockFile")));
(() => { tryLockFile(${path}); })();
for (;;) {
  await Bun.sleep(10);
  Bun.gc(true);
  const lock = tryLockFile(${path});
  if (lock !== null) { lock.release(); break; }
}`;
    expect(succeeded(await runSource(program))).toContain("BUNIX_FORGOTTEN_FD true");
  });
});

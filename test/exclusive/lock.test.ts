// The two locks: a moment's on the directory, a lifetime's on a lock file.

import { describe, expect, test } from "bun:test";
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { listen } from "../../src/index.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { codeOf, eventually, failure, withLibc } from "../api/tools.ts";
import { ownCommand } from "../cli/tools.ts";
import { type Child, start, startScript, writeSource } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { setMode, type TempDir, tempDir } from "../support/tmp.ts";
import { leaveStale, open, startServer, types, visit } from "./crew.ts";

describe("lockFile", () => {
  test("has the pid in it, is its owner's alone, and goes with the socket", () => {
    for (const type of types) {
      using dir = tempDir();
      const lockFile = dir.file("lock");
      const server = open(dir.file("s"), type, { lockFile });
      expect(readFileSync(lockFile, "utf8")).toBe(`${process.pid}\n`);
      expect(lstatSync(lockFile).mode & 0o7777).toBe(0o600);
      server.close();
      expect(readdirSync(dir.path)).toEqual([]);
    }
  });

  test("for an abstract name, and with exclusive: false, too", async () => {
    using dir = tempDir();
    const lockFile = dir.file("lock");
    for (const [address, options] of [
      [`@bunix-lock-${process.pid}`, {}],
      [dir.file("s"), { exclusive: false }],
    ] as const) {
      const server = listen(address, { ...options, lockFile });
      expect(await codeOf(() => listen(dir.file("other"), { lockFile }))).toBe("EADDRINUSE");
      server.close();
      expect(readdirSync(dir.path)).toEqual([]);
    }
  });

  test("a second starter is told who has it, whatever its address", async () => {
    using dir = tempDir();
    const lockFile = dir.file("lock");
    await using child = startServer(dir.file("s"), { lockFile });
    await child.lineWith("listening");
    for (const name of ["s", "other"]) {
      const error = await failure(() => listen(dir.file(name), { lockFile }));
      expect([error.code, error.path]).toEqual(["EADDRINUSE", dir.file(name)]);
      expect(error.message).toContain(`process ${child.pid} (${ownCommand}`);
      expect(error.message).toContain(lockFile);
    }
    expect(readdirSync(dir.path).sort()).toEqual(["lock", "s"]);
    expect(readFileSync(lockFile, "utf8")).toBe(`${child.pid}\n`);
  });

  test("left by SIGKILL it is retaken, and so is the socket", async () => {
    using dir = tempDir();
    const lockFile = dir.file("lock");
    await using child = startServer(dir.file("s"), { lockFile });
    await child.lineWith("listening");
    child.kill("SIGKILL");
    await child.exited;
    expect(readdirSync(dir.path).sort()).toEqual(["lock", "s"]);
    using server = listen(dir.file("s"), { lockFile });
    expect(readFileSync(lockFile, "utf8")).toBe(`${process.pid}\n`);
    expect(visit(dir.file("s"), "stream")).toBe(process.pid);
    server.close();
    expect(readdirSync(dir.path)).toEqual([]);
  });

  test("links, and what is no plain file of this name only, are left alone", async () => {
    using dir = tempDir();
    const lockFile = dir.file("lock");
    const attempt = (): unknown => listen(dir.file("s"), { lockFile });
    writeFileSync(dir.file("precious"), "precious");
    const cases: Readonly<Record<string, [code: string, make: () => unknown]>> = {
      "a symbolic link": ["ELOOP", () => symlinkSync("precious", lockFile)],
      "a link to nowhere": ["ELOOP", () => symlinkSync("nowhere", lockFile)],
      "a second name": ["EINVAL", () => linkSync(dir.file("precious"), lockFile)],
      "a FIFO": ["EINVAL", () => Bun.spawnSync(["mkfifo", lockFile])],
      "a directory": ["EISDIR", () => mkdirSync(lockFile)],
      "a socket": ["ENXIO", () => leaveStale(lockFile)],
    };
    for (const [name, [code, make]] of Object.entries(cases)) {
      make();
      expect([name, await codeOf(attempt)]).toEqual([name, code]);
      expect(existsSync(dir.file("nowhere"))).toBe(false);
      expect(readFileSync(dir.file("precious"), "utf8")).toBe("precious");
      Bun.spawnSync(["rm", "-r", lockFile]);
    }
    expect(readdirSync(dir.path)).toEqual(["precious"]);
  });

  test("a start that fails for another reason lets go of it", async () => {
    using dir = tempDir();
    const lockFile = dir.file("lock");
    using server = listen(dir.file("s"));
    expect(await codeOf(() => listen(dir.file("s"), { lockFile }))).toBe("EADDRINUSE");
    expect(existsSync(lockFile)).toBe(false);
    server.close();
  });

  test("a relative one is found after a chdir; the wrong one is never removed", () => {
    using dir = tempDir();
    mkdirSync(dir.file("a"));
    mkdirSync(dir.file("b"));
    const before = process.cwd();
    try {
      process.chdir(dir.file("a"));
      const server = listen("s", { lockFile: "lock" });
      process.chdir(dir.file("b"));
      writeFileSync("lock", "another");
      server.close();
    } finally {
      process.chdir(before);
    }
    expect(readdirSync(dir.file("a"))).toEqual([]);
    expect(readdirSync(dir.file("b"))).toEqual(["lock"]);
  });

  test("release lets go of it, and close never throws", () => {
    using dir = tempDir();
    const lockFile = dir.file("lock");
    using fd = listen(dir.file("s"), { lockFile }).release();
    expect(existsSync(lockFile)).toBe(false);
    expect(fd.closed).toBe(false);
    mkdirSync(dir.file("d"));
    const server = listen(dir.file("t"), { lockFile: dir.file("d/lock") });
    Bun.spawnSync(["rm", "-r", dir.file("d")]);
    server.close();
  });
});

/** Somebody else who has the directory's lock. */
async function holder(dir: TempDir, how: "lock" | "shared-lock"): Promise<Child> {
  const script = "test/fixtures/exclusive-peer.py";
  const child = start(["python3", script, "stream", dir.path, how]);
  await child.lineWith("ready");
  return child;
}

const PROMPT_MS = 2_000;

/** A start that has to give up: ETIMEDOUT, in time. */
async function givesUp(path: string, lockTimeoutMs: number): Promise<string> {
  const began = performance.now();
  const error = await failure(() => listen(path, { lockTimeoutMs }));
  const took = performance.now() - began;
  expect([error.code, error.syscall]).toEqual(["ETIMEDOUT", "flock"]);
  expect(took).toBeGreaterThanOrEqual(lockTimeoutMs);
  expect(took).toBeLessThan(lockTimeoutMs + PROMPT_MS);
  return error.message;
}

describe("the directory's lock", () => {
  for (const how of ["lock", "shared-lock"] as const) {
    peerTest(
      `held by another (${how}): given up in time, and its holder named`,
      ["python3"],
      async () => {
        using dir = tempDir();
        await using child = await holder(dir, how);
        for (const ms of [0, 50, 300]) {
          expect(await givesUp(dir.file("s"), ms)).toContain(`process ${child.pid} (python3)`);
        }
        expect(readdirSync(dir.path)).toEqual([]);
      },
    );
  }

  peerTest("by default for five seconds", ["python3"], async () => {
    using dir = tempDir();
    await using _child = await holder(dir, "lock");
    const began = performance.now();
    expect(await codeOf(() => listen(dir.file("s")))).toBe("ETIMEDOUT");
    expect(performance.now() - began).toBeGreaterThanOrEqual(5_000);
    expect(performance.now() - began).toBeLessThan(5_000 + PROMPT_MS);
  });

  peerTest("flock(1)", ["flock"], async () => {
    using dir = tempDir();
    await using child = start(["flock", "-F", dir.path, "sleep", "60"]);
    const command = (): string => readFileSync(`/proc/${child.pid}/comm`, "utf8").trimEnd();
    await eventually(() => command() === "sleep", "it has the lock");
    expect(await givesUp(dir.file("s"), 100)).toContain(`process ${child.pid} (sleep)`);
    child.kill("SIGKILL");
  });

  peerTest("given back in time: it waits, and starts", ["python3"], async () => {
    using dir = tempDir();
    await using child = await holder(dir, "lock");
    const script = writeSource(
      dir,
      `import { listen } from "@/src/index.ts";
console.log("starting");
listen(${JSON.stringify(dir.file("s"))}).close();
console.log("started");`,
    );
    await using starter = startScript(script);
    await starter.lineWith("starting");
    child.write("go\n");
    await starter.lineWith("started");
  });

  peerTest("a live server is told without it", ["python3"], async () => {
    using dir = tempDir();
    using server = listen(dir.file("s"));
    await using child = await holder(dir, "lock");
    expect(await codeOf(() => listen(dir.file("s"), { lockTimeoutMs: 60_000 }))).toBe("EADDRINUSE");
    const began = performance.now();
    server.close(); // leaves its file rather than wait for long
    expect(performance.now() - began).toBeLessThan(5_000);
    expect(existsSync(dir.file("s"))).toBe(true); // whoever has the lock may have put another there
    child.kill("SIGKILL");
    await child.exited;
    listen(dir.file("s")).close();
    expect(existsSync(dir.file("s"))).toBe(false);
  });

  test("where there are no locks: a fresh start is as safe, a stale file stays", async () => {
    using dir = tempDir();
    const path = dir.file("s");
    const real = libc.flock;
    const NOWHERE = -1; // EBADF, as NFS has it for locks on what is open for reading
    const flock = (_fd: number, how: number): number => real(NOWHERE, how);
    await withLibc({ flock }, async () => {
      listen(path).close();
      expect(existsSync(path)).toBe(false);
      leaveStale(path);
      const error = await failure(() => listen(path));
      expect(error.code).toBe("EADDRINUSE");
      expect(error.message).toContain("use lockFile");
    });
    expect(existsSync(path)).toBe(true);
    listen(path, { lockFile: dir.file("lock") }).close();
    expect(existsSync(path)).toBe(false);
  });
});

describe("a starter that is stopped between look and listen", () => {
  for (const call of ["bind", "listen"] as const) {
    test(`at ${call}: others give up in time; when it goes on, it has the address`, async () => {
      using dir = tempDir();
      const path = dir.file("s");
      leaveStale(path);
      const script = writeSource(
        dir,
        `import { listen } from "@/src/index.ts";
import { libc } from "@/src/syscalls/libc.ts";
const real = libc.${call};
libc.${call} = ((...args: Parameters<typeof real>) => {
  process.kill(process.pid, "SIGSTOP");
  return real(...args);
}) as typeof real;
const server = listen(${JSON.stringify(path)});
console.log("listening");
for await (const client of server) client.close();`,
        "stopping.ts",
      );
      await using child = startScript(script);
      const state = (): string => readFileSync(`/proc/${child.pid}/stat`, "utf8");
      await eventually(() => / T /.test(state()), "it stops");
      const began = performance.now();
      const error = await failure(() => listen(path, { lockTimeoutMs: 200 }));
      expect(performance.now() - began).toBeLessThan(200 + PROMPT_MS);
      // bound and not yet listening it is seen; before, only its lock is
      expect(error.code).toBe(call === "bind" ? "ETIMEDOUT" : "EADDRINUSE");
      expect(error.message).toContain(`process ${child.pid} (${ownCommand}`);
      child.kill("SIGCONT");
      await child.lineWith("listening");
      expect(visit(path, "stream")).toBe(child.pid);
      const { holders } = (await failure(() => listen(path))) as { holders?: { pid: number }[] };
      expect(holders?.map(({ pid }) => pid)).toEqual([child.pid]);
    });
  }

  test("killed there, it blocks nobody", async () => {
    using dir = tempDir();
    const path = dir.file("s");
    const script = writeSource(
      dir,
      `import { listen } from "@/src/index.ts";
import { libc } from "@/src/syscalls/libc.ts";
libc.listen = () => { process.kill(process.pid, "SIGSTOP"); return 0; };
listen(${JSON.stringify(path)});`,
    );
    await using child = startScript(script);
    const state = (): string => readFileSync(`/proc/${child.pid}/stat`, "utf8");
    await eventually(() => / T /.test(state()), "it stops");
    child.kill("SIGKILL");
    await child.exited;
    using server = listen(path);
    expect(visit(path, "stream")).toBe(process.pid);
    server.close();
  });
});

describe("a directory that may be written and not read", () => {
  peerTest("fresh starts go; a stale file needs the lock file", ["root"], async () => {
    using dir = tempDir();
    setMode(dir.path, 0o1733); // for others: no reading, so no lock
    const path = dir.file("s");
    const uid = 65_534;
    const fresh = startServer(path, { uid }, "close");
    await fresh.lineWith("listening");
    fresh.kill("SIGKILL");
    await fresh.exited;
    expect(existsSync(path)).toBe(true);
    const second = startServer(path, { uid });
    expect(await second.line()).toContain("use lockFile");
    await second.exited;
    const third = startServer(path, { uid, lockFile: dir.file("lock") }, "close");
    await third.lineWith("listening");
    third.endInput();
    expect((await third.exited).code).toBe(0);
    expect(readdirSync(dir.path)).toEqual([]);
  });
});

// The two locks: a moment's of a name, a lifetime's on a lock file.

import { describe, expect, test } from "bun:test";
import {
  chownSync,
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
import { codeOf, failure, withLibc } from "../api/tools.ts";
import { ownCommand } from "../cli/tools.ts";
import { type Child, start, startScript, writeSource } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { setMode, type TempDir, tempDir } from "../support/tmp.ts";
import { leaveStale, noLockFiles, open, serverCommand, startServer, types, visit } from "./crew.ts";

describe("lockFile", () => {
  test("has the pid in it, is its owner's alone, and goes with the socket", () => {
    for (const type of types) {
      using dir = tempDir();
      const lockFile = dir.file("lock");
      const server = open(dir.file("s"), type, { lockFile });
      expect(readFileSync(lockFile, "utf8")).toBe(`${process.pid}\n`);
      expect(lstatSync(lockFile).mode & 0o7777).toBe(0o1600); // sticky: cleaners leave it
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
    const cases = noLockFiles(lockFile, dir.file("precious"));
    for (const [name, [code, make]] of Object.entries(cases)) {
      make();
      expect([name, await codeOf(attempt)]).toEqual([name, code]);
      expect(existsSync(dir.file("nowhere"))).toBe(false);
      expect(readFileSync(dir.file("precious"), "utf8")).toBe("precious");
      Bun.spawnSync(["rm", "-r", lockFile]);
    }
    expect(readdirSync(dir.path)).toEqual(["precious"]);
  });

  test("a file with other contents is left as it is; an empty one is used, and stays", async () => {
    using dir = tempDir();
    const lockFile = dir.file("lock");
    for (const text of ["precious", "4711", "0\n", "4711\n\n", "1".repeat(64)]) {
      writeFileSync(lockFile, text);
      const error = await failure(() => listen(dir.file("s"), { lockFile }));
      expect([text, error.code]).toEqual([text, "EINVAL"]);
      expect(readFileSync(lockFile, "utf8")).toBe(text);
    }
    writeFileSync(lockFile, "");
    const server = listen(dir.file("s"), { lockFile });
    expect(readFileSync(lockFile, "utf8")).toBe(`${process.pid}\n`);
    server.close();
    expect(readFileSync(lockFile, "utf8")).toBe("");
  });

  peerTest("another user's file is left as it is, whatever it says", ["root"], async () => {
    using dir = tempDir();
    const lockFile = dir.file("lock");
    for (const text of ["", "4711\n", "precious"]) {
      writeFileSync(lockFile, text);
      chownSync(lockFile, 65_534, 65_534);
      const { code, message } = await failure(() => listen(dir.file("s"), { lockFile }));
      expect(code).toBe("EINVAL");
      expect(message).toContain("uid 65534");
      expect(readFileSync(lockFile, "utf8")).toBe(text);
    }
    expect(readdirSync(dir.path)).toEqual(["lock"]);
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

/** Everything that a server does, while it may wait for nobody. */
async function wholeLife(dir: TempDir): Promise<void> {
  const path = dir.file("s");
  const sleep = Bun.sleepSync;
  Bun.sleepSync = () => {
    throw new Error("it slept");
  };
  try {
    for (const type of types) {
      const server = open(path, type, { lockTimeoutMs: 0 });
      expect(await codeOf(() => open(path, type, { lockTimeoutMs: 0 }))).toBe("EADDRINUSE");
      const next = open(path, type, { lockTimeoutMs: 0, replace: true });
      server.close();
      expect(existsSync(path)).toBe(true);
      next.close();
      leaveStale(path, type);
      open(path, type, { lockTimeoutMs: 0 }).close();
      expect(readdirSync(dir.path)).toEqual([]);
    }
  } finally {
    Bun.sleepSync = sleep;
  }
}

describe("a lock of somebody else's on the directory is in nobody's way", () => {
  for (const how of ["lock", "shared-lock"] as const) {
    peerTest(`flock(2) of another process (${how})`, ["python3"], async () => {
      using dir = tempDir();
      await using _child = await holder(dir, how);
      await wholeLife(dir);
    });
  }

  peerTest("flock(1), with the server as its command", ["flock"], async () => {
    using dir = tempDir();
    const path = dir.file("s");
    leaveStale(path);
    const command = serverCommand(path, { lockTimeoutMs: 0 }, "close");
    await using child = start(["flock", dir.path, ...command]);
    await child.lineWith("listening");
    child.endInput();
    expect((await child.exited).code).toBe(0);
    expect(readdirSync(dir.path)).toEqual([]);
  });

  peerTest("of a user who may only read it", ["flock", "setpriv", "root"], async () => {
    using dir = tempDir();
    setMode(dir.path, 0o755);
    const user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    await using child = start([...user, "flock", "-s", dir.path, "sh", "-c", "echo held; cat"]);
    await child.lineWith("held");
    await wholeLife(dir);
  });
});

/** The lock of the name "s", held by another process of this user. */
async function nameHolder(dir: TempDir): Promise<Child> {
  const lock = dir.file(".bunix-lock.s");
  const child = start(["flock", "-F", lock, "sh", "-c", `echo $$ > ${lock}; echo held; exec cat`]);
  await child.lineWith("held");
  return child;
}

describe("the lock of a name", () => {
  peerTest("is for who takes over: given up in time, its holder named", ["flock"], async () => {
    using dir = tempDir();
    const path = dir.file("s");
    leaveStale(path);
    await using child = await nameHolder(dir);
    for (const lockTimeoutMs of [0, 50]) {
      const error = await failure(() => listen(path, { lockTimeoutMs }));
      expect([error.code, error.syscall, error.path]).toEqual(["ETIMEDOUT", "flock", path]);
      expect(error.message).toContain(`process ${child.pid} (`);
    }
    listen(dir.file("t"), { lockTimeoutMs: 0 }).close(); // another name has another lock
    child.kill("SIGKILL");
    await child.exited;
    listen(path).close();
    expect(readdirSync(dir.path)).toEqual([]); // what the dead one left is gone, too
  });

  peerTest("given back in time: it waits, and starts", ["flock"], async () => {
    using dir = tempDir();
    const path = dir.file("s");
    leaveStale(path);
    await using child = await nameHolder(dir);
    const script = writeSource(
      dir,
      `import { listen } from "@/src/index.ts";
const sleep = Bun.sleepSync;
Bun.sleepSync = (ms) => { console.log("waiting"); sleep(ms); };
listen(${JSON.stringify(path)}, { lockTimeoutMs: 60_000 }).close();
console.log("started");`,
    );
    await using starter = startScript(script);
    await starter.lineWith("waiting");
    child.endInput();
    await starter.lineWith("started");
  });

  peerTest("close does not wait for it: a stale file is the lesser evil", ["flock"], async () => {
    using dir = tempDir();
    const path = dir.file("s");
    const server = listen(path);
    await using child = await nameHolder(dir);
    expect(await codeOf(() => listen(path, { lockTimeoutMs: 60_000 }))).toBe("EADDRINUSE");
    server.close();
    expect(existsSync(path)).toBe(true); // whoever has the lock may have put another there
    child.kill("SIGKILL");
    await child.exited;
    listen(path).close();
    expect(readdirSync(dir.path)).toEqual([]);
  });

  test("what is no lock file is neither used nor touched", async () => {
    using dir = tempDir();
    const [path, lock] = [dir.file("s"), dir.file(".bunix-lock.s")];
    leaveStale(path);
    writeFileSync(dir.file("precious"), "precious");
    const cases: readonly (() => unknown)[] = [
      () => symlinkSync("precious", lock),
      () => linkSync(dir.file("precious"), lock),
      () => writeFileSync(lock, "precious"),
      () => mkdirSync(lock),
    ];
    for (const make of cases) {
      make();
      expect(await codeOf(() => listen(path))).toMatch(/^E(LOOP|INVAL|ISDIR)$/);
      expect(readFileSync(dir.file("precious"), "utf8")).toBe("precious");
      Bun.spawnSync(["rm", "-r", lock]);
    }
    listen(path).close();
    expect(readdirSync(dir.path)).toEqual(["precious"]);
  });

  test("where there are no locks: a fresh start is as safe, a stale file stays", async () => {
    using dir = tempDir();
    const path = dir.file("s");
    const real = libc.flock;
    const NOWHERE = -1; // EBADF, as some file systems have it
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

// Which files are locked, what is written into them, and the errors.

import { describe, expect, test } from "bun:test";
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { type ErrnoName, errno } from "../../native/errno.ts";
import { type FileLock, lockFile, lockFileSync, lockHolders, tryLockFile } from "../../src/lock.ts";
import { lastError, libc } from "../../src/syscalls/libc.ts";
import { noLockFiles } from "../exclusive/crew.ts";
import { runSource, succeeded } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { lacking } from "../support/unless.ts";
import { callsOf, codeOf, failure, leakFree, thrown, withLibc } from "./tools.ts";

/** `body` runs once, right before the first flock(2). */
async function beforeLocking(body: () => void, then: () => unknown): Promise<void> {
  const real = libc.flock;
  let done = false;
  const flock = (fd: number, how: number): number => {
    if (!done) body();
    done = true;
    return real(fd, how);
  };
  await withLibc({ flock }, async () => void (await then()));
  expect(done).toBe(true);
}

/** Why nobody tells who shares a lock; null where /proc/locks does. */
const unnamed = lacking("lockHolders");

const sameFile = (lock: FileLock, path: string): boolean =>
  readFileSync(`/proc/self/fdinfo/${lock.fd}`, "utf8").includes(`ino:\t${lstatSync(path).ino}\n`);

describe("the file of that name is what is locked", () => {
  test("one that was removed, or exchanged, before it is locked is let go", async () => {
    using dir = tempDir();
    const path = dir.file("lock");
    const changes: Record<string, () => void> = {
      removed: () => unlinkSync(path),
      renamed: () => renameSync(path, dir.file("away")),
      exchanged: () => {
        writeFileSync(dir.file("other"), "");
        renameSync(dir.file("other"), path);
      },
    };
    for (const [name, change] of Object.entries(changes)) {
      for (const take of [tryLockFile, lockFileSync, lockFile]) {
        writeFileSync(path, "");
        await beforeLocking(change, async () => {
          using lock = (await take(path))!;
          expect([name, sameFile(lock, path)]).toEqual([name, true]);
          expect(tryLockFile(path)).toBeNull();
        });
      }
    }
  });

  test("a link that takes its place then is not followed", async () => {
    using dir = tempDir();
    const path = dir.file("lock");
    writeFileSync(dir.file("precious"), "precious");
    writeFileSync(path, "");
    const change = (): void => {
      unlinkSync(path);
      symlinkSync("precious", path);
    };
    await beforeLocking(change, async () =>
      expect(await codeOf(() => tryLockFile(path))).toBe("ELOOP"),
    );
    expect(readFileSync(dir.file("precious"), "utf8")).toBe("precious");
    if (unnamed === null) expect(lockHolders(dir.file("precious"))).toEqual([]);
  });

  test("links, and what is no plain file, are refused and left alone", async () => {
    using dir = tempDir();
    const path = dir.file("lock");
    writeFileSync(dir.file("precious"), "precious");
    const cases = noLockFiles(path, dir.file("precious"));
    for (const [name, [code, make]] of Object.entries(cases)) {
      make();
      await leakFree(async () => {
        for (const take of [tryLockFile, lockFileSync, lockFile]) {
          expect([name, await codeOf(() => take(path))]).toEqual([name, code]);
        }
      });
      expect(existsSync(dir.file("nowhere"))).toBe(false);
      expect(readFileSync(dir.file("precious"), "utf8")).toBe("precious");
      Bun.spawnSync(["rm", "-r", path]);
    }
    expect(await codeOf(() => tryLockFile(dir.file("none/lock")))).toBe("ENOENT");
    expect(readdirSync(dir.path)).toEqual(["precious"]);
  });

  test("a relative path means what it means at the call", async () => {
    using dir = tempDir();
    mkdirSync(dir.file("a"));
    mkdirSync(dir.file("b"));
    const before = process.cwd();
    try {
      process.chdir(dir.file("a"));
      const first = await lockFile("lock");
      const waits = lockFile("lock");
      process.chdir(dir.file("b"));
      first.release();
      using lock = await waits;
      expect(lock.path).toBe(dir.file("a/lock"));
    } finally {
      process.chdir(before);
    }
    expect(readdirSync(dir.file("b"))).toEqual([]);
  });
});

describe("what is written", () => {
  test("into a lock file: its content while it is held", () => {
    using dir = tempDir();
    const path = dir.file("lock");
    for (const [content, text] of [
      [undefined, `${process.pid}\n`],
      ["me, longer than a pid: a line and more", "me, longer than a pid: a line and more"],
      [new TextEncoder().encode("bytes"), "bytes"],
      ["", ""],
    ] as const) {
      const lock = tryLockFile(path, { content })!;
      expect(readFileSync(path, "utf8")).toBe(text);
      expect(lstatSync(path).mode & 0o7777).toBe(0o1600); // sticky: cleaners leave it
      lock.release();
      expect(readFileSync(path, "utf8")).toBe("");
    }
  });

  test("what there was before is never written to, nor removed", () => {
    using dir = tempDir();
    const path = dir.file("data");
    for (const text of ["precious", "", "4711\n"]) {
      for (const options of [{}, { content: "mine" }, { unlinkOnRelease: true }]) {
        writeFileSync(path, text);
        const lock = tryLockFile(path, options)!;
        expect(readFileSync(path, "utf8")).toBe(text);
        lock.release();
        expect(readFileSync(path, "utf8")).toBe(text);
      }
    }
  });

  test("content: null locks the data itself, with two names as well", () => {
    using dir = tempDir();
    const path = dir.file("data");
    const made = tryLockFile(path, { content: null, mode: 0o640 })!;
    expect([lstatSync(path).mode & 0o7777, readFileSync(path, "utf8")]).toEqual([0o640, ""]);
    writeFileSync(made.fd, "written by way of the lock");
    made.release();
    linkSync(path, dir.file("again"));
    using lock = tryLockFile(path, { content: null, unlinkOnRelease: true })!;
    expect(tryLockFile(dir.file("again"), { content: null })).toBeNull();
    lock.release();
    expect(readFileSync(path, "utf8")).toBe("written by way of the lock");
  });

  test("unlinkOnRelease removes the file that it is, not another of its name", () => {
    using dir = tempDir();
    const path = dir.file("lock");
    tryLockFile(path)!.release();
    tryLockFile(path, { unlinkOnRelease: true })!.release();
    expect(existsSync(path)).toBe(false);
    const lock = tryLockFile(path, { unlinkOnRelease: true })!;
    unlinkSync(path);
    writeFileSync(path, "another");
    lock.release();
    expect(readFileSync(path, "utf8")).toBe("another");
  });

  peerTest("a file that may only be read is locked all the same", ["root", "setpriv"], async () => {
    using dir = tempDir();
    chmodSync(dir.path, 0o755);
    const path = dir.file("data");
    writeFileSync(path, "precious", { mode: 0o644 });
    const program = `import { tryLockFile } from "@/src/lock.ts";
process.setgroups([]); process.setgid(65534); process.setuid(65534);
const take = (options) => {
  try {
    using lock = tryLockFile(${JSON.stringify(path)}, options);
    return lock?.holders.length ?? null;
  }
  catch (error) { return error.code; }
};
console.log(take({}), take({ shared: true }), take({ unlinkOnRelease: true }));`;
    expect(succeeded(await runSource(program))).toBe(unnamed === null ? "1 1 1\n" : "0 0 0\n");
    using _lock = tryLockFile(path)!;
    expect(succeeded(await runSource(program))).toBe("null null null\n");
    chmodSync(path, 0o600);
    expect(succeeded(await runSource(program))).toBe("EACCES EACCES EACCES\n");
    expect(readFileSync(path, "utf8")).toBe("precious");
  });

  peerTest("another user's lock file is locked, and not written to", ["root"], () => {
    using dir = tempDir();
    const path = dir.file("lock");
    tryLockFile(path)!.release();
    chownSync(path, 65_534, 65_534);
    const lock = tryLockFile(path, { unlinkOnRelease: true })!;
    expect(readFileSync(path, "utf8")).toBe("");
    lock.release();
    expect(lstatSync(path).uid).toBe(65_534);
  });
});

/** Every flock(2) of `body` fails with `code`. */
async function withoutLocks(code: ErrnoName, body: () => Promise<void>): Promise<void> {
  const { read } = lastError;
  const flock = (): number => {
    lastError.read = () => {
      lastError.read = read;
      return errno[code];
    };
    return -1;
  };
  await withLibc({ flock }, body);
}

describe("errors", () => {
  for (const code of ["ENOLCK", "EOPNOTSUPP", "ENOSYS"] as const) {
    test(`${code}: the file system has no locks, and nothing is left behind`, async () => {
      using dir = tempDir();
      await leakFree(() =>
        withoutLocks(code, async () => {
          for (const take of [tryLockFile, lockFileSync, lockFile]) {
            const error = await failure(() => take(dir.file("lock"), { unlinkOnRelease: true }));
            expect([error.code, error.syscall]).toEqual([code, "flock"]);
            expect(error.message).toContain("the file system there has no locks");
          }
        }),
      );
    });
  }

  test("what makes no sense is refused before any call", async () => {
    const path = "/nowhere/lock";
    const wrong: readonly [kind: string, ...Parameters<typeof lockFile>][] = [
      ["TypeError", 1 as never],
      ["TypeError", ""],
      ["TypeError", "/tmp/"],
      ["TypeError", "a\0b"],
      ["TypeError", path, { content: 1 as never }],
      ["TypeError", path, { shared: "yes" as never }],
      ["TypeError", path, { unlinkOnRelease: 1 as never }],
      ["TypeError", path, { shared: true, unlinkOnRelease: true }],
      ["RangeError", path, { mode: 0o10000 }],
      ["TypeError", path, { mode: "600" as never }],
    ];
    const calls = await callsOf(async () => {
      for (const [kind, ...args] of wrong) {
        for (const take of [tryLockFile, lockFileSync, lockFile]) {
          expect(((await thrown(() => take(...args))) as Error).name).toBe(kind);
        }
      }
      for (const timeoutMs of [-1, 0.5, "1" as never]) {
        for (const take of [lockFileSync, lockFile]) {
          expect(await thrown(() => take(path, { timeoutMs }))).toBeInstanceOf(Error);
        }
      }
    });
    expect(calls).toEqual([]);
  });
});

// Locks on files, under every fault.

import { existsSync, readFileSync } from "node:fs";
import {
  type FileLock,
  lockFile,
  lockFileSync,
  lockHolders,
  tryLockFile,
  UnixError,
} from "../../src/index.ts";
import { tempDir } from "../support/tmp.ts";
import { same, setUp, underFaults } from "./driver.ts";
import type { Point } from "./injector.ts";

setUp();

const dir = tempDir();
process.on("exit", () => dir.remove());
let count = 0;
const prepare = () => ({ path: dir.file(String(++count)) });

/** Its removal, and taking its content away, are tried once: the lock is what counts. */
const mayStay = (point: Point | null): boolean =>
  /^(?:lstatSync|fstatSync|unlinkSync|ftruncateSync)$/.test(point?.call ?? "");

/** EAGAIN of flock(2): another has it. */
const isBusy = (error: unknown): boolean =>
  error instanceof UnixError && /^(?:ETIMEDOUT|EDEADLK)$/.test(error.code);

underFaults("an exclusive lock, waited for, its holders, its release", {
  prepare,
  run: async ({ path }, _keep, point) => {
    using lock = await lockFile(path, { unlinkOnRelease: true, timeoutMs: 1000 });
    same(readFileSync(path, "utf8"), `${process.pid}\n`);
    same(tryLockFile(path), null);
    for (const { pid } of lock.holders) same(pid, process.pid);
    for (const { pid } of lockHolders(path)) same(pid, process.pid);
    lock.release();
    same(existsSync(path) && !mayStay(point), false);
  },
  right: isBusy,
  after: ({ path }) => tryLockFile(path)!.release(),
  atEnd: ({ path }) => tryLockFile(path)!.release(),
});

underFaults("shared locks, then an exclusive one, blocking the thread", {
  prepare,
  run: ({ path }) => {
    const locks: (FileLock | null)[] = [];
    try {
      for (let i = 0; i < 2; i++) locks.push(tryLockFile(path, { shared: true }));
    } finally {
      for (const lock of locks) lock?.release();
    }
    using lock = lockFileSync(path, { timeoutMs: 1000, content: "mine" });
    same(readFileSync(path, "utf8"), "mine");
    lock.release();
  },
  right: isBusy,
  after: ({ path }) => tryLockFile(path)!.release(),
  atEnd: ({ path }) => tryLockFile(path)!.release(),
});

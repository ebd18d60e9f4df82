// Giving descriptors away: each is closed once, and nothing that somebody else closes.

import { expect, test } from "bun:test";

import { readdirSync, readlinkSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { type Fd, SharedMemory, socketPair } from "../../src/index.ts";
import { root, runSource, succeeded } from "../support/child.ts";
import { missing } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { asOnMac, keptOfWorkers, testUnless } from "../support/unless.ts";
import { callsOf, isOpen, leakFree, marked, thrown } from "./tools.ts";

const closings = (calls: readonly string[]): number =>
  calls.filter((call) => /^close\b/.test(call)).length;

test("equal numbers are one descriptor, an Fd's and a number alike", () =>
  leakFree(async () => {
    const [near, far] = socketPair("stream");
    for (const list of [
      (fd: Fd) => [fd, fd],
      (fd: Fd) => [fd, fd.fd],
      (fd: Fd) => [fd.fd, fd],
      (fd: Fd) => [fd.release()].flatMap((number) => [number, number]),
    ]) {
      const fds = list(marked("once"));
      const calls = await callsOf(() => near.trySend("x", { fds, transfer: true }));
      expect(closings(calls)).toBe(1);
      using message = far.tryReceive()!;
      expect(message.fds).toHaveLength(2);
    }
    near.close();
    far.close();
  }));

test("what closes its own cannot be given away, and is left alone", () =>
  leakFree(async () => {
    const memory = SharedMemory.create(4096);
    const handle = await open("/dev/null");
    const [near, far] = socketPair("stream");
    const looks = { fd: memory.fd };
    for (const one of [handle, looks, memory, near]) {
      const map = (): unknown => SharedMemory.map(one, { transfer: true });
      expect(await thrown(map)).toBeInstanceOf(TypeError);
      const send = (): unknown => far.trySend("x", { fds: [one], transfer: true });
      expect(await thrown(send)).toBeInstanceOf(TypeError);
      expect(isOpen(one.fd)).toBe(true);
    }
    await handle.close();
    memory.close();
    near.close();
    far.close();
  }));

test("a descriptor that changes while it is looked at: what is mapped is what it was", () =>
  leakFree(() => {
    using memory = SharedMemory.create(4096);
    using other = SharedMemory.create("other");
    const numbers = [memory.fd, other.fd];
    const changing = {
      get fd(): number {
        return numbers.shift() ?? other.fd;
      },
    };
    using mapped = SharedMemory.map(changing, { trustSender: true });
    expect(mapped.size).toBe(4096);
  }));

const tryLock = `
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
try:
    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    print("free")
except OSError:
    print("locked")
`;

testUnless(
  asOnMac("only /proc/locks tells which locks this process has") ?? missing(["python3"]),
  "a descriptor of a file that is locked here does not take the lock with it",
  async () => {
    using dir = tempDir();
    const path = `${dir.path}/locked.sqlite`;
    const outcome = await runSource(
      `import { Database } from "bun:sqlite";
     import { openSync } from "node:fs";
     import { socketPair } from "@/src/index.ts";
     const path = ${JSON.stringify(path)};
     const codes = [];
     process.on("warning", ({ code }) => codes.push(code));
     const python = ["python3", "-c", ${JSON.stringify(tryLock)}, path];
     const state = () => Bun.spawnSync(python).stdout.toString().trim();
     const database = new Database(path);
     database.exec("create table t (x); begin exclusive; insert into t values (1)");
     const states = [state()];
     const [near, far] = socketPair("stream");
     const sent = openSync(path, "r");
     for (let i = 0; i < 2; i++) {
       near.trySend("x", { fds: [sent], transfer: false });
       const message = far.tryReceive();
       if (i === 0) message.close();
       else for (const fd of message.takeFds()) fd.close();
       states.push(state());
     }
     database.exec("commit");
     await new Promise(setImmediate);
     console.log(JSON.stringify({ states, codes }));
     process.exit(0);`,
    );
    expect(JSON.parse(succeeded(outcome))).toEqual({
      states: ["locked", "locked", "locked"],
      codes: ["BUNIX_LOCKED_FD"],
    });
  },
);

const kept =
  asOnMac("a terminated Worker's descriptors stay open there") ?? (await keptOfWorkers());

testUnless(kept, "a Worker ended while a send waits: no duplicate", async () => {
  using dir = tempDir();
  const path = `${dir.path}/marked`;
  writeFileSync(path, "");
  const source = `
    const { Fd, socketPair } = await import(${JSON.stringify(`${root}/src/index.ts`)});
    const { openSync } = await import("node:fs");
    const [near, far] = socketPair("stream");
    const file = Fd.adopt(openSync(${JSON.stringify(path)}, "r"));
    while (near.trySend(new Uint8Array(65536)) !== null);
    near.send("x", { fds: [file] }).catch(() => {});
    globalThis.kept = [near, far, file];
    postMessage("ready");`;
  const worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  await new Promise((resolve) => worker.addEventListener("message", resolve, { once: true }));
  const marked = (): number => linksTo(path);
  expect(marked()).toBe(2);
  worker.terminate();
  while (marked() > 0) await Bun.sleep(5);
  expect(marked()).toBe(0);
});

function linksTo(path: string): number {
  return readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`) === path;
    } catch {
      return false;
    }
  }).length;
}

// Ways to end: whichever it is, the file is gone, or the next server takes it over; and the process
// ends as it would have ended without this library.

import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { listen } from "../../src/index.ts";
import { eventually } from "../api/tools.ts";
import { type Outcome, startScript, writeSource } from "../support/child.ts";
import { type TempDir, tempDir } from "../support/tmp.ts";
import { testUnless } from "../support/unless.ts";
import { startServer, visit } from "./crew.ts";

interface End {
  readonly how?: string;
  readonly signal?: NodeJS.Signals;
  readonly options?: object;
}

/** Have a server end so; how it ended. */
async function ending(path: string, { how, signal, options }: End): Promise<Outcome> {
  await using child = startServer(path, options, how);
  await child.lineWith("listening");
  expect(existsSync(path)).toBe(true);
  if (signal === undefined) child.endInput();
  else child.kill(signal);
  return await child.exited;
}

interface Case extends End {
  readonly name: string;
  readonly code: number | null;
  readonly killedBy?: string;
}

const cases: readonly Case[] = [
  { name: "nothing left to do", how: "return", code: 0 },
  { name: "close", how: "close", code: 0 },
  { name: "process.exit", how: "exit", code: 3 },
  { name: "an uncaught exception", how: "throw", code: 1 },
  { name: "an unhandled rejection", how: "reject", code: 1 },
  { name: "SIGTERM", signal: "SIGTERM", code: null, killedBy: "SIGTERM" },
  { name: "SIGINT", signal: "SIGINT", code: null, killedBy: "SIGINT" },
];

describe("the file is gone after", () => {
  for (const { name, code, killedBy = null, ...end } of cases) {
    for (const datagram of [false, true]) {
      test(`${name}${datagram ? ", datagram" : ""}`, async () => {
        using dir = tempDir();
        const options = { datagram, lockFile: dir.file("lock") };
        const outcome = await ending(dir.file("s"), { ...end, options });
        expect([outcome.code, outcome.signal]).toEqual([code, killedBy]);
        expect(readdirSync(dir.path)).toEqual([]);
      });
    }
  }
});

describe("SIGKILL", () => {
  test("leaves it, and the next start takes it over", async () => {
    using dir = tempDir();
    const path = dir.file("s");
    for (const datagram of [false, true]) {
      const { signal } = await ending(path, { signal: "SIGKILL", options: { datagram } });
      expect(signal).toBe("SIGKILL");
      expect(existsSync(path)).toBe(true);
      using server = listen(path);
      expect(visit(path, "stream")).toBe(process.pid);
      server.close();
      expect(existsSync(path)).toBe(false);
    }
  });
});

describe("handlers of the user's own", () => {
  test("SIGTERM is theirs, and process.exit removes the file", async () => {
    using dir = tempDir();
    const path = dir.file("s");
    await using child = startServer(path, {}, "own");
    await child.lineWith("listening");
    child.endInput();
    await child.lineWith("waiting");
    child.kill("SIGTERM");
    await child.lineWith("handled");
    const { code, signal } = await child.exited;
    expect([code, signal]).toEqual([7, null]);
    expect(existsSync(path)).toBe(false);
  });

  test("ours are gone with the last server", () => {
    using dir = tempDir();
    const count = (): number[] =>
      ["SIGTERM", "SIGINT", "exit"].map((name) => process.listenerCount(name));
    const before = count();
    const servers = [listen(dir.file("a")), listen(dir.file("b"))];
    expect(count()).toEqual(before.map((one) => one + 1));
    for (const server of servers) server.close();
    expect(count()).toEqual(before);
    listen(dir.file("c"), { unlinkOnClose: false }).close();
    listen(`@bunix-exit-${process.pid}`).close();
    expect(count()).toEqual(before);
  });
});

/** Whether the process has a handler of its own for SIGTERM. */
function catchesSigterm(pid: number): boolean {
  const mask = /^SigCgt:\s+([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return (BigInt(`0x${mask}`) & (1n << 14n)) !== 0n;
}

/** Nobody here has one; an emulator has, and /proc shows the emulator's. */
const shown = catchesSigterm(process.pid)
  ? "/proc shows a handler for SIGTERM that this process does not have"
  : null;

describe("a thread that is blocked", () => {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    for (const datagram of [false, true]) {
      const name = `${datagram ? "receiveSync" : "acceptSync"} and ${signal}`;
      testUnless(shown, name, async () => {
        using dir = tempDir();
        const path = dir.file("s");
        await using child = startServer(path, { datagram }, "block");
        await child.lineWith("listening");
        expect(catchesSigterm(child.pid)).toBe(true);
        child.endInput();
        await child.lineWith("blocking");
        await eventually(() => !catchesSigterm(child.pid), "it waits");
        const began = performance.now();
        child.kill(signal);
        expect((await child.exited).signal).toBe(signal);
        expect(performance.now() - began).toBeLessThan(5_000);
        listen(path).close(); // the file may have stayed
        expect(existsSync(path)).toBe(false);
      });
    }
  }
});

/** A main thread that has a Worker listen, and then does `main`; the Worker does `worker`. */
async function inWorker(
  dir: TempDir,
  { main = "", worker = "" }: { main?: string; worker?: string },
): Promise<Outcome> {
  const path = JSON.stringify(dir.file("s"));
  const thread = writeSource(
    dir,
    `import { listen } from "@/src/index.ts";
const server = listen(${path});
server.accept().catch(() => {});
postMessage("listening");
${worker}`,
    "worker.ts",
  );
  const script = writeSource(
    dir,
    `import { listen } from "@/src/index.ts";
async function again() {
  for (;;) {
    try {
      listen(${path}).close();
      process.exit(0);
    } catch (error) {
      if (error.code !== "EADDRINUSE") throw error;
      await Bun.sleep(5);
    }
  }
}
const worker = new Worker(${JSON.stringify(thread)});
worker.addEventListener("close", () => console.log("closed"));
worker.onmessage = async () => { console.log("listening"); ${main} };`,
  );
  await using child = startScript(script);
  await child.lineWith("listening"); // and whatever it does then has the usual time
  if (main === "") child.kill("SIGTERM");
  return await child.exited;
}

describe("in a Worker", () => {
  const ends: readonly (readonly [string, { main?: string; worker?: string }, boolean])[] = [
    ["closed there", { main: ";", worker: "server.close();" }, false],
    ["process.exit there", { main: ";", worker: "process.exit();" }, false],
    // without a word to its JavaScript; the socket is closed, and so the name can be had
    ["terminated", { main: "await worker.terminate(); await again();" }, false],
    ["process.exit in the main thread", { main: "process.exit(0);" }, true],
    ["SIGTERM", {}, true],
  ];
  for (const [name, how, mayStay] of ends) {
    test(name, async () => {
      using dir = tempDir();
      const { stderr } = await inWorker(dir, how);
      expect(stderr).toBe("");
      const stays = existsSync(dir.file("s"));
      console.log(`note: in a Worker, ${name}: the file ${stays ? "stays" : "is gone"}`);
      if (!mayStay) expect(stays).toBe(false);
      listen(dir.file("s")).close();
      expect(existsSync(dir.file("s"))).toBe(false);
    });
  }
});

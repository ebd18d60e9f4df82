// Ways to end: whichever it is, the file is gone, or the next server takes it over.

import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { listen } from "../../src/index.ts";
import { type Outcome, startScript, writeSource } from "../support/child.ts";
import { type TempDir, tempDir } from "../support/tmp.ts";
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
  readonly code: number;
}

const cases: readonly Case[] = [
  { name: "nothing left to do", how: "return", code: 0 },
  { name: "close", how: "close", code: 0 },
  { name: "process.exit", how: "exit", code: 3 },
  { name: "an uncaught exception", how: "throw", code: 1 },
  { name: "an unhandled rejection", how: "reject", code: 1 },
];

describe("the file is gone after", () => {
  for (const { name, code, ...end } of cases) {
    for (const datagram of [false, true]) {
      test(`${name}${datagram ? ", datagram" : ""}`, async () => {
        using dir = tempDir();
        const options = { datagram, lockFile: dir.file("lock") };
        const outcome = await ending(dir.file("s"), { ...end, options });
        expect([outcome.code, outcome.signal]).toEqual([code, null]);
        expect(readdirSync(dir.path)).toEqual([]);
      });
    }
  }
});

describe("a signal leaves it, and the next start takes it over", () => {
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP", "SIGKILL", "SIGABRT"] as const) {
    for (const datagram of [false, true]) {
      test(`${signal}${datagram ? ", datagram" : ""}`, async () => {
        using dir = tempDir();
        const [path, lockFile] = [dir.file("s"), dir.file("lock")];
        const outcome = await ending(path, { signal, options: { datagram, lockFile } });
        expect(outcome.signal).toBe(signal);
        expect(existsSync(path)).toBe(true);
        using server = listen(path, { lockFile });
        expect(visit(path, "stream")).toBe(process.pid);
        server.close();
        expect(readdirSync(dir.path)).toEqual([]);
      });
    }
  }
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

  test("of signals there are none of ours; that of exit goes with the last server", () => {
    using dir = tempDir();
    const names = ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "uncaughtException", "beforeExit"];
    const signals = (): number[] => names.map((name) => process.listenerCount(name));
    const [before, exits] = [signals(), process.listenerCount("exit")];
    const servers = [listen(dir.file("a")), listen(dir.file("b"))];
    expect(signals()).toEqual(before);
    expect(process.listenerCount("exit")).toBe(exits + 1);
    for (const server of servers) server.close();
    expect(process.listenerCount("exit")).toBe(exits);
    listen(dir.file("c"), { unlinkOnClose: false }).close();
    listen(`@bunix-exit-${process.pid}`).close();
    expect(process.listenerCount("exit")).toBe(exits);
  });
});

describe("a thread that is blocked", () => {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    for (const datagram of [false, true]) {
      test(`${datagram ? "receiveSync" : "acceptSync"} and ${signal}`, async () => {
        using dir = tempDir();
        const path = dir.file("s");
        await using child = startServer(path, { datagram }, "block");
        await child.lineWith("listening");
        child.endInput();
        await child.lineWith("blocking");
        child.kill(signal);
        expect((await child.exited).signal).toBe(signal);
        listen(path).close();
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

// What keeps a process alive and what does not, and what is left when it goes.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync, readlinkSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { type Address, connect } from "../../src/index.ts";
import { eventually, startLoop } from "../api/tools.ts";
import { fewer, runScript, runSource, slower, startScript, succeeded } from "../support/child.ts";
import { tempDir } from "../support/tmp.ts";
import { keptOfWorkers, testUnless } from "../support/unless.ts";

setDefaultTimeout(30_000 * slower);

const fixture = new URL("../fixtures/loop-exit.ts", import.meta.url);

/** What the fixture says on its way to exit code 0. */
async function said(way: string): Promise<string> {
  using dir = tempDir();
  const outcome = await runScript(fixture, [way, dir.file("s")]);
  expect(outcome.stderr).toBe("");
  return succeeded(outcome).trim();
}

describe("a process ends by itself", () => {
  const ways: [way: string, says: string, what: string][] = [
    ["idle", "idle false false", "when sockets are open but nothing waits"],
    ["served", "got x", "when all that was waited for has come"],
    ["unreferenced", "left", "when only unreferenced sockets wait"],
    ["aborted", "aborted", "when the only wait was aborted"],
    ["closed", "ERR_CLOSED", "when the only socket that waited was closed"],
    ["connecting", "ETIMEDOUT", "when a connect has timed out"],
  ];
  for (const [way, says, what] of ways) {
    test(what, async () => {
      expect(await said(way)).toBe(says);
    });
  }
});

describe("a process lives on", () => {
  test("while a receive is pending", async () => {
    using dir = tempDir();
    const child = startScript(fixture, ["pending", dir.file("s")]);
    await child.lineWith("listening");
    const socket = await connect(dir.file("s"));
    await socket.send("hello");
    await child.lineWith("got hello");
    socket.close();
    const outcome = await child.exited;
    expect(succeeded(outcome).trim().split("\n")).toEqual(["listening", "got hello", "ended"]);
    expect(outcome.stderr).toBe("");
  });

  test("while a send is queued", async () => {
    using dir = tempDir();
    const child = startScript(fixture, ["sending", dir.file("s")]);
    await child.lineWith("listening");
    using socket = await connect(dir.file("s"));
    let got = 0;
    for await (const message of socket) got += message.data.length;
    expect(got).toBe(2 ** 22);
    expect(succeeded(await child.exited)).toContain("sent");
  });

  test("when an unreferenced socket is referenced again", async () => {
    expect(await said("again")).toBe("kept alive");
  });

  test("for another reason: then unreferenced sockets are served, too", async () => {
    expect(await said("background")).toBe("served");
  });
});

describe("ending in the middle", () => {
  test("process.exit while something waits keeps its code and says nothing", async () => {
    const outcome = await runScript(fixture, ["exit"]);
    expect([outcome.code, outcome.stdout.trim(), outcome.stderr]).toEqual([7, "leaving", ""]);
  });

  test("closing 200 waiting sockets on the way out", async () => {
    expect(await said("closing")).toBe("closed");
  });
});

const keepsItsOwn = await keptOfWorkers();

describe("Workers", () => {
  const file = new URL("../fixtures/loop-worker.ts", import.meta.url).pathname;

  async function begin(): Promise<{ worker: Worker; address: Address }> {
    const worker = new Worker(file);
    const { address, text } = await new Promise<{ address: Address; text: string }>(
      (resolve, reject) => {
        worker.once("message", resolve);
        worker.once("error", reject);
      },
    );
    expect(text).toBe("inside");
    return { worker, address };
  }

  test("the library works in one, beside the main thread", async () => {
    const program = `
      import { Worker } from "node:worker_threads";
      import { connect } from "@/src/index.ts";
      const worker = new Worker(${JSON.stringify(file)});
      const { address } = await new Promise((resolve) => worker.once("message", resolve));
      using socket = await connect({ abstract: address.name });
      let right = 0;
      for (let i = 0; i < 100; i++) {
        await socket.send(String(i));
        using message = await socket.receive();
        if (message.text() === String(i)) right++;
      }
      console.log(right);
      process.exit(0);`;
    expect(succeeded(await runSource(program)).trim()).toBe("100");
  });

  const threads = (): number => readdirSync("/proc/self/task").length;
  const links = (pattern: RegExp): number =>
    readdirSync("/proc/self/fd").filter((fd) => {
      try {
        return pattern.test(readlinkSync(`/proc/self/fd/${fd}`));
      } catch {
        return false; // the one that lists them
      }
    }).length;
  const loops = (): number => links(/anon_inode/);
  const sockets = (): number => links(/^socket:/);

  /** Start and terminate `count` Workers, five at a time. */
  async function terminated(count: number): Promise<void> {
    for (let left = count; left > 0; left -= 5) {
      const workers = await Promise.all(Array.from({ length: 5 }, begin));
      await Promise.all(workers.map(({ worker }) => worker.terminate()));
    }
  }

  async function backTo(what: string, count: () => number, before: number): Promise<void> {
    let now = count();
    const enough = async (): Promise<boolean> => {
      await Bun.sleep(20); // a collection takes long, and they have other things to do
      Bun.gc(true);
      now = count();
      return now <= before;
    };
    await eventually(enough, what).catch(() => {
      throw new Error(`${what}: ${before} before, ${now} after`);
    });
  }

  const MANY = 5 * fewer(3);
  const nothingLeft = `${MANY} that are terminated while they wait leave nothing of their loops`;
  testUnless(
    keepsItsOwn,
    nothingLeft,
    async () => {
      await startLoop();
      await terminated(5); // Bun's own, made once
      Bun.gc(true);
      await eventually(() => threads() < 60, "the first Workers are gone");
      const [before, running] = [loops(), threads()];
      await terminated(MANY); // each has more than one of both
      await backTo("epoll and eventfd descriptors", loops, before + 2);
      await backTo("threads", threads, running + 4);
    },
    60_000,
  );

  testUnless(
    keepsItsOwn,
    "their sockets are closed, too",
    async () => {
      await startLoop();
      const before = sockets();
      await terminated(10);
      await backTo("sockets", sockets, before);
    },
    60_000,
  );
});

// Processes that follow each other, and die at the wrong moment.

import { afterEach, describe, expect, test } from "bun:test";
import { chmodSync, chownSync, existsSync, readdirSync } from "node:fs";
import { connect, Handover, listen } from "../../src/index.ts";
import { encodeFrame } from "../../src/structs/handover-frame.ts";
import { type Child, runSource, slower, startScript, succeeded } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { type TempDir, tempDir } from "../support/tmp.ts";
import { leakFree } from "./tools.ts";

const TIMEOUT_MS = 40_000;
const NOBODY = 65_534;

/** One process, which does what it is told. */
class Member {
  readonly child: Child;

  constructor(dir: TempDir, uid = "") {
    const args = [dir.file("control"), dir.file("web"), uid];
    this.child = startScript("test/fixtures/handover-process.ts", args);
    all.push(this.child);
  }

  /** Give an order; the answer's line, which must have `expected` in it. */
  async do(order: string, expected = order): Promise<string> {
    this.child.write(`${order}\n`);
    return await this.child.lineWith(expected);
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    this.child.kill(signal);
    await this.child.exited;
  }
}

const all: Child[] = [];
afterEach(async () => {
  for (const child of all.splice(0)) await child[Symbol.asyncDispose]();
});

async function serving(dir: TempDir, order = "open"): Promise<Member> {
  const old = new Member(dir);
  await old.do(order, "first 0");
  await old.do("ready");
  return old;
}

/** Both addresses can be reached: somebody holds the sockets behind the files. */
async function reachable(dir: TempDir): Promise<void> {
  expect(readdirSync(dir.path).sort()).toEqual(["control", "web"]);
  (await connect(dir.file("web"))).close();
  (await connect(dir.file("control"), { type: "seqpacket" })).close();
}

describe.each(["SIGKILL", "SIGTERM", "exit"])("the old one ends by %s", (how) => {
  const end = async (old: Member): Promise<void> => {
    if (how !== "exit") return await old.end(how as NodeJS.Signals);
    await old.do("exit");
    await old.child.exited;
  };

  test(
    "while the new one prepares: it takes over all the same",
    async () => {
      using dir = tempDir();
      const old = await serving(dir);
      const next = new Member(dir);
      await next.do("open", `next ${old.child.pid}`);
      await end(old);
      await reachable(dir);
      await next.do("ready");
      await reachable(dir);
      const third = new Member(dir);
      await third.do("open", `next ${next.child.pid}`);
      await third.do("ready");
      await next.child.lineWith(`replaced by ${third.child.pid}`);
      await next.do("close");
      await reachable(dir);
      await third.do("close");
      expect(readdirSync(dir.path)).toEqual([]);
    },
    TIMEOUT_MS * slower,
  );

  test(
    "after it was replaced: nothing that it does removes anything",
    async () => {
      using dir = tempDir();
      const old = await serving(dir);
      const next = new Member(dir);
      await next.do("open", "next");
      await next.do("ready");
      await old.child.lineWith("replaced");
      await end(old);
      await reachable(dir);
      await next.do("close");
      expect(readdirSync(dir.path)).toEqual([]);
    },
    TIMEOUT_MS * slower,
  );
});

test(
  "the old one asks the new one in",
  async () => {
    using dir = tempDir();
    const old = await serving(dir);
    old.child.write("spawn\n");
    await old.child.lineWith(`next ${old.child.pid}`);
    await old.child.lineWith("replaced by");
    await reachable(dir);
    const last = await Handover.open(dir.file("control"));
    last.descriptor("web", () => {
      throw new Error("made again");
    });
    await last.ready();
    last.close();
  },
  TIMEOUT_MS * slower,
);

test(
  "the new one is killed, at any step: the old one goes on",
  async () => {
    using dir = tempDir();
    const old = await serving(dir);
    for (let i = 0; i < 2; i++) {
      const next = new Member(dir);
      await next.do("open", "next");
      await next.end("SIGKILL");
      await old.child.lineWith("failed: ");
      await reachable(dir);
    }
    const next = new Member(dir);
    await next.do("open", "next");
    await next.do("ready");
  },
  TIMEOUT_MS * slower,
);

test(
  "the new one does not get ready, or stops moving: it is given up, and learns of it",
  async () => {
    using dir = tempDir();
    const old = await serving(dir, "open impatient");
    const next = new Member(dir);
    await next.do("open", "next");
    next.child.kill("SIGSTOP");
    expect(await old.child.lineWith("failed: ")).toContain("not ready after 300 ms");
    next.child.kill("SIGCONT");
    expect(await next.do("ready", "ECANCELED")).toContain("300 ms");
    const third = new Member(dir);
    await third.do("open", `next ${old.child.pid}`);
  },
  TIMEOUT_MS * slower,
);

test("unref: the process may end, and its files go", async () => {
  using dir = tempDir();
  const source = `
    import { Handover, listen } from "@/src/index.ts";
    const handover = await Handover.open(${JSON.stringify(dir.file("control"))});
    handover.descriptor("web", () => listen(${JSON.stringify(dir.file("web"))}));
    await handover.ready();
    handover.unref();
    console.log("nothing else to do");`;
  expect(succeeded(await runSource(source))).toBe("nothing else to do\n");
  expect(readdirSync(dir.path)).toEqual([]);
});

test("ready, and dead before it has taken over: the old one goes on", () =>
  leakFree(async () => {
    using dir = tempDir();
    const failed = Promise.withResolvers<string>();
    const control = dir.file("control");
    using old = await Handover.open(control, { onFailed: ({ reason }) => failed.resolve(reason) });
    old.descriptor("web", () => listen(dir.file("web")));
    await old.ready();
    const ghost = await connect(control, { type: "seqpacket" });
    await ghost.send(encodeFrame({ kind: "hello" }));
    (await ghost.receive())?.close();
    await ghost.send(encodeFrame({ kind: "ready" }));
    const waiting = connect(control, { type: "seqpacket" }); // in between nobody answers
    (await ghost.receive())?.close(); // "yours"
    ghost.close();
    expect(await failed.promise).toContain("ended before");
    (await waiting).close();
    await reachable(dir);
    using next = await Handover.open(control);
    await next.ready();
    await old.replaced;
  }));

describe("users", () => {
  /** A directory in which nobody may have sockets too. */
  function shared(): TempDir {
    const dir = tempDir();
    chownSync(dir.path, NOBODY, NOBODY);
    chmodSync(dir.path, 0o755);
    return dir;
  }

  peerTest(
    "another user may not, even where the file lets him",
    ["root"],
    async () => {
      using dir = tempDir();
      chmodSync(dir.path, 0o711);
      const old = new Member(dir);
      await old.do("open", "first 0");
      await old.do("ready");
      const kept = new Member(dir, `${NOBODY}`);
      await kept.do("open", "EACCES: connect EACCES");
      chmodSync(dir.file("control"), 0o666);
      const answer = await kept.do("open", "EACCES: handover");
      expect(answer).toContain("it is uid 0 who has answered: nothing is taken from there");
      const next = new Member(dir);
      await next.do("open", "next");
    },
    TIMEOUT_MS,
  );

  peerTest(
    "root takes nothing from another user, unless both sides are told to",
    ["root"],
    async () => {
      using dir = shared();
      const old = new Member(dir, `${NOBODY}`);
      await old.do("open everybody", "first 0");
      await old.do("ready");
      const next = new Member(dir);
      const answer = await next.do("open", "EACCES: handover");
      expect(answer).toContain("uid 65534 who has answered: nothing is taken from there");
      await old.child.lineWith("failed: ");
      await next.do("open everybody", `next ${old.child.pid}`);
      await next.do("ready");
      await old.child.lineWith("replaced");
      await next.do("close");
      expect(existsSync(dir.file("web"))).toBe(false);
    },
    TIMEOUT_MS,
  );
});

test("clients of a Unix listener are told of the process that has it now", async () => {
  using dir = tempDir();
  await serving(dir);
  using next = await Handover.open(dir.file("control"));
  next.descriptor("web", () => {
    throw new Error("made again");
  });
  using before = await connect(dir.file("web"));
  expect(before.peerCredentials().pid).not.toBe(process.pid);
  await next.ready();
  using after = await connect(dir.file("web"));
  expect(after.peerCredentials().pid).toBe(process.pid);
});

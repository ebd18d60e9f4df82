// What the system does not let queue sockets have: descriptors, queues, other users' processes.

import { afterAll, describe, expect, test } from "bun:test";
import { chmodSync, cpSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { connectQueue, listenQueue } from "../../src/index.ts";
import { start, startScript, succeeded, writeSource } from "../support/child.ts";
import { compileC, peerTest } from "../support/peers.ts";
import { fake } from "../support/seam.ts";
import { tempDir } from "../support/tmp.ts";
import { freshName, removeName } from "./queue-sockets.ts";
import { codeOf, turns } from "./tools.ts";

const dir = tempDir();
afterAll(() => dir.remove());

describe("limits", () => {
  test("no descriptor for the client's queue: it waits until there is one", async () => {
    const name = freshName();
    using listener = listenQueue(name);
    const connecting = connectQueue(name);
    await turns();
    {
      using _ = fake("open", [{ errno: errno.EMFILE }]);
      expect(await codeOf(() => listener.tryAccept())).toBe("EMFILE");
    }
    using __ = fake("open", [{ errno: errno.EMFILE }, { errno: errno.EMFILE }]);
    using server = await listener.accept();
    using client = await connecting;
    expect([server.closed, client.closed]).toEqual([false, false]);
  });

  test("no queue for the answer: the client is told, the server warned once", async () => {
    const source = `import { connectQueue, listenQueue } from "@/src/index.ts";
      const listener = listenQueue(process.argv[2], { messageBytes: 2 ** 30 }); // no kernel has it
      process.on("warning", ({ name, code, message }) => console.log(name, code, message));
      listener.accept().catch(() => {});
      for (let i = 0; i < 2; i++) {
        const told = ({ code, syscall }) => console.log(code, syscall);
        await connectQueue(process.argv[2]).catch(told);
      }
      setTimeout(() => listener.close());`;
    const name = freshName();
    await using child = startScript(writeSource(dir, source, "warn.ts"), [name]);
    child.endInput();
    const said = succeeded(await child.exited)
      .trim()
      .split("\n")
      .toSorted();
    expect(said.slice(1)).toEqual(["EINVAL connect", "EINVAL connect"]);
    expect(said[0]).toStartWith(`AcceptWarning EINVAL a connection to ${name} was refused`);
  });

  peerTest(
    "as an ordinary user: RLIMIT_MSGQUEUE says how many there can be",
    ["root"],
    async () => {
      const source = `import { connectQueue, listenQueue, QueueLimitError } from "@/src/index.ts";
      process.setgid(65534); process.setuid(65534);
      const listener = listenQueue(process.argv[2]);
      const open = [];
      (async () => { for await (const socket of listener) open.push(socket); })();
      process.on("warning", () => {});
      try {
        for (;;) open.push(await connectQueue(process.argv[2]));
      } catch (error) {
        const { code, limit } = error;
        console.log(code, limit ?? "told by the listener", open.length >= 16);
      }
      for (const socket of open) socket.close();
      listener.close();`;
      const name = freshName();
      await using child = startScript(writeSource(dir, source, "limits.ts"), [name]);
      child.endInput();
      expect(succeeded(await child.exited)).toMatch(/^EMFILE (RLIMIT_MSGQUEUE|told.*) true\n$/);
      removeName(name);
    },
  );

  peerTest("another user's name, and another user's listener", ["root"], async () => {
    const name = freshName();
    using listener = listenQueue(name);
    const source = `import { connectQueueSync, listenQueue } from "@/src/index.ts";
      process.setgid(65534); process.setuid(65534);
      for (const call of [connectQueueSync, listenQueue]) {
        try { call(process.argv[2]); } catch ({ code, message }) { console.log(code, message); }
      }`;
    await using child = startScript(writeSource(dir, source, "other.ts"), [name]);
    child.endInput();
    const said = succeeded(await child.exited).split("\n");
    expect(said[0]).toStartWith("EACCES");
    expect(said[0]).toContain("same user");
    expect(said[1]).toStartWith("EACCES");
    expect(listener.closed).toBeFalse();
  });
});

peerTest(
  "a process that changed its user cannot be looked at: EACCES, not a wait for ever",
  ["root", "cc", "setpriv"],
  async () => {
    const name = freshName();
    const nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    using open = tempDir();
    chmodSync(open.path, 0o755);
    const program = open.file("peer");
    cpSync(compileC("test/fixtures/queue-socket-peer.c", ["-lrt"]), program);
    await using server = start([...nobody, program, "listen", name, "1"]);
    await server.lineWith("listening");
    const source = `import { connectQueueSync } from "@/src/index.ts";
      process.setgid(65534); process.setuid(65534);
      try { connectQueueSync(process.argv[2]); } catch ({ code, message }) {
        console.log(code, message);
      }`;
    await using child = startScript(writeSource(dir, source, "hidden.ts"), [name]);
    child.endInput();
    expect(succeeded(await child.exited)).toMatch(/^EACCES connect EACCES.* without exec/);
    removeName(name);
  },
);

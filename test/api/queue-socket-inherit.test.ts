// Queue sockets that live on after exec, and in children.

import { describe, expect, test } from "bun:test";
import { closeSync, fstatSync } from "node:fs";
import { file } from "../../native/file.ts";
import { adoptQueueSocket, connectQueue, listenQueue, type QueueSocket } from "../../src/index.ts";
import { open } from "../../src/syscalls/fd.ts";
import { type Child, start, startScript } from "../support/child.ts";
import { compileC, peerTest } from "../support/peers.ts";
import { freshName, type Pair, queuePair } from "./queue-sockets.ts";
import { codeOf, eventually, isCloseOnExec, leakFree, thrown, turns } from "./tools.ts";

const HEIR = "test/fixtures/queue-socket-heir.ts";
const peer = (): string => compileC("test/fixtures/queue-socket-peer.c", ["-lrt"]);

async function exchange(socket: QueueSocket, text: string): Promise<string | undefined> {
  await socket.send(text);
  return (await socket.receive())?.text();
}

/** The client's end goes to `command TOKEN`; the server's stays here. */
async function handOver(
  pair: Pair,
  begin: (token: string, fds: readonly number[]) => Child,
): Promise<Child> {
  const token = pair.client.inherit({ as: [3, 4] });
  const child = begin(token, pair.client.fds);
  pair.client.close();
  return child;
}

const inBun = (token: string, fds: readonly number[]): Child => startScript(HEIR, [token], { fds });
const inC = (token: string, fds: readonly number[]): Child =>
  start([peer(), "adopt", token], { fds });

describe("a child", () => {
  test("has the socket, with what was half read; the other end knows its process", async () => {
    using pair = await queuePair();
    await pair.server.send("abc");
    expect((await pair.client.receive({ maxBytes: 1 }))?.text()).toBe("a");
    await using child = await handOver(pair, inBun);
    expect(await child.lineWith("adopted")).toBe(`adopted ${process.pid}`);
    expect((await pair.server.receive())?.text()).toBe("BC");
    expect(await exchange(pair.server, "more")).toBe("MORE");
    expect(pair.server.peerCredentials().pid).toBe(child.pid);
    using seen = pair.server.peer();
    expect([seen.pid, seen.alive]).toEqual([child.pid, true]);
    pair.server.end();
    await child.lineWith("end");
    expect(await pair.server.receive()).toBeNull();
    child.endInput();
    expect((await child.exited).code).toBe(0);
  });

  test("killed: the end", async () => {
    using pair = await queuePair();
    await using child = await handOver(pair, inBun);
    expect(await exchange(pair.server, "x")).toBe("X");
    const waiting = pair.server.receive();
    await turns();
    child.kill("SIGKILL");
    expect(await waiting).toBeNull();
    expect(await codeOf(() => pair.server.send("y"))).toBe("EPIPE");
    await child.exited;
  });

  peerTest("in C", ["cc"], async () => {
    using pair = await queuePair();
    await using child = await handOver(pair, inC);
    expect(await exchange(pair.server, "from the other program")).toBe("from the other program");
    expect(pair.server.peerCredentials().pid).toBe(child.pid);
    pair.server.end();
    expect(await pair.server.receive()).toBeNull();
    child.endInput();
    expect((await child.exited).code).toBe(0);
  });

  test("that never takes it over: its exit is the end, although nobody was told", async () => {
    using pair = await queuePair();
    await using child = await handOver(pair, (_, fds) => start(["cat"], { fds }));
    await pair.server.send("unread");
    const waiting = pair.server.receive();
    await turns();
    child.endInput();
    expect((await child.exited).code).toBe(0);
    expect(await waiting).toBeNull();
  });
});

describe("exec in the same process", () => {
  test("this library before and after", async () => {
    const name = freshName();
    using listener = listenQueue(name);
    await using child = startScript(HEIR, ["exec", name]);
    using server = await listener.accept();
    await server.send("abc");
    expect((await server.receive())?.text()).toBe("read a");
    await child.lineWith("adopted");
    expect((await server.receive())?.text()).toBe("BC");
    expect(await exchange(server, "still")).toBe("STILL");
    expect(server.peerCredentials().pid).toBe(child.pid);
    server.end();
    expect(await server.receive()).toBeNull();
    child.endInput();
    expect((await child.exited).code).toBe(0);
  });

  peerTest("a program in C becomes one with this library", ["cc"], async () => {
    const name = freshName();
    using listener = listenQueue(name);
    await using child = start([peer(), "exec", name, process.execPath, HEIR]);
    using server = await listener.accept();
    await child.lineWith("adopted");
    expect(await exchange(server, "x")).toBe("X");
    const waiting = server.receive();
    await turns();
    child.kill("SIGKILL");
    expect(await waiting).toBeNull();
    await child.exited;
  });
});

describe("in this process", () => {
  test("close after inherit is the end where nobody has it", async () => {
    using pair = await queuePair();
    pair.client.inherit({ as: [3, 4] });
    const waiting = pair.server.receive();
    await turns();
    pair.client.close();
    expect(await waiting).toBeNull();
  });

  test("inherit without `as` lets exec keep both; adopt takes that back", () =>
    leakFree(async () => {
      using pair = await queuePair();
      const fds = [...pair.client.fds];
      expect(fds.map(isCloseOnExec)).toEqual([true, true]);
      const token = pair.client.inherit();
      expect(fds.map(isCloseOnExec)).toEqual([false, false]);
      const copies = fds.map((fd) => open(`/proc/self/fd/${fd}`, file.O_RDONLY));
      for (const copy of copies) expect(fstatSync(copy).isFile()).toBeTrue();
      // another open file of the same queue is not the socket: its lock is somebody else's
      const told = JSON.parse(token);
      const forged = JSON.stringify({ ...told, own: { ...told.own, fd: copies[0] } });
      expect(await codeOf(() => adoptQueueSocket(forged))).toBe("EAGAIN");
      for (const copy of copies) closeSync(copy);
      pair.client.close();
    }));

  test("what is not allowed", async () => {
    using pair = await queuePair({ maxMessages: 1, messageBytes: 64 });
    for (const token of ["", "{}", "null", '{"format":"queue-socket-1"}', "[]"]) {
      expect(await thrown(() => adoptQueueSocket(token))).toBeInstanceOf(TypeError);
    }
    expect(await thrown(() => adoptQueueSocket(7 as never))).toBeInstanceOf(TypeError);
    const told = JSON.parse(pair.client.inherit({ as: [3, 4] }));
    const elsewhere = { ...told, own: { ...told.own, fd: pair.server.fd } };
    expect(await codeOf(() => adoptQueueSocket(JSON.stringify(elsewhere)))).toBe("EBADF");
    const closed = { ...told, own: { ...told.own, fd: 9_999 } };
    expect(await codeOf(() => adoptQueueSocket(JSON.stringify(closed)))).toBe("EBADF");
    const sending = pair.server.send("x".repeat(200));
    await eventually(() => pair.server.queuedBytes > 0, "a send that waits");
    expect(await codeOf(() => pair.server.inherit())).toBe("EBUSY");
    const failing = codeOf(() => sending);
    pair.server.close();
    expect(await failing).toBe("ERR_CLOSED");
  });

  test("nothing else of a queue socket outlives an exec", async () => {
    const name = freshName();
    using listener = listenQueue(name);
    const connecting = connectQueue(name);
    using server = await listener.accept();
    using client = await connecting;
    using look = server.peer();
    const all = [listener.fd, ...server.fds, ...client.fds, look.pidfd!.fd];
    expect(all.map(isCloseOnExec)).toEqual(all.map(() => true));
  });
});

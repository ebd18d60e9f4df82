// Listening and connecting: names, who has them, and what a crash leaves.

import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { fstatSync } from "node:fs";
import { file } from "../../native/file.ts";
import {
  connectQueue,
  connectQueueSync,
  listenQueue,
  MessageQueue,
  openQueueDatagram,
  QueueListener,
  QueueSocket,
} from "../../src/index.ts";
import { slower, start, startScript, succeeded, writeSource } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { fake } from "../support/seam.ts";
import { tempDir } from "../support/tmp.ts";
import { freshName, kernelNameOf } from "./queue-sockets.ts";
import { removeQueue } from "./queues.ts";
import { codeOf, failure, leakFree, thrown, turns, withLibc } from "./tools.ts";

setDefaultTimeout(60_000 * slower);

const dir = tempDir();
afterAll(() => dir.remove());

describe("names", () => {
  test("are checked before any call, and so are options", async () => {
    const mq_open = (): never => expect.unreachable();
    await withLibc({ mq_open }, async () => {
      for (const name of ["", "x", "/", "/a/b", "/..", `/${"x".repeat(243)}`]) {
        for (const call of [listenQueue, connectQueueSync, openQueueDatagram]) {
          expect(await thrown(() => call(name)), name).toBeInstanceOf(RangeError);
        }
        expect(await thrown(() => connectQueue(name))).toBeInstanceOf(RangeError);
      }
      expect(await thrown(() => listenQueue(3 as never))).toBeInstanceOf(TypeError);
      const wrong = [{ maxMessages: 0 }, { messageBytes: 63 }, { maxQueuedBytes: -1 }];
      for (const options of wrong) {
        for (const call of [listenQueue, connectQueueSync, openQueueDatagram]) {
          expect(await thrown(() => call("/x", options))).toBeInstanceOf(RangeError);
        }
      }
      expect(await thrown(() => listenQueue("/x", { backlog: 0 }))).toBeInstanceOf(RangeError);
      expect(await thrown(() => listenQueue("/x", { allow: 1 as never }))).toBeInstanceOf(
        TypeError,
      );
      expect(await thrown(() => connectQueueSync("/x", { timeoutMs: -1 }))).toBeInstanceOf(
        RangeError,
      );
    });
  });

  test("242 bytes are fine; a plain queue of the same name is another thing", async () => {
    const name = `/${"n".repeat(230)}${process.pid}`.slice(0, 243);
    using plain = MessageQueue.open(name, { create: true });
    using listener = listenQueue(name);
    expect(listener).toBeInstanceOf(QueueListener);
    expect(listener.name).toBe(name);
    plain.unlink();
  });

  test("one holder at a time, of either kind; free again after close", async () => {
    const name = freshName();
    using listener = listenQueue(name);
    const error = await failure(() => listenQueue(name));
    expect(error).toMatchObject({ code: "EADDRINUSE", path: name });
    expect(await codeOf(() => openQueueDatagram(name))).toBe("EADDRINUSE");
    listener.close();
    using next = listenQueue(name);
    listener.close();
    expect(await codeOf(() => listenQueue(name))).toBe("EADDRINUSE");
    expect(next.closed).toBeFalse();
  });

  test("close leaves a successor's name alone", async () => {
    const name = freshName();
    using listener = listenQueue(name);
    MessageQueue.unlink(kernelNameOf(name));
    using successor = listenQueue(name);
    listener.close();
    expect(await codeOf(() => listenQueue(name))).toBe("EADDRINUSE");
    successor.close();
  });

  test("a name that a crash left is taken over, with nothing of what waited there", async () => {
    const name = freshName();
    const left = MessageQueue.open(kernelNameOf(name), { create: true, messageBytes: 40 });
    left.trySend("stale");
    left.close();
    expect(await codeOf(() => connectQueue(name))).toBe("ECONNREFUSED");
    using listener = listenQueue(name);
    expect(listener.tryAccept()).toBeUndefined();
    expect(listener.ignored).toBe(0);
  });

  test("a queue that is taken for a dead one between its making and its lock: made again", () => {
    const name = freshName();
    using calls = fake("flock", [
      () => {
        MessageQueue.unlink(kernelNameOf(name));
        return 0;
      },
    ]);
    using listener = listenQueue(name);
    expect(calls.calls.length).toBeGreaterThan(1);
    expect(listener.closed).toBeFalse();
  });

  test("what a crash left of a queue without a name goes with the next one", () => {
    const shared = `/unnamed-${process.geteuid?.()}.queue-socket`;
    using left = MessageQueue.open(shared, { create: true });
    openQueueDatagram().close();
    expect(fstatSync(left.fd).nlink).toBe(0);
  });

  peerTest("a stranger who holds that name is in nobody's way", ["root"], async () => {
    const shared = "/unnamed-65534.queue-socket";
    using stranger = MessageQueue.open(shared, { create: true });
    const source = `import { openQueueDatagram } from "@/src/index.ts";
      process.setgid(65534); process.setuid(65534);
      using a = openQueueDatagram();
      using b = openQueueDatagram();
      a.sendSync("through", { to: b.address });
      console.log(b.receiveSync().text());`;
    await using child = startScript(writeSource(dir, source, "stranger.ts"), []);
    child.endInput();
    expect(succeeded(await child.exited)).toBe("through\n");
    removeQueue(shared);
    expect(stranger.closed).toBeFalse();
  });

  test("12 processes at once want one name: one has it", async () => {
    const name = freshName();
    const stale = MessageQueue.open(kernelNameOf(name), { create: true });
    stale.close();
    const source = writeSource(
      dir,
      `import { listenQueue } from "@/src/index.ts";
       console.log("ready");
       for await (const _ of console) break;
       try {
         using listener = listenQueue(process.argv[2]);
         console.log("mine");
         for await (const _ of console) break;
       } catch ({ code }) {
         console.log(code);
         for await (const _ of console) break;
       }`,
      "want.ts",
    );
    const children = Array.from({ length: 12 }, () => startScript(source, [name]));
    await Promise.all(children.map((child) => child.lineWith("ready")));
    for (const child of children) child.write("go\n");
    const said = await Promise.all(children.map((child) => child.line()));
    expect(said.toSorted()).toEqual([...Array(11).fill("EADDRINUSE"), "mine"]);
    for (const child of children) child.endInput();
    for (const child of children) succeeded(await child.exited);
    expect(await codeOf(() => MessageQueue.unlink(kernelNameOf(name)))).toBe("ENOENT");
  });
});

describe("connecting", () => {
  test("nobody there", async () => {
    const error = await failure(() => connectQueue(freshName()));
    expect(error).toMatchObject({ code: "ENOENT", syscall: "mq_open" });
    expect(error.message).toContain("is the server running");
  });

  test("a name of the other kind is EPROTOTYPE", async () => {
    const [stream, datagram] = [freshName(), freshName()];
    using _ = listenQueue(stream);
    using socket = openQueueDatagram(datagram);
    expect(await codeOf(() => connectQueue(datagram))).toBe("EPROTOTYPE");
    expect(await codeOf(() => socket.send("x", { to: stream }))).toBe("EPROTOTYPE");
  });

  test("connectQueueSync and acceptSync", async () => {
    const name = freshName();
    using listener = listenQueue(name);
    expect(await codeOf(() => listener.acceptSync({ timeoutMs: 5 }))).toBe("ETIMEDOUT");
    expect(await codeOf(() => connectQueueSync(name, { timeoutMs: 5 }))).toBe("ETIMEDOUT");
    expect(listener.tryAccept()).toBeUndefined(); // it has gone, and nobody is connected with it
    const source = `import { connectQueueSync } from "@/src/index.ts";
      using socket = connectQueueSync(process.argv[2], { timeoutMs: 10_000 });
      socket.sendSync(socket.receiveSync({ timeoutMs: 10_000 }).text().toUpperCase());
      console.log(socket.receiveSync({ timeoutMs: 10_000 }));`;
    await using child = startScript(writeSource(dir, source, "sync.ts"), [name]);
    child.endInput();
    using socket = listener.acceptSync({ timeoutMs: 20_000 });
    expect(socket.peerCredentials().pid).toBe(child.pid);
    socket.sendSync("loud");
    expect(socket.receiveSync({ timeoutMs: 10_000 })?.text()).toBe("LOUD");
    socket.end();
    expect(succeeded(await child.exited)).toBe("null\n");
  });

  test("a full backlog is waited for; a listener that closes refuses who waits", async () => {
    const name = freshName();
    using listener = listenQueue(name, { backlog: 2 });
    const clients = Array.from({ length: 4 }, () => connectQueue(name));
    const codes = clients.slice(2).map((client) => codeOf(() => client));
    await turns();
    const [first, second] = [listener.tryAccept(), listener.tryAccept()];
    expect([first, second].every((socket) => socket instanceof QueueSocket)).toBeTrue();
    const [one, two] = await Promise.all(clients.slice(0, 2));
    await turns();
    listener.close();
    expect(await Promise.all(codes)).toEqual(["ECONNREFUSED", "ECONNREFUSED"]);
    for (const socket of [first, second, one, two]) socket?.close();
  });

  test("a server that says all it has to say and goes before we look", async () => {
    const name = freshName();
    using listener = listenQueue(name);
    const connecting = connectQueue(name);
    await turns();
    const server = listener.tryAccept();
    server?.sendSync("all there is");
    server?.close();
    using calls = fake("fcntl", []);
    using client = await connecting;
    // there is no queue of the server's to have open, so the client is there at its limit, too
    expect(calls.calls.filter(([, command]) => command === file.F_DUPFD_CLOEXEC)).toEqual([]);
    expect(client.peerCredentials()).toMatchObject({ pid: process.pid, uid: process.geteuid!() });
    expect((await client.receive())?.text()).toBe("all there is");
    expect(await client.receive()).toBeNull();
    expect(await codeOf(() => client.send("x"))).toBe("EPIPE");
    client.end();
  });

  test("time is up, or the signal says so", () =>
    leakFree(async () => {
      const name = freshName();
      using listener = listenQueue(name);
      const error = await failure(() => connectQueue(name, { timeoutMs: 10 }));
      expect(error).toMatchObject({ code: "ETIMEDOUT", syscall: "connect", path: name });
      const stop = new AbortController();
      const connecting = thrown(() => connectQueue(name, { signal: stop.signal }));
      await turns();
      stop.abort("enough");
      expect(await connecting).toBe("enough");
      expect(await thrown(() => connectQueue(name, { signal: stop.signal }))).toBe("enough");
      expect(listener.tryAccept()).toBeUndefined();
      expect(listener.ignored).toBe(2);
    }));

  test("allow says no: EACCES, and the next is served", async () => {
    const name = freshName();
    let asked = 0;
    const allow = ({ pid }: { pid: number | null }): boolean => pid === process.pid && asked++ > 0;
    using listener = listenQueue(name, { allow });
    const accepting = listener.accept();
    expect(await codeOf(() => connectQueue(name))).toBe("EACCES");
    using client = await connectQueue(name);
    using server = await accepting;
    client.send("x");
    expect((await server.receive())?.text()).toBe("x");
  });

  test("only true is yes; a promise is a TypeError here, and EACCES there", async () => {
    const name = freshName();
    let answer = (): unknown => undefined;
    using listener = listenQueue(name, { allow: () => answer() as boolean });
    const accepting = listener.accept();
    for (const no of [1, "no", { ok: false }, undefined]) {
      answer = () => no;
      expect(await codeOf(() => connectQueue(name))).toBe("EACCES");
    }
    // rejected when it is asked: nobody would have taken it before
    answer = () => Promise.reject(new Error("later"));
    const refused = codeOf(() => connectQueue(name));
    expect(await thrown(() => accepting)).toBeInstanceOf(TypeError);
    expect(await refused).toBe("EACCES");
    answer = () => true;
    const next = listener.accept();
    using client = await connectQueue(name);
    using server = await next;
    expect([client.closed, server.closed]).toEqual([false, false]);
  });

  test("the iterator ends with the listener; accept gets ERR_CLOSED or the reason", async () => {
    const name = freshName();
    using listener = listenQueue(name);
    const seen: QueueSocket[] = [];
    const serving = (async () => {
      for await (const socket of listener) if (seen.push(socket) === 2) listener.close();
    })();
    const clients = await Promise.all([connectQueue(name), connectQueue(name)]);
    await serving;
    for (const socket of [...clients, ...seen]) socket.close();
    expect(await codeOf(() => listener.accept())).toBe("ERR_CLOSED");
    expect(await codeOf(() => listener.tryAccept())).toBe("ERR_CLOSED");
    using other = listenQueue(name).unref().ref();
    const waiting = codeOf(() => other.accept());
    const aborted = thrown(() => other.accept({ signal: AbortSignal.abort("no") }));
    await turns();
    await other[Symbol.asyncDispose]();
    expect([await waiting, await aborted]).toEqual(["ERR_CLOSED", "no"]);
  });
});

peerTest("with /dev/mqueue in sight: connections have no name", ["root", "unshare"], async () => {
  const source = `import { readdirSync } from "node:fs";
    import { connectQueue, listenQueue, openQueueDatagram } from "@/src/index.ts";
    const list = () => console.log(readdirSync(process.argv[2]).sort().join(" "));
    const listener = listenQueue("/server");
    const clients = await Promise.all([1, 2, 3].map(async () => {
      const [client, server] = await Promise.all([connectQueue("/server"), listener.accept()]);
      return [client, server];
    }));
    const datagram = openQueueDatagram();
    list();
    listener.close();
    list();
    await clients[0][0].send("works");
    console.log((await clients[0][1].receive()).text());
    process.exit();`;
  const file = writeSource(dir, source, "names.ts");
  const script = `mkdir -p "$1" && mount -t mqueue none "$1" && exec "$2" "$3" "$1"`;
  const where = dir.file("mqueue");
  const command = ["unshare", "--mount", "--ipc", "sh", "-c", script, "sh", where];
  await using child = start([...command, process.execPath, file]);
  child.endInput();
  expect(succeeded(await child.exited)).toBe("server.queue-socket\n\nworks\n");
});

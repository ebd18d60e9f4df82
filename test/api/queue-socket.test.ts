// Connected queue sockets within one process: what is promised of each call.

import { describe, expect, test } from "bun:test";
import { randomInt } from "node:crypto";
import { readlinkSync } from "node:fs";
import { QueueMessage, type QueueSocket } from "../../src/index.ts";
import { unlock } from "../../src/syscalls/fd.ts";
import { queuePair, rawSendTo, readBytes } from "./queue-sockets.ts";
import {
  codeOf,
  eventually,
  failure,
  isCloseOnExec,
  isOpen,
  leakFree,
  pattern,
  thrown,
  turns,
} from "./tools.ts";

const tiny = { maxMessages: 2, messageBytes: 64 };

/** Fill the other end's queue; how many bytes it took. */
function fillUp(socket: QueueSocket): number {
  for (let bytes = 0; ; ) {
    const took = socket.trySend("x".repeat(48));
    if (took === null) return bytes;
    bytes += took;
  }
}

describe("bytes", () => {
  test("go both ways, in order, whatever is sent", async () => {
    using pair = await queuePair();
    await pair.client.send(["a", new Uint8Array([0, 98]), new ArrayBuffer(1)]);
    const message = await pair.server.receive();
    expect(message).toBeInstanceOf(QueueMessage);
    expect(message?.text()).toBe("a\0b\0");
    await pair.server.send("grüße");
    expect((await pair.client.receive())?.text()).toBe("grüße");
    await pair.client.send("");
    expect(pair.client.trySend("")).toBe(0);
    expect(pair.server.tryReceive()).toBeUndefined();
  });

  test("are cut into frames of the other end's size and put together again", async () => {
    using pair = await queuePair(tiny);
    const data = pattern(10_000);
    const sending = pair.client.send(data);
    expect(data.equals(await readBytes(pair.server, data.length))).toBeTrue();
    await sending;
    expect(pair.client.queuedBytes).toBe(0);
  });

  test("what is left of a frame comes with the next receive", async () => {
    using pair = await queuePair();
    await pair.client.send("abcdef");
    expect(pair.server.tryReceive({ maxBytes: 2 })?.text()).toBe("ab");
    expect((await pair.server.receive({ maxBytes: 3 }))?.text()).toBe("cde");
    expect(pair.server.receiveSync({ timeoutMs: 0 })?.text()).toBe("f");
    expect(pair.server.tryReceive()).toBeUndefined();
  });

  test("have memory of their own", async () => {
    using pair = await queuePair();
    await pair.client.send("one");
    await pair.client.send("two");
    const [one, two] = [pair.server.tryReceive(), pair.server.tryReceive()];
    expect([one?.text(), two?.text()]).toEqual(["one", "two"]);
  });

  test("many pieces of any length, both ways at once", async () => {
    using pair = await queuePair({ maxMessages: 3, messageBytes: 100 });
    const data = pattern(60_000);
    const pour = async (from: QueueSocket): Promise<void> => {
      for (let at = 0; at < data.length; ) {
        const length = randomInt(1, 700);
        await from.send(data.subarray(at, at + length));
        at += length;
      }
      from.end();
    };
    const drink = async (to: QueueSocket): Promise<Buffer> => {
      const parts: Uint8Array[] = [];
      for await (const message of to) parts.push(message.data);
      return Buffer.concat(parts);
    };
    const { client, server } = pair;
    const [, , one, other] = await Promise.all([
      pour(client),
      pour(server),
      drink(client),
      drink(server),
    ]);
    expect(one.equals(data) && other.equals(data)).toBeTrue();
  });
});

describe("back-pressure", () => {
  test("a send waits for room; those that wait keep their order", async () => {
    using pair = await queuePair(tiny);
    const filled = fillUp(pair.client);
    expect(filled).toBe(96);
    const sends = ["1", "2", "3"].map((text) => pair.client.send(text));
    expect(pair.client.queuedBytes).toBe(3);
    expect(pair.client.trySend("overtaking")).toBeNull();
    expect(await codeOf(() => pair.client.sendSync("overtaking"))).toBe("EBUSY");
    expect((await readBytes(pair.server, filled + 3)).toString()).toEndWith("x123");
    await Promise.all(sends);
  });

  test("trySend takes what fits", async () => {
    using pair = await queuePair(tiny);
    expect(pair.client.trySend("y".repeat(1_000))).toBe(96);
    expect(pair.client.trySend("z")).toBeNull();
  });

  test("more than maxQueuedBytes is ENOBUFS", async () => {
    using pair = await queuePair({ ...tiny, maxQueuedBytes: 100 });
    fillUp(pair.client);
    const first = pair.client.send("a".repeat(200));
    expect(await codeOf(() => pair.client.send("b"))).toBe("ENOBUFS");
    await readBytes(pair.server, 96 + 200);
    await first;
  });

  test("a thread that blocks: time is up, and then there is room", async () => {
    using pair = await queuePair(tiny);
    fillUp(pair.client);
    expect(await codeOf(() => pair.client.sendSync("late", { timeoutMs: 5 }))).toBe("ETIMEDOUT");
    await readBytes(pair.server, 96);
    pair.client.sendSync("now", { timeoutMs: 1_000 });
    expect(pair.server.receiveSync({ timeoutMs: 1_000 })?.text()).toBe("now");
    expect(await codeOf(() => pair.server.receiveSync({ timeoutMs: 5 }))).toBe("ETIMEDOUT");
  });

  test("an aborted send takes nothing, unless it is half out", async () => {
    using pair = await queuePair(tiny);
    fillUp(pair.client);
    const stop = new AbortController();
    const whole = thrown(() => pair.client.send("never", { signal: stop.signal }));
    await turns();
    stop.abort("enough");
    expect(await whole).toBe("enough");
    await readBytes(pair.server, 96);
    const again = new AbortController();
    const data = pattern(300);
    const half = thrown(() => pair.client.send(data, { signal: again.signal }));
    await turns();
    again.abort("enough");
    expect(await half).toBe("enough");
    const sent = Buffer.from(data);
    data.fill(0); // ours again
    expect(sent.equals(await readBytes(pair.server, 300))).toBeTrue();
    expect(await thrown(() => pair.client.send("x", { signal: again.signal }))).toBe("enough");
  });

  test("an aborted receive takes nothing; the next is still told of the end", async () => {
    using pair = await queuePair();
    const stop = new AbortController();
    const receiving = thrown(() => pair.server.receive({ signal: stop.signal }));
    await turns();
    stop.abort("enough");
    expect(await receiving).toBe("enough");
    const next = pair.server.receive();
    await turns();
    await pair.client.send("here");
    expect((await next)?.text()).toBe("here");
  });
});

describe("the end", () => {
  test("end(): what was sent before, then null, and the other way goes on", async () => {
    using pair = await queuePair(tiny);
    const sending = pair.client.send("z".repeat(200)); // more than there is room for
    pair.client.end();
    pair.client.end();
    expect(await codeOf(() => pair.client.send("late"))).toBe("EPIPE");
    expect(await codeOf(() => pair.client.trySend("late"))).toBe("EPIPE");
    expect((await readBytes(pair.server, 200)).toString()).toBe("z".repeat(200));
    await sending;
    expect(await pair.server.receive()).toBeNull();
    expect(pair.server.tryReceive()).toBeNull();
    await pair.server.send("on");
    expect((await pair.client.receive())?.text()).toBe("on");
  });

  for (const waits of [false, true]) {
    test(`close(): the other end ${waits ? "waits already" : "asks later"}`, async () => {
      using pair = await queuePair();
      const waiting = waits ? pair.server.receive() : null;
      await turns();
      pair.client.close();
      expect(await (waiting ?? pair.server.receive())).toBeNull();
      expect(await codeOf(() => pair.server.send("x"))).toBe("EPIPE");
      expect(pair.client.closed).toBeTrue();
    });
  }

  test("close() with a full queue at the other end: all of it, then the end", async () => {
    using pair = await queuePair(tiny);
    const filled = fillUp(pair.client);
    pair.client.close();
    expect((await readBytes(pair.server, filled)).length).toBe(filled);
    expect(await pair.server.receive()).toBeNull();
  });

  test("close() of the reader ends a send that waits for room", async () => {
    using pair = await queuePair(tiny);
    fillUp(pair.client);
    const sending = failure(() => pair.client.send("y"));
    await turns();
    pair.server.close();
    expect(await sending).toMatchObject({ code: "EPIPE", syscall: "mq_timedsend" });
  });

  test("an end that goes without a word, while its process lives on", async () => {
    using pair = await queuePair();
    const waiting = pair.server.receive();
    await turns();
    unlock(pair.client.fd); // as the kernel does when a forgotten descriptor is closed
    expect(await waiting).toBeNull();
  });

  test("what waits on a socket that is closed gets ERR_CLOSED", async () => {
    using pair = await queuePair(tiny);
    fillUp(pair.client);
    const waiting = [codeOf(() => pair.client.receive()), codeOf(() => pair.client.send("x"))];
    await turns();
    pair.client.close();
    pair.client.close();
    expect(await Promise.all(waiting)).toEqual(["ERR_CLOSED", "ERR_CLOSED"]);
    const { client } = pair;
    const calls = [
      () => client.receive(),
      () => client.tryReceive(),
      () => client.receiveSync(),
      () => client.send("x"),
      () => client.trySend("x"),
      () => client.sendSync("x"),
      () => client.inherit(),
      () => client.peerCredentials(),
      () => client.peer(),
    ];
    for (const call of calls) expect(await codeOf(call)).toBe("ERR_CLOSED");
    expect([client.fd, ...client.fds]).toEqual([-1, -1, -1]);
    client.end();
  });

  test("await using: what is queued goes out first", async () => {
    using pair = await queuePair(tiny);
    const reading = readBytes(pair.server, 500);
    {
      await using client = pair.client;
      client.send("q".repeat(500));
    }
    expect((await reading).length).toBe(500);
    expect(await pair.server.receive()).toBeNull();
  });
});

describe("what a socket is", () => {
  test("two descriptors, close-on-exec, and nothing left of it", () =>
    leakFree(async () => {
      using pair = await queuePair();
      const { fds } = pair.client;
      for (const fd of fds) expect([isOpen(fd), isCloseOnExec(fd)]).toEqual([true, true]);
      expect(fds[0]).toBe(pair.client.fd);
      const waiting = pair.client.receive().catch(() => {});
      await turns();
      pair.client.close();
      await waiting;
      // what was opened by way of another process's table is closed beside this thread
      await eventually(() => !fds.some(isOpen), "both are closed");
    }));

  test("the peer: its process, user and program", async () => {
    using pair = await queuePair();
    const self = { pid: process.pid, uid: process.geteuid!(), gid: process.getegid!() };
    expect(pair.client.peerCredentials()).toEqual(self);
    using peer = pair.server.peer();
    expect(peer).toMatchObject({ ...self, alive: true, source: "peerpidfd" });
    expect(peer.executable).toBe(readlinkSync("/proc/self/exe"));
    expect(peer.pidfd?.describe().kind).toBe("pidfd");
  });

  test("arguments are checked before any call", async () => {
    using pair = await queuePair();
    const { client } = pair;
    expect(await thrown(() => client.receive({ maxBytes: 0 }))).toBeInstanceOf(RangeError);
    expect(await thrown(() => client.send(7 as never))).toBeInstanceOf(TypeError);
    expect(await thrown(() => client.sendSync("", { timeoutMs: -1 }))).toBeInstanceOf(RangeError);
    expect(await thrown(() => client.inherit({ as: [3, -1] }))).toBeInstanceOf(RangeError);
  });

  test("messages that are no frames, or have another tag, are dropped and counted", async () => {
    using pair = await queuePair();
    const { server, client } = pair;
    const wrongTag = Buffer.alloc(20);
    wrongTag.write("BQS1");
    wrongTag[4] = 4;
    rawSendTo(server.fd, wrongTag);
    rawSendTo(server.fd, Buffer.from("rubbish"));
    rawSendTo(server.fd, new Uint8Array(0));
    const waiting = server.receive();
    await turns();
    await client.send("after");
    expect((await waiting)?.text()).toBe("after");
    expect(server.ignored).toBe(3);
  });

  test("ref and unref", async () => {
    using pair = await queuePair();
    expect(pair.server.unref()).toBe(pair.server);
    const waiting = pair.server.receive();
    let seen = false;
    const watching = waiting.then(() => (seen = true));
    await pair.client.send("x");
    await eventually(() => seen, "an unreferenced socket receives");
    await watching;
    expect(pair.server.ref()).toBe(pair.server);
  });
});

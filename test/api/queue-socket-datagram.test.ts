// Datagrams over message queues: boundaries, senders, priorities, and waiting instead of dropping.

import { describe, expect, test } from "bun:test";
import {
  MessageQueue,
  maxPriority,
  openQueueDatagram,
  QueueDatagram,
  type QueueDatagramSocket,
} from "../../src/index.ts";
import { freshName, kernelNameOf, rawSend, rawSendTo } from "./queue-sockets.ts";
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

const tiny = { maxMessages: 2, messageBytes: 128 };

/** Fill the queue of `to`; how many datagrams it took. */
function fillUp(from: QueueDatagramSocket, to: string): number {
  for (let count = 0; ; count++) if (from.trySend("fill", { to }) === null) return count;
}

describe("datagrams", () => {
  test("come whole, with their sender and priority; an answer finds its way", async () => {
    const name = freshName();
    using server = openQueueDatagram(name);
    using client = openQueueDatagram();
    expect([server.name, client.name]).toEqual([name, null]);
    expect(server.address).toEqual({ name });
    const data = pattern(3_000);
    await client.send(data, { to: name, priority: 7 });
    await client.send("", { to: { name } });
    const message = await server.receive();
    expect(message).toBeInstanceOf(QueueDatagram);
    expect(data.equals(message.data)).toBeTrue();
    expect(message.priority).toBe(7);
    expect(message.from).toEqual(client.address);
    expect((await server.receive()).data).toEqual(new Uint8Array(0));
    expect(server.trySend("answer", { to: message.from! })).toBe(6);
    const answer = await client.receive();
    expect([answer.text(), answer.from]).toEqual(["answer", { name }]);
  });

  test("two without a name, once they know each other", async () => {
    using a = openQueueDatagram();
    using b = openQueueDatagram();
    await a.send("hello", { to: JSON.parse(JSON.stringify(b.address)) });
    const { from } = await b.receive();
    await b.send(["good", "bye"], { to: from! });
    expect((await a.receive()).text()).toBe("goodbye");
  });

  test("higher priorities first, then the older ones", async () => {
    const name = freshName();
    using server = openQueueDatagram(name);
    using client = openQueueDatagram();
    for (const [i, priority] of [1, 5, 0, 5, maxPriority, 1].entries()) {
      client.sendSync(`${i}`, { to: name, priority });
    }
    const got = Array.from({ length: 6 }, () => server.tryReceive()?.text());
    expect(got.join("")).toBe("413052");
    expect(server.tryReceive()).toBeUndefined();
    expect(await codeOf(() => server.receiveSync({ timeoutMs: 3 }))).toBe("ETIMEDOUT");
  });

  test("to itself", async () => {
    using socket = openQueueDatagram(freshName());
    const waiting = socket.receive();
    await turns();
    await socket.send("echo", { to: socket.address });
    expect((await waiting).text()).toBe("echo");
  });
});

describe("a full receiver", () => {
  test("is waited for; nothing overtakes, nothing is dropped", async () => {
    const name = freshName();
    using server = openQueueDatagram(name, tiny);
    using client = openQueueDatagram();
    expect(fillUp(client, name)).toBe(2);
    const sends = ["1", "2", "3"].map((text) => client.send(text, { to: name }));
    await turns();
    expect(client.trySend("overtaking", { to: name })).toBeNull();
    expect(await codeOf(() => client.sendSync("overtaking", { to: name }))).toBe("EBUSY");
    const got: string[] = [];
    while (got.length < 5) got.push((await server.receive()).text());
    await Promise.all(sends);
    expect(got).toEqual(["fill", "fill", "1", "2", "3"]);
    expect(client.queuedBytes).toBe(0);
  });

  test("does not hold up sends to another", async () => {
    const [full, free] = [freshName(), freshName()];
    using one = openQueueDatagram(full, tiny);
    using other = openQueueDatagram(free, tiny);
    using client = openQueueDatagram();
    fillUp(client, full);
    const waiting = client.send("stuck", { to: full });
    await client.send("through", { to: free });
    expect((await other.receive()).text()).toBe("through");
    for (const text of ["fill", "fill", "stuck"]) expect((await one.receive()).text()).toBe(text);
    await waiting;
  });

  test("a thread that blocks, an abort, ENOBUFS", async () => {
    const name = freshName();
    using server = openQueueDatagram(name, tiny);
    using client = openQueueDatagram(undefined, { maxQueuedBytes: 10 });
    fillUp(client, name);
    const to = { to: name };
    expect(await codeOf(() => client.sendSync("x", { ...to, timeoutMs: 5 }))).toBe("ETIMEDOUT");
    const stop = new AbortController();
    const aborted = thrown(() => client.send("never", { ...to, signal: stop.signal }));
    expect(await codeOf(() => client.send("too much", to))).toBe("ENOBUFS");
    stop.abort("enough");
    expect(await aborted).toBe("enough");
    const late = client.send("late", to);
    server.tryReceive();
    server.tryReceive();
    expect((await server.receive()).text()).toBe("late");
    await late;
  });

  test("that closes: ECONNREFUSED for who waits, and for who comes", async () => {
    const name = freshName();
    using server = openQueueDatagram(name, tiny);
    using client = openQueueDatagram();
    fillUp(client, name);
    const sending = failure(() => client.send("x", { to: name }));
    await turns();
    server.close();
    expect(await sending).toMatchObject({ code: "ECONNREFUSED", path: name });
    expect(await codeOf(() => client.send("x", { to: name }))).toBe("ENOENT");
    using successor = openQueueDatagram(name, tiny);
    await client.send("next", { to: name });
    expect((await successor.receive()).text()).toBe("next");
  });
});

describe("receivers that are not there", () => {
  test("a name that a crash left, a socket that has closed, a process that is gone", async () => {
    using client = openQueueDatagram();
    const name = freshName();
    using left = MessageQueue.open(kernelNameOf(name), { create: true });
    expect(await codeOf(() => client.send("x", { to: name }))).toBe("ECONNREFUSED");
    left.unlink();
    const gone = openQueueDatagram();
    const { address } = gone;
    gone.close();
    expect(await codeOf(() => client.send("x", { to: address }))).toBe("ECONNREFUSED");
    const nobody = { pid: 2 ** 31 - 1, fd: 3, inode: 4, tagLow: 5, tagHigh: 6 };
    expect(await codeOf(() => client.send("x", { to: nobody }))).toBe("ECONNREFUSED");
    expect(await codeOf(() => client.trySend("x", { to: freshName() }))).toBe("ENOENT");
  });

  test("a datagram with another tag than the receiver's is dropped there", async () => {
    using client = openQueueDatagram();
    using other = openQueueDatagram();
    const address = other.address as { tagLow: number };
    await client.send("forged", {
      to: { ...address, tagLow: (address.tagLow ^ 1) >>> 0 } as never,
    });
    await client.send("true", { to: other.address });
    expect((await other.receive()).text()).toBe("true");
    expect(other.ignored).toBe(1);
  });
});

describe("what is asked for", () => {
  test("is checked before any call", async () => {
    using client = openQueueDatagram();
    const wrong: readonly (readonly [to: unknown, error: typeof TypeError | typeof RangeError])[] =
      [
        [undefined, TypeError],
        [7, TypeError],
        [{}, TypeError],
        [null, TypeError],
        ["x", RangeError],
        [{ name: "/" }, RangeError],
        [{ pid: 0, fd: 1, inode: 1, tagLow: 0, tagHigh: 0 }, RangeError],
        [{ pid: 1, fd: 1, inode: 1, tagLow: -1, tagHigh: 0 }, RangeError],
      ];
    for (const [to, kind] of wrong) {
      expect(await thrown(() => client.send("x", { to } as never))).toBeInstanceOf(kind);
    }
    const to = "/x";
    expect(await thrown(() => client.send(7 as never, { to }))).toBeInstanceOf(TypeError);
    expect(await thrown(() => client.trySend("", { to, priority: 32768 }))).toBeInstanceOf(
      RangeError,
    );
  });

  test("more than the receiver's queue takes is EMSGSIZE with its bound", async () => {
    const name = freshName();
    using server = openQueueDatagram(name, tiny);
    using client = openQueueDatagram();
    const max = tiny.messageBytes - 16 - 24;
    await client.send("x".repeat(max), { to: name });
    const error = await failure(() => client.send("x".repeat(max + 1), { to: name }));
    expect(error).toMatchObject({ code: "EMSGSIZE", limit: "messageBytes", value: 128 });
    expect(server.tryReceive()?.data.length).toBe(max);
  });

  test("senders that say nothing, or what cannot be a name; rubbish is dropped", async () => {
    const name = freshName();
    using server = openQueueDatagram(name);
    const frame = (kind: number, from: Uint8Array): Uint8Array => {
      const head = Buffer.alloc(16);
      head.write("BQS1");
      head[4] = 8;
      head[5] = kind;
      head.writeUInt16LE(from.length, 6);
      return Buffer.concat([head, from, Buffer.from("data")]);
    };
    rawSend(name, frame(0, new Uint8Array(0)));
    rawSend(name, frame(2, Buffer.from("no slash")));
    rawSend(name, frame(1, Buffer.from("short")));
    rawSendTo(server.fd, Buffer.from("rubbish"));
    for (let i = 0; i < 2; i++) {
      const message = await server.receive();
      expect([message.text(), message.from]).toEqual(["data", null]);
    }
    expect(server.tryReceive()).toBeUndefined();
    expect(server.ignored).toBe(2);
  });
});

describe("what a socket is", () => {
  test("one descriptor, close-on-exec, and nothing left of it or of its targets", () =>
    leakFree(async () => {
      using client = openQueueDatagram();
      const servers = Array.from({ length: 100 }, () => openQueueDatagram(undefined, tiny));
      expect([isOpen(client.fd), isCloseOnExec(client.fd)]).toEqual([true, true]);
      for (const server of servers) await client.send("one of many", { to: server.address });
      for (const server of servers) expect(server.tryReceive()?.text()).toBe("one of many");
      const waiting = codeOf(() => servers[0]!.receive());
      await turns();
      for (const server of servers) server.close();
      expect(await waiting).toBe("ERR_CLOSED");
    }));

  test("after close: ERR_CLOSED; the iterator ends", async () => {
    const name = freshName();
    using server = openQueueDatagram(name, tiny);
    using client = openQueueDatagram();
    const seen: string[] = [];
    const reading = (async () => {
      for await (const message of server) {
        seen.push(message.text());
        if (seen.length === 3) server.close();
      }
    })();
    for (const text of ["a", "b", "c"]) await client.send(text, { to: name });
    await reading;
    expect(seen).toEqual(["a", "b", "c"]);
    for (const call of [
      () => server.receive(),
      () => server.tryReceive(),
      () => server.receiveSync(),
      () => server.send("x", { to: name }),
      () => server.trySend("x", { to: name }),
      () => server.sendSync("x", { to: name }),
    ]) {
      expect(await codeOf(call)).toBe("ERR_CLOSED");
    }
  });

  test("await using: what is queued goes out first", async () => {
    const name = freshName();
    using server = openQueueDatagram(name, tiny);
    const got: string[] = [];
    const reading = eventually(() => {
      for (let next = server.tryReceive(); next !== undefined; next = server.tryReceive()) {
        got.push(next.text());
      }
      return got.length === 20;
    }, "20 datagrams");
    {
      await using client = openQueueDatagram().unref();
      for (let i = 0; i < 20; i++) client.send(String(i), { to: name });
    }
    await reading;
    expect(got).toEqual(Array.from({ length: 20 }, (_, i) => String(i)));
  });
});

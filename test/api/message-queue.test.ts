// Message queues within one process: what is promised of each call.

import { describe, expect, test } from "bun:test";
import { fstatSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { Fd, MessageQueue, maxPriority, QueueMessage, socketPair } from "../../src/index.ts";
import { namedQueue, newQueue, removeQueue } from "./queues.ts";
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
  withLibc,
} from "./tools.ts";

const small = { maxMessages: 2, messageBytes: 16 };

describe("messages", () => {
  test("come whole, with their priority", async () => {
    using queue = newQueue();
    const data = pattern(8192);
    await queue.send(data, { priority: maxPriority });
    await queue.send("");
    await queue.send(["a", new Uint8Array([0, 98]), new ArrayBuffer(1)]);
    const message = await queue.receive();
    expect(message).toBeInstanceOf(QueueMessage);
    expect(message.priority).toBe(32767);
    expect(data.equals(message.data)).toBeTrue();
    expect((await queue.receive()).data).toEqual(new Uint8Array(0));
    expect((await queue.receive()).text()).toBe("a\0b\0");
  });

  test("have memory of their own", () => {
    using queue = newQueue();
    queue.trySend("one");
    queue.trySend("two");
    const [one, two] = [queue.tryReceive(), queue.tryReceive()];
    expect([one?.text(), two?.text()]).toEqual(["one", "two"]);
  });

  test("higher priorities first, then the older ones", () => {
    using queue = newQueue();
    const sent = [1, 5, 0, 5, 32767, 1];
    for (const [i, priority] of sent.entries()) queue.trySend(`${i}`, { priority });
    const received = sent.map(() => queue.tryReceive()?.text());
    expect(received.join("")).toBe("413052");
  });

  test("undefined and false: nothing here, no room", () => {
    using queue = newQueue(small);
    expect(queue.tryReceive()).toBeUndefined();
    expect(queue.trySend("1")).toBeTrue();
    expect(queue.trySend("2")).toBeTrue();
    expect(queue.trySend("3")).toBeFalse();
    expect(queue.attributes()).toEqual({ ...small, currentMessages: 2 });
    expect(queue.maxMessages).toBe(2);
    expect(queue.messageBytes).toBe(16);
  });

  test("one that is too long is an error with the queue's bound, and is not sent", async () => {
    using queue = newQueue(small);
    const error = await failure(() => queue.send("x".repeat(17)));
    expect(error).toMatchObject({ code: "EMSGSIZE", limit: "messageBytes", value: 16 });
    expect(error.errno).toBe(-errno.EMSGSIZE);
    expect(await codeOf(() => queue.trySend("x".repeat(17)))).toBe("EMSGSIZE");
    expect(queue.attributes().currentMessages).toBe(0);
  });
});

describe("waiting", () => {
  test("a receive waits for a message, a send for room; each in its order", async () => {
    using queue = newQueue(small);
    const received = [queue.receive(), queue.receive(), queue.receive()];
    await turns();
    const sent = ["1", "2", "3", "4", "5", "6"].map((text) => queue.send(text));
    const first = await Promise.all(received);
    expect(first.map((message) => message.text())).toEqual(["1", "2", "3"]);
    expect(queue.trySend("overtaking")).toBeFalse();
    for (const text of ["4", "5", "6"]) expect((await queue.receive()).text()).toBe(text);
    await Promise.all(sent);
  });

  test("through two descriptors of one queue, both ways", async () => {
    using queue = namedQueue(small);
    using other = MessageQueue.open(queue.name);
    const waiting = other.receive();
    await turns();
    await queue.send("across");
    expect((await waiting).text()).toBe("across");
    other.trySend("1");
    other.trySend("2");
    let sent = false;
    const sending = queue.send("3").then(() => (sent = true));
    await turns();
    expect(sent).toBeFalse();
    expect(other.tryReceive()?.text()).toBe("1");
    await sending;
    expect([other.tryReceive()?.text(), other.tryReceive()?.text()]).toEqual(["2", "3"]);
  });

  test("an aborted wait ends with the signal's reason, and takes nothing", async () => {
    using queue = newQueue(small);
    const reason = new Error("enough");
    const stop = new AbortController();
    const receiving = thrown(() => queue.receive({ signal: stop.signal }));
    await turns();
    stop.abort(reason);
    expect(await receiving).toBe(reason);
    queue.trySend("1");
    queue.trySend("2");
    const again = new AbortController();
    const sending = thrown(() => queue.send("3", { signal: again.signal }));
    await turns();
    again.abort(reason);
    expect(await sending).toBe(reason);
    expect(await thrown(() => queue.send("4", { signal: again.signal }))).toBe(reason);
    expect([queue.tryReceive()?.text(), queue.tryReceive()?.text()]).toEqual(["1", "2"]);
    expect(queue.tryReceive()).toBeUndefined();
  });

  test("close ends every wait with ERR_CLOSED", async () => {
    const queue = newQueue(small);
    queue.trySend("1");
    queue.trySend("2");
    const sending = codeOf(() => queue.send("3"));
    await turns();
    queue.close();
    queue.close();
    expect(await sending).toBe("ERR_CLOSED");
    for (const use of [
      () => queue.receive(),
      () => queue.send(""),
      () => queue.tryReceive(),
      () => queue.trySend(""),
      () => queue.receiveSync(),
      () => queue.sendSync(""),
      () => queue.attributes(),
      () => queue.unlink(),
      () => queue.release(),
    ]) {
      expect(await codeOf(use)).toBe("ERR_CLOSED");
    }
    expect(queue.fd).toBe(-1);
  });

  test("no more than maxQueuedBytes wait here", async () => {
    using queue = newQueue({ ...small, maxQueuedBytes: 20 });
    queue.trySend("1");
    queue.trySend("2");
    const waiting = queue.send("x".repeat(16));
    expect(await codeOf(() => queue.send("y".repeat(16)))).toBe("ENOBUFS");
    queue.tryReceive();
    await waiting;
    expect(await codeOf(() => queue.sendSync("", { timeoutMs: 0 }))).toBe("ETIMEDOUT");
  });

  test("asyncDispose sends what is queued first", async () => {
    using reader = namedQueue({ ...small, maxMessages: 1 });
    const received: string[] = [];
    {
      await using writer = MessageQueue.open(reader.name, { access: "write" });
      for (const text of ["1", "2", "3"]) writer.send(text);
      setImmediate(async () => {
        for (let i = 0; i < 3; i++) received.push((await reader.receive()).text());
      });
    }
    await eventually(() => received.length === 3, "all of it received");
    expect(received).toEqual(["1", "2", "3"]);
  });

  test("the iterator ends with the queue", async () => {
    const queue = newQueue();
    const seen: string[] = [];
    const reading = (async () => {
      for await (const message of queue) {
        seen.push(message.text());
        if (seen.length === 2) queue.close();
      }
    })();
    await queue.send("1");
    await queue.send("2");
    await reading;
    expect(seen).toEqual(["1", "2"]);
  });
});

describe("blocking the thread", () => {
  test("takes what is there, gives up after its time", async () => {
    using queue = newQueue(small);
    queue.sendSync("1");
    queue.sendSync("2", { priority: 1, timeoutMs: 1_000 });
    expect(await codeOf(() => queue.sendSync("3", { timeoutMs: 5 }))).toBe("ETIMEDOUT");
    expect(queue.receiveSync().text()).toBe("2");
    expect(queue.receiveSync({ timeoutMs: 1_000 }).text()).toBe("1");
    const begin = performance.now();
    expect(await codeOf(() => queue.receiveSync({ timeoutMs: 20 }))).toBe("ETIMEDOUT");
    expect(performance.now() - begin).toBeGreaterThanOrEqual(19);
  });

  test("not before what is queued", async () => {
    using queue = newQueue(small);
    queue.trySend("1");
    queue.trySend("2");
    const waiting = queue.send("3");
    expect(await codeOf(() => queue.sendSync("4"))).toBe("EBUSY");
    expect(await codeOf(() => queue.release())).toBe("EBUSY");
    queue.tryReceive();
    await waiting;
  });
});

describe("the descriptor", () => {
  test("is close-on-exec, and does not block", () => {
    using queue = newQueue();
    expect(isCloseOnExec(queue.fd)).toBeTrue();
    const fd = queue.release();
    expect(queue.closed).toBeTrue();
    expect(fd.nonBlocking).toBeTrue();
    expect(fd.describe()).toMatchObject({ kind: "message-queue", access: "read-write" });
    fd.close();
  });

  test("passed over a socket it is the same queue", async () => {
    const [a, b] = socketPair("seqpacket");
    using queue = newQueue(small);
    await a.send("a queue", { fds: [queue] });
    using message = (await b.receive())!;
    using received = MessageQueue.adopt(message.takeFds()[0]!);
    a.close();
    b.close();
    expect(received.name).toBeNull();
    expect(received.created).toBeFalse();
    expect(isCloseOnExec(received.fd)).toBeTrue();
    const coming = received.receive();
    await queue.send("through it", { priority: 3 });
    expect(await coming).toMatchObject({ priority: 3 });
    expect(await thrown(() => received.unlink())).toBeInstanceOf(TypeError);
  });

  test("one that blocks is used without blocking", async () => {
    using queue = newQueue({ ...small, maxMessages: 1 });
    const fd = queue.release();
    fd.nonBlocking = false;
    using adopted = MessageQueue.adopt(fd);
    expect(adopted.tryReceive()).toBeUndefined();
    expect(adopted.trySend("1")).toBeTrue();
    expect(adopted.trySend("2")).toBeFalse();
    expect(await codeOf(() => adopted.sendSync("2", { timeoutMs: 1 }))).toBe("ETIMEDOUT");
    expect((await adopted.receive()).text()).toBe("1");
  });

  test("adopt: a number is taken, an object duplicated, what is none refused", async () => {
    using queue = newQueue();
    using shared = MessageQueue.adopt({ fd: queue.fd });
    expect(shared.fd).not.toBe(queue.fd);
    const number = queue.release().release();
    const taken = MessageQueue.adopt(number);
    taken.close();
    // nobody has said that this number is a queue: it is closed beside this thread
    await eventually(() => !isOpen(number), "it is closed");
    const [a, b] = socketPair("stream");
    const error = await failure(() => MessageQueue.adopt(a.fd));
    expect(error).toMatchObject({ code: "EBADF", syscall: "mq_getattr" });
    expect(isOpen(a.fd)).toBeTrue();
    a.close();
    b.close();
    expect(await thrown(() => MessageQueue.adopt(-1))).toBeInstanceOf(RangeError);
  });

  test("access is as asked for; the other direction says so", async () => {
    using queue = namedQueue();
    using reader = MessageQueue.open(queue.name, { access: "read" });
    using writer = MessageQueue.open(queue.name, { access: "write" });
    expect([reader.access, writer.access]).toEqual(["read", "write"]);
    const error = await failure(() => reader.send("x"));
    expect(error.code).toBe("EBADF");
    expect(error.message).toContain("opened to read");
    expect(await codeOf(() => writer.receive())).toBe("EBADF");
    await writer.send("fine");
    expect((await reader.receive()).text()).toBe("fine");
    using adopted = MessageQueue.adopt(Fd.duplicate(reader));
    expect(adopted.access).toBe("read");
  });

  test("nothing leaks, whatever fails", () =>
    leakFree(async () => {
      for (let i = 0; i < 50; i++) {
        const queue = newQueue({ exclusive: "lifetime" });
        const waiting = codeOf(() => queue.receive());
        queue[Symbol.dispose]();
        expect(await waiting).toBe("ERR_CLOSED");
      }
      using queue = namedQueue({ exclusive: "lifetime" });
      const { name } = queue;
      await failure(() => MessageQueue.open(name, { create: true, exclusive: true }));
      await failure(() => MessageQueue.open(name, { exclusive: "lifetime" }));
      for (const call of ["fchmod", "flock", "mq_getattr"] as const) {
        const fails = { [call]: () => -1 };
        const options = { create: true, exclusive: "lifetime" } as const;
        const other = `${name}-${call}`;
        await withLibc(fails, () => thrown(() => MessageQueue.open(other, options)));
        removeQueue(other);
      }
    }));
});

test("a new queue's mode is exact, whatever the umask", () => {
  const umask = process.umask(0o077);
  try {
    using queue = newQueue({ mode: 0o662 });
    expect(fstatSync(queue.fd).mode & 0o777).toBe(0o662);
    using usual = newQueue();
    expect(fstatSync(usual.fd).mode & 0o777).toBe(0o600);
  } finally {
    process.umask(umask);
  }
});

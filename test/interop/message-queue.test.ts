// Message queues with peers in C and Python, and the life of a process that waits on one.

import { describe, expect, test } from "bun:test";
import { MessageQueue } from "../../src/index.ts";
import { freshQueueName, namedQueue, removeQueue } from "../api/queues.ts";
import { codeOf, eventually, pattern } from "../api/tools.ts";
import { runSource, start, succeeded } from "../support/child.ts";
import { compileC, peerTest } from "../support/peers.ts";

const peer = (): string => compileC("test/fixtures/queue-peer.c", ["-lrt"]);

describe("with C", () => {
  peerTest("20,000 messages in: all of them, in the order of each priority", ["cc"], async () => {
    using queue = namedQueue({ maxMessages: 10, messageBytes: 32 });
    const count = 20_000;
    await using child = start([peer(), "send", queue.name, String(count)]);
    const last = [-1, -1, -1, -1];
    for (let i = 0; i < count; i++) {
      const message = await queue.receive();
      const number = Number(message.text());
      expect(number % 4).toBe(message.priority);
      expect(number).toBe(last[message.priority]! < 0 ? number : last[message.priority]! + 4);
      last[message.priority] = number;
    }
    expect((await child.exited).code).toBe(0);
    expect(queue.tryReceive()).toBeUndefined();
    expect(last).toEqual([count - 4, count - 3, count - 2, count - 1]);
  });

  peerTest("out: priorities and order are those that were asked for", ["cc"], async () => {
    using queue = namedQueue({ maxMessages: 10 });
    const sent = [3, 0, 32767, 3, 1];
    for (const [i, priority] of sent.entries()) await queue.send(`m${i}`, { priority });
    await using child = start([peer(), "receive", queue.name, String(sent.length)]);
    const said = succeeded(await child.exited)
      .trim()
      .split("\n");
    expect(said).toEqual(["32767 m2", "3 m0", "3 m3", "1 m4", "0 m1"]);
  });

  peerTest("there and back, both queues small, sends running ahead", ["cc"], async () => {
    using out = namedQueue({ maxMessages: 2, messageBytes: 4096 });
    using back = namedQueue({ maxMessages: 2, messageBytes: 4096 });
    await using child = start([peer(), "echo", out.name, back.name]);
    const messages = Array.from({ length: 500 }, (_, i) => pattern(i * 8, i + 1));
    const sending = Promise.all(messages.map((data) => out.send(data)));
    for (const data of messages) {
      expect(Buffer.compare(data, (await back.receive()).data)).toBe(0);
    }
    await sending;
    out.sendSync("end", { timeoutMs: 5_000, priority: 9 });
    expect(back.receiveSync({ timeoutMs: 5_000 })).toMatchObject({ priority: 9 });
    expect((await child.exited).code).toBe(0);
  });

  peerTest("a receiver that blocks its thread is served by one in C", ["cc"], async () => {
    using queue = namedQueue();
    await using child = start([peer(), "send", queue.name, "100"]);
    for (let i = 0; i < 100; i++) queue.receiveSync({ timeoutMs: 10_000 });
    expect((await child.exited).code).toBe(0);
  });

  peerTest("a lock held by a C program counts, until it is killed", ["cc"], async () => {
    using queue = namedQueue();
    await using child = start([peer(), "hold", queue.name]);
    await child.lineWith("held");
    const open = (): MessageQueue => MessageQueue.open(queue.name, { exclusive: "lifetime" });
    expect(await codeOf(open)).toBe("EBUSY");
    child.kill("SIGKILL");
    await child.exited;
    open().close();
  });
});

const PYTHON = `
import ctypes, os, sys
libc = ctypes.CDLL("librt.so.1", use_errno=True)
libc.mq_open.restype = ctypes.c_int
name = sys.argv[1].encode()
queue = libc.mq_open(name, os.O_RDWR)
assert queue >= 0, ctypes.get_errno()
room, priority = ctypes.create_string_buffer(8192), ctypes.c_uint()
length = libc.mq_receive(queue, room, ctypes.c_size_t(8192), ctypes.byref(priority))
print(priority.value, room.raw[:length].hex(), flush=True)
text = "grüße".encode()
assert libc.mq_send(queue, text, ctypes.c_size_t(len(text)), 5) == 0
`;

peerTest("with Python", ["python3"], async () => {
  using queue = namedQueue();
  await queue.send(new Uint8Array([0, 255, 10]), { priority: 12 });
  await using child = start(["python3", "-c", PYTHON, queue.name]);
  expect(await child.lineWith("00ff0a")).toBe("12 00ff0a");
  const message = await queue.receive();
  expect([message.text(), message.priority]).toEqual(["grüße", 5]);
  expect((await child.exited).code).toBe(0);
});

test("four receivers in one process and one in another share what is sent", async () => {
  using queue = namedQueue({ maxMessages: 4, messageBytes: 8 });
  const others = [1, 2, 3].map(() => MessageQueue.open(queue.name, { access: "read" }));
  const seen: number[] = [];
  const stop = new AbortController();
  const readers = [queue, ...others].map(async (one) => {
    try {
      for (;;) seen.push(Number((await one.receive({ signal: stop.signal })).text()));
    } catch {
      // stopped
    }
  });
  for (let i = 0; i < 2_000; i++) await queue.send(String(i));
  await eventually(() => seen.length === 2_000, "every message received");
  stop.abort();
  await Promise.all(readers);
  for (const one of others) one.close();
  expect(seen.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 2_000 }, (_, i) => i));
});

describe("the process", () => {
  test("waits for a message, and ends when nobody does", async () => {
    const name = freshQueueName();
    try {
      const source = `import { MessageQueue } from "@/src/index.ts";
        const q = MessageQueue.open("${name}", { create: true });
        setTimeout(() => q.trySend("late"), 20).unref();
        console.log((await q.receive()).text());`;
      expect(succeeded(await runSource(source))).toBe("late\n");
    } finally {
      removeQueue(name);
    }
  });

  test("is not kept by an unreferenced queue, which works meanwhile", async () => {
    const name = freshQueueName();
    const source = `import { MessageQueue } from "@/src/index.ts";
      const q = MessageQueue.open("${name}", { create: true }).unref();
      q.unlink();
      const seen = [];
      (async () => {
        for await (const m of q) if (seen.push(m.text()) === 1) stop();
      })();
      const keep = setInterval(() => {}, 1000);
      const stop = () => { clearInterval(keep); console.log(seen.join()); };
      setTimeout(() => q.trySend("one"), 10);`;
    expect(succeeded(await runSource(source))).toBe("one\n");
  });

  test("in a Worker, terminated while it waits: its descriptor is closed", async () => {
    const name = freshQueueName();
    const source = `import { Worker, isMainThread, parentPort } from "node:worker_threads";
      import { readdirSync, readlinkSync } from "node:fs";
      import { MessageQueue } from "@/src/index.ts";
      const open = () => readdirSync("/proc/self/fd").filter((fd) => {
        try {
          return readlinkSync("/proc/self/fd/" + fd).startsWith("${name}");
        } catch {
          return false;
        }
      }).length;
      if (isMainThread) {
        const worker = new Worker(import.meta.filename);
        await new Promise((resolve) => worker.once("message", resolve));
        console.log(open());
        MessageQueue.unlink("${name}");
        await worker.terminate();
        for (let i = 0; i < 2000 && open() > 0; i++) await Bun.sleep(2);
        console.log(open());
      } else {
        const q = MessageQueue.open("${name}", { create: true });
        await q.send("to itself");
        parentPort.postMessage((await q.receive()).text());
        await q.receive();
      }`;
    expect(succeeded(await runSource(source))).toBe("1\n0\n");
  });
});

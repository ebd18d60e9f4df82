// mq_notify, and queues whose name is used only once.

import { describe, expect, test } from "bun:test";
import { fstatSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { MessageQueue, sendSignal, watchSignals } from "../../src/index.ts";
import { noQueueSignals, testUnless } from "../support/unless.ts";
import { freshQueueName, namedQueue, newQueue, removeQueue } from "./queues.ts";
import { codeOf, failure, leakFree, thrown, turns, withLibc } from "./tools.ts";

const signal = "SIGRTMIN+3";

describe("notify", () => {
  const lacking = noQueueSignals();

  testUnless(
    lacking,
    "once, when a message comes into the empty queue; with its sender and value",
    async () => {
      using watcher = watchSignals(signal);
      using queue = newQueue();
      queue.notify({ signal, value: -7 });
      queue.trySend("one");
      queue.trySend("two");
      const { origin, number: _, ...event } = await watcher.receive();
      expect(origin).toBe("message-queue");
      const from = { pid: process.pid, uid: process.getuid?.() };
      expect(event).toMatchObject({ signal, value: -7, ...from });
      await turns();
      expect(watcher.tryReceive()).toBeUndefined();
    },
  );

  testUnless(lacking, "not for a message that comes into one that is not empty", async () => {
    using watcher = watchSignals(signal);
    using queue = newQueue();
    queue.trySend("before");
    queue.notify({ signal });
    queue.trySend("beside it");
    sendSignal(process.pid, signal, { value: 99 });
    expect(await watcher.receive()).toMatchObject({ origin: "queue", value: 99 });
    queue.tryReceive();
    queue.tryReceive();
    queue.trySend("first again");
    expect(await watcher.receive()).toMatchObject({ origin: "message-queue", value: 0 });
  });

  testUnless(
    lacking,
    "beside a receive that waits: it gets the message, and the signal comes too",
    async () => {
      using watcher = watchSignals(signal);
      using queue = newQueue();
      const receiving = queue.receive();
      await turns();
      queue.notify({ signal, value: 5 });
      queue.trySend("for both");
      expect((await receiving).text()).toBe("for both");
      expect((await watcher.receive()).value).toBe(5);
    },
  );

  testUnless(
    lacking,
    "asked first and emptied then, again and again: nothing slips through",
    async () => {
      using watcher = watchSignals(signal);
      using queue = newQueue();
      const seen: string[] = [];
      const sending = (async () => {
        for (let i = 0; i < 200; i++) {
          await queue.send(String(i));
          if (i % 7 === 0) await turns();
        }
      })();
      for (let signals = 0; seen.length < 200; signals++) {
        queue.notify({ signal, value: signals });
        for (let m = queue.tryReceive(); m !== undefined; m = queue.tryReceive())
          seen.push(m.text());
        if (seen.length < 200) expect((await watcher.receive()).value).toBe(signals);
      }
      await sending;
      expect(seen).toEqual(Array.from({ length: 200 }, (_, i) => String(i)));
    },
  );

  testUnless(
    lacking,
    "EBUSY for a second request; null takes the first back, and may be said twice",
    async () => {
      using _watcher = watchSignals([signal, "SIGUSR2"]);
      using queue = namedQueue();
      using other = MessageQueue.open(queue.name);
      queue.notify({ signal });
      const error = await failure(() => other.notify({ signal: "SIGUSR2" }));
      expect(error).toMatchObject({ code: "EBUSY", syscall: "mq_notify", errno: -errno.EBUSY });
      other.notify(null);
      other.notify(null);
      other.notify({ signal: "SIGUSR2" });
    },
  );

  testUnless(
    lacking,
    "closing another descriptor of the queue in this process takes it back",
    async () => {
      using watcher = watchSignals(signal);
      using queue = namedQueue();
      const other = MessageQueue.open(queue.name);
      queue.notify({ signal, value: 1 });
      other.close();
      queue.notify({ signal, value: 2 });
      queue.trySend("x");
      expect((await watcher.receive()).value).toBe(2);
    },
  );

  testUnless(
    lacking,
    "a signal that nothing handles is refused, and the registration stays free",
    async () => {
      using queue = newQueue();
      const error = await failure(() => queue.notify({ signal }));
      expect(error.code).toBe("ERR_SIGNAL_UNHANDLED");
      expect(error.message).toContain(signal);
      using _watcher = watchSignals(signal);
      queue.notify({ signal });
    },
  );

  test("wrong arguments before any call; ERR_CLOSED after close", async () => {
    const queue = newQueue();
    const mq_notify = (): never => expect.unreachable();
    const cases = [
      [{ signal: "SIGNOT" }, RangeError],
      [{ signal: 0 }, RangeError],
      [{ signal: "SIGKILL" }, RangeError],
      [{ signal: "SIGPWR" }, RangeError],
      [{ signal: null }, TypeError],
      [{ signal, value: 2 ** 31 }, RangeError],
      [{ signal, value: "1" }, TypeError],
    ] as const;
    for (const [asked, kind] of cases) {
      const notify = (): void => queue.notify(asked as never);
      expect(await withLibc({ mq_notify }, () => thrown(notify))).toBeInstanceOf(kind);
    }
    queue.close();
    expect(await codeOf(() => queue.notify(null))).toBe("ERR_CLOSED");
  });
});

describe("unlinkOnOpen", () => {
  test("made: its name is gone, its mode exact, and it is always a new one", async () => {
    const name = freshQueueName();
    const options = { create: true, unlinkOnOpen: true, mode: 0o640, maxMessages: 3 } as const;
    using one = MessageQueue.open(name, options);
    expect(await codeOf(() => MessageQueue.open(name))).toBe("ENOENT");
    expect(fstatSync(one.fd).mode & 0o777).toBe(0o640);
    expect(one).toMatchObject({ created: true, maxMessages: 3 });
    using two = MessageQueue.open(name, options);
    one.trySend("one");
    expect(two.tryReceive()).toBeUndefined();
    expect(await codeOf(() => one.unlink())).toBe("ENOENT");
    using named = namedQueue();
    expect(await codeOf(() => MessageQueue.open(named.name, options))).toBe("EEXIST");
    named.trySend("still there");
    using again = MessageQueue.open(named.name);
    expect(again.tryReceive()?.text()).toBe("still there");
  });

  test("opened: the first who asks has it, with its messages; then there is none", async () => {
    const name = freshQueueName();
    using maker = MessageQueue.open(name, { create: true, exclusive: true });
    maker.trySend("inside");
    using first = MessageQueue.open(name, { unlinkOnOpen: true });
    expect(first).toMatchObject({ created: false });
    expect(first.tryReceive()?.text()).toBe("inside");
    expect(await codeOf(() => MessageQueue.open(name, { unlinkOnOpen: true }))).toBe("ENOENT");
  });

  test("before it is unlinked nobody else may open it", async () => {
    const name = freshQueueName();
    const modes: number[] = [];
    const { mq_unlink } = (await import("../../src/syscalls/libc.ts")).libc;
    const watching = (address: never): number => {
      using seen = MessageQueue.open(name, { access: "read" });
      modes.push(fstatSync(seen.fd).mode & 0o777);
      return mq_unlink(address);
    };
    const open = (): MessageQueue => MessageQueue.open(name, { create: true, unlinkOnOpen: true });
    if (process.getuid?.() === 0) {
      using _made = await withLibc({ mq_unlink: watching as never }, open);
      expect(modes).toEqual([0]);
    } else {
      expect(await withLibc({ mq_unlink: watching as never }, () => codeOf(open))).toBe("EACCES");
      removeQueue(name);
    }
  });

  test("true or false, and nothing is left open where the name cannot be removed", async () => {
    expect(
      await thrown(() => MessageQueue.open("/x", { unlinkOnOpen: 1 as never })),
    ).toBeInstanceOf(TypeError);
    await leakFree(async () => {
      const name = freshQueueName();
      const mq_unlink = (): number => -1;
      for (const create of [true, false]) {
        const open = (): MessageQueue => MessageQueue.open(name, { create, unlinkOnOpen: true });
        await withLibc({ mq_unlink }, () => failure(open));
      }
      removeQueue(name);
    });
  });
});

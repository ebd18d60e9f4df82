// Names, opening, unlinking, exclusiveness and the system's limits.

import { describe, expect, test } from "bun:test";
import { errno } from "../../native/errno.ts";
import { capabilities, MessageQueue, QueueLimitError, UnsupportedError } from "../../src/index.ts";
import { startScript, succeeded, writeSource } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { fake } from "../support/seam.ts";
import { tempDir } from "../support/tmp.ts";
import { freshQueueName, namedQueue, newQueue } from "./queues.ts";
import { codeOf, failure, thrown, withLibc } from "./tools.ts";

describe("names", () => {
  const none = { mq_open: () => expect.unreachable(), mq_unlink: () => expect.unreachable() };

  test("are refused before any call, with the rule", async () => {
    const wrong = ["", "/", "noslash", "/a/b", "/.", "/..", "/a\0b", `/${"x".repeat(256)}`, "//"];
    wrong.push(`/${"é".repeat(128)}`);
    await withLibc(none as never, async () => {
      for (const name of wrong) {
        for (const call of [MessageQueue.open, MessageQueue.unlink]) {
          const error = await thrown(() => call(name));
          expect(error, name).toBeInstanceOf(RangeError);
          expect(String(error)).toContain("1 to 255 bytes");
        }
      }
      for (const name of [null, undefined, 3, {}] as never[]) {
        expect(await thrown(() => MessageQueue.open(name))).toBeInstanceOf(TypeError);
      }
    });
  });

  test("255 bytes, blanks, dots and other alphabets are fine", () => {
    const end = String(process.pid);
    for (const start of ["x".repeat(255 - end.length), "...", " ", "Schlange ñ é "]) {
      const name = `/${start}${end}`;
      using queue = MessageQueue.open(name, { create: true, exclusive: true });
      queue.unlink();
    }
  });
});

describe("options are checked before any call", () => {
  const wrong: readonly (readonly [
    options: object,
    error: typeof TypeError | typeof RangeError,
  ])[] = [
    [{ exclusive: true }, TypeError],
    [{ exclusive: "forever" }, TypeError],
    [{ access: "append" }, TypeError],
    [{ access: "toString" }, TypeError],
    [{ mode: "600" }, TypeError],
    [{ mode: 0o1777 }, RangeError],
    [{ maxMessages: 0 }, RangeError],
    [{ messageBytes: 0.5 }, RangeError],
    [{ messageBytes: 2 ** 31 }, RangeError],
    [{ maxQueuedBytes: -1 }, RangeError],
  ];
  for (const [options, kind] of wrong) {
    test(JSON.stringify(options), async () => {
      const mq_open = (): never => expect.unreachable();
      const open = (): unknown => MessageQueue.open("/x", options as never);
      expect(await withLibc({ mq_open }, () => thrown(open))).toBeInstanceOf(kind);
    });
  }

  test("priorities and data", async () => {
    using queue = newQueue();
    for (const priority of [-1, 32768, 1.5, Number.NaN]) {
      expect(await thrown(() => queue.trySend("", { priority }))).toBeInstanceOf(RangeError);
    }
    expect(await thrown(() => queue.send(7 as never))).toBeInstanceOf(TypeError);
    expect(await thrown(() => queue.sendSync("", { timeoutMs: -1 }))).toBeInstanceOf(RangeError);
    expect(await thrown(() => queue.receiveSync({ timeoutMs: -1 }))).toBeInstanceOf(RangeError);
  });
});

describe("open and unlink", () => {
  test("what is there and what is not", async () => {
    const name = freshQueueName();
    const missing = await failure(() => MessageQueue.open(name));
    expect(missing).toMatchObject({ code: "ENOENT", syscall: "mq_open", path: name });
    expect(missing.message).toContain("create: true");
    expect(await codeOf(() => MessageQueue.unlink(name))).toBe("ENOENT");
    using made = MessageQueue.open(name, { create: true, maxMessages: 3, messageBytes: 9 });
    expect([made.created, made.name]).toEqual([true, name]);
    using found = MessageQueue.open(name, { create: true, maxMessages: 5 });
    expect([found.created, found.maxMessages, found.messageBytes]).toEqual([false, 3, 9]);
    const again = { create: true, exclusive: true } as const;
    expect(await codeOf(() => MessageQueue.open(name, again))).toBe("EEXIST");
    MessageQueue.unlink(name);
    expect(await codeOf(() => MessageQueue.open(name))).toBe("ENOENT");
    made.trySend("there yet");
    expect(found.tryReceive()?.text()).toBe("there yet");
  });

  test("messages stay when everybody has gone", () => {
    const name = freshQueueName();
    MessageQueue.open(name, { create: true })[Symbol.dispose]();
    {
      using queue = MessageQueue.open(name);
      queue.trySend("left behind");
    }
    using queue = MessageQueue.open(name);
    queue.unlink();
    expect(queue.tryReceive()?.text()).toBe("left behind");
  });

  test("unlink leaves a successor's queue alone", async () => {
    using old = namedQueue();
    old.unlink();
    using successor = MessageQueue.open(old.name, { create: true });
    expect(await codeOf(() => old.unlink())).toBe("ENOENT");
    successor.unlink();
    expect(await codeOf(() => successor.unlink())).toBe("ENOENT");
  });

  test("made and removed between two looks: looked at again", () => {
    const name = freshQueueName();
    using calls = fake("mq_open", [{ errno: errno.EEXIST }, { errno: errno.ENOENT }]);
    using queue = MessageQueue.open(name, { create: true });
    expect(queue.created).toBeTrue();
    expect(calls.calls.length).toBe(3);
    queue.unlink();
  });
});

describe("exclusive for life", () => {
  const lifetime = { create: true, exclusive: "lifetime" } as const;

  test("one holder at a time; who asks plainly gets in", async () => {
    const name = freshQueueName();
    const holder = MessageQueue.open(name, lifetime);
    const error = await failure(() => MessageQueue.open(name, lifetime));
    expect(error).toMatchObject({ code: "EBUSY", syscall: "flock", path: name });
    MessageQueue.open(name).close();
    holder.trySend("kept");
    holder.close();
    using next = MessageQueue.open(name, lifetime);
    expect(next.created).toBeFalse();
    expect(next.tryReceive()?.text()).toBe("kept");
    next.unlink();
  });

  test("a holder that unlinks between our open and our lock: we make a new queue", () => {
    const name = freshQueueName();
    using old = MessageQueue.open(name, { create: true });
    using calls = fake("flock", [
      () => {
        old.unlink();
        return 0;
      },
    ]);
    using queue = MessageQueue.open(name, lifetime);
    expect(calls.calls.length).toBe(2);
    expect(queue.created).toBeTrue();
    queue.unlink();
  });

  test("a crash leaves nothing in the way", async () => {
    using dir = tempDir();
    const name = freshQueueName();
    const source = `import { MessageQueue } from "@/src/index.ts";
      const q = MessageQueue.open(process.argv[2], { create: true, exclusive: "lifetime" });
      q.trySend("before the crash");
      console.log("open");
      await q.receive().then(() => q.receive());`;
    await using child = startScript(writeSource(dir, source), [name]);
    await child.lineWith("open");
    expect(await codeOf(() => MessageQueue.open(name, lifetime))).toBe("EBUSY");
    child.kill("SIGKILL");
    await child.exited;
    using next = MessageQueue.open(name, lifetime);
    next.unlink();
    expect(next.created).toBeFalse();
  });
});

describe("limits", () => {
  const limitOf = async (call: () => unknown): Promise<QueueLimitError> => {
    const error = await thrown(call);
    expect(error).toBeInstanceOf(QueueLimitError);
    return error as QueueLimitError;
  };

  peerTest("as an ordinary user: msg_max, msgsize_max, RLIMIT_MSGQUEUE", ["root"], async () => {
    using dir = tempDir();
    const source = `import { MessageQueue } from "@/src/index.ts";
      process.setgid(65534); process.setuid(65534);
      const tell = (options) => {
        const queues = [];
        try {
          for (let i = 0; i < 200; i++) {
            const name = "/bunix-limit-" + process.pid + "-" + i;
            const queue = MessageQueue.open(name, { create: true, ...options });
            queue.unlink();
            queues.push(queue);
          }
          console.log("none");
        } catch ({ code, limit, value, message }) {
          console.log(JSON.stringify({ code, limit, value, message }));
        }
        for (const queue of queues) queue.close();
      };
      tell({ maxMessages: 65000 }); tell({ messageBytes: 16e6 }); tell({});`;
    await using child = startScript(writeSource(dir, source), []);
    child.endInput();
    const said = succeeded(await child.exited)
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(said).toMatchObject([
      { code: "EINVAL", limit: "msg_max" },
      { code: "EINVAL", limit: "msgsize_max" },
      { code: "EMFILE", limit: "RLIMIT_MSGQUEUE" },
    ]);
    expect(said[0].value).toBeGreaterThan(0);
    expect(said[0].message).toContain("fs.mqueue.msg_max");
    expect(said[1].message).toContain("fs.mqueue.msgsize_max");
    expect(said[2].value).toBeGreaterThan(0);
  });

  test("queues_max, RLIMIT_NOFILE and a kernel without queues", async () => {
    const open = (): unknown => MessageQueue.open("/bunix-limit");
    {
      using _ = fake("mq_open", [{ errno: errno.ENOSPC }]);
      expect(await limitOf(open)).toMatchObject({ code: "ENOSPC", limit: "queues_max" });
    }
    {
      const toMany = [{ errno: errno.EMFILE }];
      using _ = fake("open", toMany);
      using __ = fake("mq_open", toMany);
      expect(await limitOf(open)).toMatchObject({ code: "EMFILE", limit: "RLIMIT_NOFILE" });
    }
    using _ = fake("mq_open", [{ errno: errno.ENOSYS }]);
    const error = await thrown(open);
    expect(error).toBeInstanceOf(UnsupportedError);
    expect(error).toMatchObject({ capability: "messageQueues" });
  });

  test("other errors say which call, which queue", async () => {
    using _ = fake("mq_open", [{ errno: errno.EACCES }]);
    const error = await failure(() => MessageQueue.open("/other"));
    expect(error).toMatchObject({ code: "EACCES", path: "/other" });
    expect(error.message).toContain("mode");
  });

  test("capabilities() knows whether there are queues", () => {
    expect(capabilities().messageQueues).toEqual({ available: true });
    using _ = fake("mq_open", [{ errno: errno.ENOSYS }]);
    expect(capabilities().messageQueues.available).toBeFalse();
  });
});

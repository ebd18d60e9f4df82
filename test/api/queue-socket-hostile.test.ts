// Requests to a listener that are not what they say: none is believed, none leaks.

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { closeSync, fstatSync, futimesSync, openSync } from "node:fs";
import fc from "fast-check";
import { connectQueue, listenQueue, MessageQueue } from "../../src/index.ts";
import { makeUnnamed, type ReceiveQueue } from "../../src/queue-socket/receive-queue.ts";
import { encodeIdentityFrame, type QueueIdentity } from "../../src/structs/queue-frame.ts";
import { tempDir } from "../support/tmp.ts";
import { freshName, queuePair, rawSend, rawSendTo } from "./queue-sockets.ts";
import { eventually, leakFree } from "./tools.ts";

const dir = tempDir();
afterAll(() => dir.remove());

/** Node's warnings open the standard error anew, which the count of descriptors would see. */
const { emitWarning } = process;
beforeAll(() => void (process.emitWarning = () => {}));
afterAll(() => void (process.emitWarning = emitWarning));

describe("requests that are not what they say", () => {
  const connectFrame = (identity: QueueIdentity): Uint8Array => {
    const bytes = new Uint8Array(40);
    const to = { tagLow: 0, tagHigh: 0 };
    encodeIdentityFrame(new DataView(bytes.buffer), "connect", { to, identity });
    return bytes;
  };
  const size = { maxMessages: 2, messageBytes: 64 };

  async function refuses(identity: QueueIdentity): Promise<void> {
    await leakFree(() => {
      const name = freshName();
      using listener = listenQueue(name);
      rawSend(name, connectFrame(identity));
      expect(listener.tryAccept()).toBeUndefined();
      expect(listener.ignored).toBe(1);
    });
  }

  const withOwn = async (change: (own: ReceiveQueue) => QueueIdentity): Promise<void> => {
    const own = makeUnnamed(size, "test");
    try {
      await refuses(change(own));
    } finally {
      own.handle.close();
    }
  };

  test("another inode, another descriptor, another process", async () => {
    await withOwn(({ identity }) => ({ ...identity, inode: identity.inode + 1 }));
    await withOwn(({ identity }) => ({ ...identity, fd: 0 }));
    await withOwn(({ identity }) => ({ ...identity, fd: 9999 }));
    await withOwn(({ identity }) => ({ ...identity, pid: 1 }));
    await withOwn(({ identity }) => ({ ...identity, pid: 2 ** 31 - 1 }));
  });

  test("somebody else's queue, whose tag the sender does not know", () =>
    withOwn(({ identity }) => ({ ...identity, tagLow: (identity.tagLow ^ 1) >>> 0 })));

  test("the queue of a connection, even with its tag", async () => {
    using pair = await queuePair();
    const { own } = JSON.parse(pair.client.inherit({ as: [3, 4] })) as { own: QueueIdentity };
    await pair.server.send("used");
    await refuses({ ...own, fd: pair.client.fd });
    await pair.server.send("and not disturbed");
    expect((await pair.client.receive())?.text()).toBe("used");
    expect((await pair.client.receive())?.text()).toBe("and not disturbed");
  });

  test("a queue that nobody holds", async () => {
    using queue = MessageQueue.open(freshName(), { create: true, ...size });
    queue.unlink();
    futimesSync(queue.fd, 5, 6);
    const { ino: inode } = fstatSync(queue.fd);
    await refuses({ pid: process.pid, fd: queue.fd, inode, tagLow: 5, tagHigh: 6 });
    expect(queue.attributes().currentMessages).toBe(0);
  });

  test("a file, a FIFO's end, a socket: none is opened", async () => {
    const fd = openSync(dir.path, "r");
    const { ino: inode } = fstatSync(fd);
    await refuses({ pid: process.pid, fd, inode, tagLow: 1, tagHigh: 1 });
    closeSync(fd);
  });

  test("a queue that is too small for an answer", async () => {
    const own = makeUnnamed({ maxMessages: 1, messageBytes: 20 }, "test");
    await refuses(own.identity);
    own.handle.close();
  });

  test("a queue that is full already", async () => {
    const name = freshName();
    using listener = listenQueue(name);
    const own = makeUnnamed({ maxMessages: 1, messageBytes: 64 }, "test");
    const times = fstatSync(own.handle.fd);
    rawSendTo(own.handle.fd, Buffer.from("full"));
    futimesSync(own.handle.fd, times.atimeMs / 1e3, times.mtimeMs / 1e3); // as if it were fresh
    rawSend(name, connectFrame(own.identity));
    expect(listener.tryAccept()).toBeUndefined();
    expect(listener.ignored).toBe(1);
    own.handle.close();
  });

  test("the same request twice: one connection", async () => {
    const name = freshName();
    using listener = listenQueue(name);
    const own = makeUnnamed(size, "test");
    rawSend(name, connectFrame(own.identity));
    rawSend(name, connectFrame(own.identity));
    using socket = listener.tryAccept()!;
    expect(socket.closed).toBeFalse();
    expect(listener.tryAccept()).toBeUndefined();
    own.handle.close();
  });

  test("rubbish without end does not stop the rest of the program", async () => {
    const name = freshName();
    using listener = listenQueue(name, { backlog: 10 });
    const accepting = listener.accept();
    const put = (i: number): boolean => {
      try {
        rawSend(name, Buffer.from(`rubbish ${i}`));
        return true;
      } catch {
        return false; // full
      }
    };
    for (let i = 0; i < 300; i++) if (!put(i)) await eventually(() => put(i), "room for rubbish");
    using client = await connectQueue(name);
    using server = await accepting;
    expect(listener.ignored).toBe(300);
    expect([client.closed, server.closed]).toEqual([false, false]);
  });

  test("any bytes, any identity: nothing is accepted, nothing thrown, nothing left", async () => {
    const own = makeUnnamed(size, "test");
    const word = fc.integer({ min: 0, max: 2 ** 32 - 1 });
    const identity = fc.record({
      pid: fc.oneof(fc.constantFrom(1, process.pid, process.ppid), word),
      fd: fc.oneof(fc.nat(30), word),
      inode: fc.oneof(fc.constant(own.identity.inode), fc.maxSafeNat()),
      tagLow: word,
      tagHigh: word,
    });
    const bytes = fc.oneof(fc.uint8Array({ maxLength: 40 }), identity.map(connectFrame));
    await leakFree(() => {
      const name = freshName();
      using listener = listenQueue(name);
      fc.assert(
        fc.property(bytes, (data) => {
          rawSend(name, data);
          expect(listener.tryAccept()).toBeUndefined();
        }),
        { numRuns: 1_000 },
      );
      expect(listener.ignored).toBe(1_000);
    });
    expect(fstatSync(own.handle.fd).ino).toBe(own.identity.inode);
    own.handle.close();
  });
});

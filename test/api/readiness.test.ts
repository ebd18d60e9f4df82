// Waiting for descriptors of any kind.

import { describe, expect, test } from "bun:test";
import { closeSync, constants, openSync, readSync, writeSync } from "node:fs";
import { check } from "../../src/base/errors.ts";
import {
  connect,
  Fd,
  listen,
  openDatagram,
  socketPair,
  waitReadable,
  waitWritable,
  watchReadiness,
} from "../../src/index.ts";
import { eventfd, signalEventfd } from "../../src/syscalls/epoll.ts";
import { pidfdOpen } from "../../src/syscalls/process.ts";
import { freshPath, pairVariants } from "./pairs.ts";
import { closeAll, codeOf, fill, leakFree, must, pairWith, thrown, turns } from "./tools.ts";

const ready = { readable: false, writable: false, ended: false, error: false };

async function stillWaits(promise: Promise<unknown>): Promise<void> {
  let settled = false;
  const settle = (): void => {
    settled = true;
  };
  promise.then(settle, settle);
  await turns();
  expect(settled).toBe(false);
}

/** A FIFO opened for both directions, which never blocks and never ends. */
function fifo(): { path: string; fd: number } {
  const path = freshPath();
  Bun.spawnSync(["mkfifo", path]);
  return { path, fd: openSync(path, constants.O_RDWR | constants.O_NONBLOCK) };
}

describe.each(pairVariants)("$name", ({ kind, open }) => {
  test("readable when there is something, writable when there is room", () =>
    leakFree(async () => {
      using pair = await open();
      const reading = waitReadable(pair.far);
      await stillWaits(reading);
      await pair.near.send("x");
      expect(await reading).toEqual({ ...ready, readable: true });
      expect((await waitReadable(pair.far.fd)).readable).toBe(true); // it is still there
      expect(must(pair.far.tryReceive()).text()).toBe("x");
      fill(pair.near, Buffer.alloc(4096));
      const writing = waitWritable(pair.near);
      await stillWaits(writing);
      while (pair.far.tryReceive()) {}
      expect(await writing).toEqual({ ...ready, writable: true });
    }));

  if (kind !== "datagram") {
    test("the end is readable, and marked", async () => {
      using pair = await open();
      const reading = waitReadable(pair.far);
      pair.near.close();
      const found = await reading;
      expect([found.readable, found.ended]).toEqual([true, true]);
    });
  }

  test("it and a receive on the same socket are both served", async () => {
    using pair = await open();
    const [receiving, readable] = [pair.far.receive(), waitReadable(pair.far)];
    const writing = waitWritable(pair.far);
    expect((await writing).writable).toBe(true);
    await pair.near.send("one");
    expect(must(await receiving).text()).toBe("one");
    await pair.near.send("two");
    expect((await readable).readable).toBe(true);
    expect(must(pair.far.tryReceive()).text()).toBe("two");
  });
});

describe("other kinds", () => {
  test("a FIFO", () =>
    leakFree(async () => {
      const { fd, path } = fifo();
      const reading = waitReadable(fd);
      await stillWaits(reading);
      writeSync(fd, "x");
      expect((await reading).readable).toBe(true);
      expect((await waitWritable(fd)).writable).toBe(true);
      readSync(fd, Buffer.alloc(8));
      while (true) {
        try {
          writeSync(fd, Buffer.alloc(4096));
        } catch {
          break; // EAGAIN: full
        }
      }
      const writing = waitWritable(fd);
      await stillWaits(writing);
      for (let i = 0; i < 8; i++) readSync(fd, Buffer.alloc(4096));
      expect((await writing).writable).toBe(true);
      const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
      closeSync(fd);
      while (readSync(reader, Buffer.alloc(65_536)) > 0) {}
      expect((await waitReadable(reader)).ended).toBe(true); // no writer is left
      closeSync(reader);
    }));

  test("an eventfd", () =>
    leakFree(async () => {
      using counter = Fd.adopt(eventfd(constants.O_NONBLOCK));
      expect(counter.describe().kind).toBe("eventfd");
      const reading = waitReadable(counter);
      await stillWaits(reading);
      signalEventfd(counter.fd, 1);
      expect((await reading).readable).toBe(true);
    }));

  test("a process, by its pidfd", () =>
    leakFree(async () => {
      const path = freshPath();
      using server = listen(path);
      const script = `import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.recv(1)`;
      const child = Bun.spawn(["python3", "-c", script, path]);
      using accepted = await server.accept();
      using pidfd = Fd.adopt(check(pidfdOpen(child.pid), "pidfd_open"));
      const exit = waitReadable(pidfd);
      await stillWaits(exit);
      await accepted.send("x");
      expect((await exit).readable).toBe(true);
      await child.exited;
    }));

  test("a listener", async () => {
    const path = freshPath();
    using server = listen(path);
    const reading = waitReadable(server);
    using client = await connect(path);
    expect((await reading).readable).toBe(true);
    using accepted = await server.accept();
    expect([client.closed, accepted.closed]).toEqual([false, false]);
  });

  test("a regular file and a directory are always ready", async () => {
    for (const path of [import.meta.path, import.meta.dir]) {
      const fd = openSync(path, "r");
      expect((await waitReadable(fd)).readable).toBe(true);
      expect((await waitWritable(fd)).writable).toBe(true);
      closeSync(fd);
    }
  });
});

describe("numbers", () => {
  test("a closed number is EBADF, nonsense is refused", async () => {
    expect(await codeOf(() => waitReadable(99_999))).toBe("EBADF");
    expect(await codeOf(() => waitWritable(99_999))).toBe("EBADF");
    expect(await thrown(() => waitReadable(-1))).toBeInstanceOf(RangeError);
    expect(await thrown(() => waitReadable("0" as unknown as number))).toBeInstanceOf(TypeError);
  });

  test("an owner that closes ends the wait with ERR_CLOSED", async () => {
    const sockets = socketPair("stream");
    const handle = sockets[0].release();
    const waiting = [codeOf(() => waitReadable(handle)), codeOf(() => waitReadable(sockets[1]))];
    handle.close();
    sockets[1].close();
    const codes = await Promise.all(waiting);
    expect(codes[0]).toBe("ERR_CLOSED");
  });

  test("a borrowed number that was closed and used again: the new file is waited for", () =>
    leakFree(async () => {
      for (let i = 0; i < 20; i++) {
        const first = socketPair("stream");
        const number = first[0].release().release();
        const stop = new AbortController();
        const old = thrown(() => waitReadable(number, { signal: stop.signal }));
        await turns();
        closeSync(number); // behind the library's back
        const second = pairWith(number);
        const fresh = waitReadable(number);
        const receiving = second[0].receive();
        await first[1].send("to nobody").catch(() => {});
        await second[1].send("for the new one");
        expect((await fresh).readable).toBe(true);
        expect(must(await receiving).text()).toBe("for the new one");
        stop.abort();
        await old.catch(() => {});
        closeAll([...second, first[1]]);
      }
    }));
});

describe("watchReadiness", () => {
  test("each time something is there, until the other end is gone", () =>
    leakFree(async () => {
      const [near, far] = socketPair("stream");
      const texts: string[] = [];
      const loop = (async () => {
        for await (const { readable } of watchReadiness(far)) {
          expect(readable).toBe(true);
          const message = far.tryReceive();
          if (message === null) break;
          if (message) texts.push(message.text());
        }
      })();
      for (const text of ["a", "b", "c"]) {
        await near.send(text);
        await turns();
      }
      near.close();
      await loop;
      expect(texts.join("")).toBe("abc");
      far.close();
    }));

  test("ends quietly when its signal aborts", () =>
    leakFree(async () => {
      using socket = openDatagram();
      const stop = new AbortController();
      const seen: unknown[] = [];
      const loop = (async () => {
        for await (const found of watchReadiness(socket, { signal: stop.signal })) seen.push(found);
      })();
      await turns();
      stop.abort();
      await loop;
      expect(seen).toEqual([]);
    }));
});

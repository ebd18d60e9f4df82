// Descriptors beside data: how many, whose they are, and that they arrive in order and open.

import { describe, expect, test } from "bun:test";
import { closeSync, constants, fstatSync, openSync, writeSync } from "node:fs";
import { open as openFile } from "node:fs/promises";
import { fdNumber } from "../../src/fd/fd.ts";
import {
  Fd,
  type FdLike,
  type Listener,
  listen,
  maxFdsPerMessage,
  socketPair,
} from "../../src/index.ts";
import { pidfdOpen } from "../../src/syscalls/process.ts";
import { forms, freshPath, pairVariants, variants } from "./pairs.ts";
import {
  callsOf,
  closeAll,
  failure,
  isOpen,
  leakFree,
  marked,
  markedMany,
  markOf,
  must,
  thrown,
} from "./tools.ts";

const marksOf = (fds: readonly FdLike[]): string[] => fds.map(markOf);
const expected = (count: number): string[] => Array.from({ length: count }, (_, i) => `fd ${i}`);

describe.each(variants)("$name", ({ open, stream }) => {
  for (const form of forms) {
    test(`${form.name}: 1, 2 and 7 descriptors arrive in order; the sender keeps its own`, () =>
      leakFree(async () => {
        using pair = await open();
        for (const count of [1, 2, 7]) {
          const fds = markedMany(count);
          await form.send(pair.near, "beside", { fds });
          using message = must(await form.receive(pair.far));
          expect(message.text()).toBe("beside");
          expect(marksOf(message.fds)).toEqual(expected(count));
          expect(marksOf(fds)).toEqual(expected(count));
          expect(message.fdsTruncated).toBe(false);
          closeAll(fds);
        }
      }));
  }

  test("253 descriptors go with one message", () =>
    leakFree(async () => {
      using pair = await open();
      const fds = markedMany(maxFdsPerMessage);
      expect(fds.length).toBe(253);
      await pair.near.send("many", { fds });
      closeAll(fds); // still delivered
      using message = must(await pair.far.receive());
      expect(marksOf(message.fds)).toEqual(expected(253));
    }));

  test("254 are a RangeError before any system call", async () => {
    using pair = await open();
    using fd = marked("one too many");
    const fds = Array.from({ length: 254 }, () => fd.fd);
    const errors: unknown[] = [];
    const calls = await callsOf(async () => {
      for (const form of forms) {
        errors.push(await thrown(() => form.send(pair.near, "x", { fds })));
      }
    });
    expect(calls).toEqual([]);
    for (const error of errors) expect(error).toBeInstanceOf(RangeError);
    expect(errors.map(String).join()).toContain("253");
    expect(pair.far.tryReceive()).toBeUndefined();
  });

  test("with no data: refused on a stream, an empty message elsewhere", async () => {
    using pair = await open();
    using fd = marked("alone");
    for (const form of forms) {
      if (stream) {
        const send = (): Promise<void> => form.send(pair.near, "", { fds: [fd] });
        expect(await thrown(send)).toBeInstanceOf(RangeError);
        expect(pair.far.tryReceive()).toBeUndefined();
      } else {
        await form.send(pair.near, "", { fds: [fd] });
        using message = must(await form.receive(pair.far));
        expect(message.data.length).toBe(0);
        expect(marksOf(message.fds)).toEqual(["alone"]);
      }
    }
  });

  test("a closed descriptor among good ones: EBADF, nothing sent, nothing leaked", () =>
    leakFree(async () => {
      using pair = await open();
      using good = marked("good");
      const bad = openSync("/dev/null", "r");
      closeSync(bad);
      for (const form of forms) {
        const send = (): Promise<void> => form.send(pair.near, "x", { fds: [good, bad, good] });
        const error = await failure(send);
        expect([error.code, error.errno, error.syscall]).toEqual(["EBADF", -9, "sendmsg"]);
        expect(pair.far.tryReceive()).toBeUndefined();
        expect(markOf(good)).toBe("good");
      }
    }));
});

describe.each(pairVariants)("$name", ({ open, stream }) => {
  test("whatever has a number can be passed", () =>
    leakFree(async () => {
      using pair = await open();
      using owned = marked("owned");
      using other = pair.near;
      await using handle = await openFile("/dev/null");
      const [near, far] = socketPair("stream");
      using _near = near;
      using _far = far;
      const fds: FdLike[] = [owned, owned.fd, { fd: owned.fd }, handle, near, other];
      await pair.near.send("x", { fds });
      using message = must(pair.far.tryReceive());
      const inodes = (all: readonly FdLike[]): bigint[] =>
        all.map((fd) => fstatSync(fdNumber(fd), { bigint: true }).ino);
      expect(inodes(message.fds)).toEqual(inodes(fds));
    }));

  test("all kinds of open files can be passed", () =>
    leakFree(async () => {
      using pair = await open();
      using server: Listener = listen(freshPath());
      const [near, far] = socketPair("stream");
      using _near = near;
      using _far = far;
      using pidfd = Fd.adopt(pidfdOpen(process.pid));
      const path = openSync("/tmp", constants.O_DIRECTORY | 0o10000000);
      const memory = openSync("/proc/self/mem", "r");
      const fds = [path, pidfd, marked("m"), memory, server, pair.near];
      await pair.near.send("x", { fds });
      using message = must(pair.far.tryReceive());
      expect(message.fds.map((fd) => fd.describe().kind)).toEqual([
        "directory",
        "pidfd",
        "memfd",
        "file",
        "socket",
        "socket",
      ]);
      expect(message.fds[0]?.describe().access).toBe("path");
      expect(message.fds[4]?.describe().socket?.listening).toBe(true);
      (fds[2] as Fd).close();
      for (const fd of [path, memory]) closeSync(fd);
    }));

  test("what is no descriptor is refused before any system call", async () => {
    using pair = await open();
    const wrong: [unknown, new (...args: never[]) => Error][] = [
      [["1"], TypeError],
      [[null], TypeError],
      [[{}], TypeError],
      [7, TypeError],
      [[-1], RangeError],
      [[1.5], RangeError],
      [[2 ** 31], RangeError],
      [[Number.NaN], RangeError],
    ];
    for (const [fds, kind] of wrong) {
      const calls = await callsOf(async () => {
        const options = { fds: fds as FdLike[] };
        for (const form of forms) {
          const error = await thrown(() => form.send(pair.near, "x", options));
          expect(error, JSON.stringify(fds)).toBeInstanceOf(kind);
        }
      });
      expect(calls).toEqual([]);
    }
    expect(pair.far.tryReceive()).toBeUndefined();
  });

  test("transfer closes what was sent, numbers and Fd objects alike", () =>
    leakFree(async () => {
      using pair = await open();
      for (const form of forms) {
        const [first, second] = [marked("a"), marked("b")];
        const number = second.release();
        await form.send(pair.near, "x", { fds: [first, number], transfer: true });
        expect(first.closed).toBe(true);
        expect(isOpen(number)).toBe(false);
        using message = must(await form.receive(pair.far));
        expect(marksOf(message.fds)).toEqual(["a", "b"]);
      }
    }));

  test("transfer of somebody else's object is a TypeError", async () => {
    using pair = await open();
    using fd = marked("theirs");
    const options = { fds: [{ fd: fd.fd }], transfer: true };
    for (const form of forms) {
      const error = await thrown(() => form.send(pair.near, "x", options));
      expect(error).toBeInstanceOf(TypeError);
    }
    expect(markOf(fd)).toBe("theirs");
  });

  test("a transfer that fails leaves the descriptors with the caller", async () => {
    using pair = await open();
    pair.far.close();
    for (const form of forms) {
      using fd = marked("mine");
      await failure(() => form.send(pair.near, "x", { fds: [fd], transfer: true }));
      expect(markOf(fd)).toBe("mine");
    }
  });

  test("a message owns its descriptors until they are taken", () =>
    leakFree(async () => {
      using pair = await open();
      using fd = marked("m");
      await pair.near.send("1", { fds: [fd, fd] });
      await pair.near.send("2", { fds: [fd] });
      const left = must(pair.far.tryReceive({ maxBytes: 1 }));
      const number = left.fds[0]!.fd;
      left.close();
      left.close();
      expect(isOpen(number)).toBe(false);
      expect(left.fds).toEqual([]);
      const taken = must(pair.far.tryReceive());
      const [mine] = taken.takeFds();
      taken.close();
      expect(taken.takeFds()).toEqual([]);
      expect(markOf(mine!)).toBe("m");
      mine!.close();
    }));

  test("the passed descriptor shares the sender's position in the file", async () => {
    using pair = await open();
    using fd = marked("0123456789");
    await pair.near.send("x", { fds: [fd] });
    using message = must(pair.far.tryReceive());
    writeSync(message.fds[0]!.fd, "ab");
    writeSync(fd.fd, "c");
    expect(markOf(fd)).toBe("0123456789abc");
  });

  test("unread descriptors are closed with the sockets", () =>
    leakFree(async () => {
      const pair = await open();
      const [near, far] = socketPair("stream");
      await pair.near.send("x", { fds: [near], transfer: false });
      near.close();
      expect(far.tryReceive()).toBeUndefined(); // in flight it lives
      pair[Symbol.dispose]();
      expect(await far.receive()).toBeNull();
      far.close();
    }));

  test("a socket can go over itself and over its peer", () =>
    leakFree(async () => {
      using pair = await open();
      await pair.near.send("x", { fds: [pair.near, pair.far] });
      using message = must(pair.far.tryReceive());
      expect(message.fds.length).toBe(2);
    }));

  test("50 messages of 200 descriptors arrive, and none is left over", () =>
    leakFree(async () => {
      using pair = await open({ sendBufferBytes: 2 ** 20 });
      const fds = markedMany(200);
      const want = expected(200);
      for (let i = 0; i < 50; i++) {
        const sending = pair.near.send(`${i}`, { fds });
        using message = must(await pair.far.receive());
        await sending;
        expect(marksOf(message.fds)).toEqual(want);
      }
      closeAll(fds);
    }));

  if (stream) {
    test("a megabyte with one descriptor brings it once, with the first byte", () =>
      leakFree(async () => {
        using pair = await open();
        using fd = marked("once");
        const sending = pair.near.send(Buffer.alloc(2 ** 20), { fds: [fd] });
        const counts: number[] = [];
        for (let bytes = 0; bytes < 2 ** 20; ) {
          using message = must(await pair.far.receive());
          counts.push(message.fds.length);
          bytes += message.data.length;
        }
        await sending;
        expect(counts[0]).toBe(1);
        expect(counts.slice(1).every((count) => count === 0)).toBe(true);
      }));
  }
});

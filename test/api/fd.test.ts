// Fd: who owns a number.

import { describe, expect, test } from "bun:test";
import { closeSync, constants, openSync } from "node:fs";
import { Fd, listen, openDatagram, socketPair } from "../../src/index.ts";
import { epollCreate, eventfd } from "../../src/syscalls/epoll.ts";
import { pidfdOpen } from "../../src/syscalls/process.ts";
import { runSource, succeeded } from "../support/child.ts";
import { asOnMac, testUnless } from "../support/unless.ts";
import { freshPath, kinds } from "./pairs.ts";
import {
  closeAll,
  codeOf,
  failure,
  isCloseOnExec,
  isOpen,
  leakFree,
  marked,
  markedAs,
  markOf,
} from "./tools.ts";

test("adopt owns: close closes once, and never a number that was used again", () => {
  const fd = Fd.adopt(openSync("/dev/null", "r"));
  const number = fd.fd;
  expect([fd.closed, isOpen(number)]).toEqual([false, true]);
  fd.close();
  expect([fd.closed, fd.fd, isOpen(number)]).toEqual([true, -1, false]);
  using again = markedAs(number, "again");
  fd.close();
  fd[Symbol.dispose]();
  expect(markOf(again)).toBe("again");
});

test("a socket's second close does not close a number that was used again", () => {
  const [near, far] = socketPair("stream");
  const number = near.fd;
  near.close();
  using again = markedAs(number, "again");
  near.close();
  expect(markOf(again)).toBe("again");
  far.close();
});

test("duplicate is a descriptor of its own for the same file, close-on-exec", () =>
  leakFree(() => {
    using fd = marked("same");
    using sockets = { all: socketPair("stream"), [Symbol.dispose]: () => closeAll(sockets.all) };
    for (const from of [fd, fd.fd, { fd: fd.fd }]) {
      using copy = Fd.duplicate(from);
      expect(copy.fd).not.toBe(fd.fd);
      expect(copy.fd).toBeGreaterThan(2);
      expect([markOf(copy), isCloseOnExec(copy.fd), copy.closeOnExec]).toEqual([
        "same",
        true,
        true,
      ]);
    }
    using socket = Fd.duplicate(sockets.all[0]);
    expect(socket.describe().kind).toBe("socket");
    expect(markOf(fd)).toBe("same");
  }));

test("release gives the number up", () => {
  const fd = marked("released");
  const number = fd.release();
  expect([fd.closed, markOf(number)]).toEqual([true, "released"]);
  fd.close();
  expect(isOpen(number)).toBe(true);
  closeSync(number);
});

test("using closes", () => {
  let number: number;
  {
    using fd = marked("scoped");
    number = fd.fd;
  }
  expect(isOpen(number)).toBe(false);
});

test("after close every use is ERR_CLOSED", async () => {
  const fd = marked("x");
  fd.close();
  const uses = [
    () => fd.describe(),
    () => fd.release(),
    () => fd.closeOnExec,
    () => fd.nonBlocking,
    () => {
      fd.nonBlocking = true;
    },
  ];
  for (const use of uses) {
    const error = await failure(use);
    expect([error.code, error.message.includes("already closed")]).toEqual(["ERR_CLOSED", true]);
  }
});

test("wrong arguments", async () => {
  for (const wrong of ["3", null, undefined, {}, { fd: "3" }]) {
    expect(() => Fd.adopt(wrong as unknown as number)).toThrow(TypeError);
    expect(() => Fd.duplicate(wrong as unknown as number)).toThrow(TypeError);
  }
  for (const wrong of [-1, 1.5, 2 ** 31, Number.NaN, Number.POSITIVE_INFINITY]) {
    expect(() => Fd.adopt(wrong)).toThrow(RangeError);
    expect(() => Fd.duplicate(wrong)).toThrow(RangeError);
  }
  expect(await codeOf(() => Fd.duplicate(99_999))).toBe("EBADF");
});

test("nonBlocking belongs to the open file", () => {
  const [near, far] = socketPair("stream");
  using handle = near.release();
  using copy = Fd.duplicate(handle);
  expect([handle.nonBlocking, copy.nonBlocking]).toEqual([true, true]);
  copy.nonBlocking = false;
  expect([handle.nonBlocking, copy.nonBlocking]).toEqual([false, false]);
  copy.nonBlocking = false;
  handle.nonBlocking = true;
  expect(copy.nonBlocking).toBe(true);
  far.close();
});

describe("describe", () => {
  test("knows sockets", () => {
    for (const type of kinds) {
      const [near, far] = socketPair(type);
      using handle = near.release();
      expect(handle.describe()).toMatchObject({
        fd: handle.fd,
        kind: "socket",
        socket: { family: "unix", type, listening: false },
        closeOnExec: true,
        nonBlocking: true,
        access: "read-write",
      });
      far.close();
    }
    using server = listen(freshPath());
    using listening = Fd.duplicate(server);
    expect(listening.describe().socket).toEqual({
      family: "unix",
      type: "stream",
      listening: true,
      address: server.address,
    });
    const tcp = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } });
    using inet = Fd.duplicate((tcp as unknown as { fd: number }).fd);
    expect(inet.describe().socket).toEqual({
      ...{ family: "inet", type: "stream", listening: true },
      ...{ host: "127.0.0.1", port: tcp.port },
    });
    tcp.stop(true);
  });

  const linux = asOnMac("a memfd, an eventfd, an epoll and a pidfd are Linux's");
  testUnless(linux, "knows files, directories, devices, FIFOs and what has no name", () =>
    leakFree(() => {
      const fifo = freshPath();
      Bun.spawnSync(["mkfifo", fifo]);
      using socket = openDatagram();
      const [near, far] = socketPair("stream");
      const { O_RDWR, O_NONBLOCK } = constants;
      const expected: [number, string, string][] = [
        [openSync(import.meta.path, "r"), "file", "read"],
        [openSync(import.meta.dir, "r"), "directory", "read"],
        [openSync("/dev/null", "w"), "character-device", "write"],
        [openSync(fifo, O_RDWR | O_NONBLOCK), "pipe", "read-write"],
        [openSync("/tmp", 0o10000000), "directory", "path"],
        [marked("m").release(), "memfd", "read-write"],
        [eventfd(0), "eventfd", "read-write"],
        [epollCreate(), "epoll", "read-write"],
        [pidfdOpen(process.pid), "pidfd", "read-write"],
      ];
      for (const [number, kind, access] of expected) {
        using fd = Fd.adopt(number);
        const found = fd.describe();
        expect([found.kind, found.access]).toEqual([kind as never, access as never]);
        expect(found.socket).toBeUndefined();
        expect(found.target).toBeString();
      }
      closeAll([near, far]);
      expect(socket.closed).toBe(false);
    }),
  );
});

test("a forgotten Fd is closed by the collector, with one warning for each place", async () => {
  const outcome = await runSource(
    `import { Fd, socketPair } from "@/src/index.ts";
     import { openSync, readdirSync, fstatSync } from "node:fs";
     const warnings = [];
     process.on("warning", ({ name, code, message }) => warnings.push([name, code, message]));
     const isOpen = (fd) => { try { fstatSync(fd); return true; } catch { return false; } };
     const [near, far] = socketPair("stream");
     async function forget() {
       const numbers = [];
       for (let i = 0; i < 50; i++) numbers.push(Fd.adopt(openSync("/dev/null", "r")).fd);
       for (let i = 0; i < 50; i++) numbers.push(Fd.duplicate(0).fd);
       for (let i = 0; i < 20; i++) {
         near.trySend("x", { fds: [0] });
         numbers.push(far.tryReceive().fds[0].fd);
       }
       return numbers;
     }
     const numbers = await forget();
     const kept = Fd.duplicate(0);
     const released = Fd.duplicate(0).release();
     const end = Date.now() + 10000;
     while (numbers.filter(isOpen).length > 3 && Date.now() < end) {
       Bun.gc(true);
       await Bun.sleep(5);
     }
     console.log(JSON.stringify({
       left: numbers.filter(isOpen).length <= 3,
       kept: isOpen(kept.fd),
       released: isOpen(released),
       places: warnings.map(([name, code]) => [name, code].join(" ")),
       texts: warnings.map(([, , message]) => message),
     }));`,
  );
  const { texts, ...rest } = JSON.parse(succeeded(outcome)) as Record<string, unknown>;
  expect(rest).toEqual({
    left: true,
    kept: true,
    released: true,
    places: Array(3).fill("ForgottenDescriptorWarning BUNIX_FORGOTTEN_FD"),
  });
  const all = (texts as string[]).join("\n");
  for (const place of ["Fd.adopt", "Fd.duplicate", "StreamSocket.receive"]) {
    expect(all).toContain(place);
  }
});

test("a forgotten socket takes its waits with it: the next with its number hears", async () => {
  const outcome = await runSource(`
    import { socketPair } from "@/src/index.ts";
    process.emitWarning = () => {};
    const isOpen = (fd) => { try { fs.fstatSync(fd); return true; } catch { return false; } };
    import * as fs from "node:fs";
    const numbers = [];
    async function forget() {
      for (let i = 0; i < 8; i++) {
        const [near, far] = socketPair("stream");
        numbers.push(near.fd, far.fd);
        const coming = far.receive();
        await new Promise((resolve) => setImmediate(resolve));
        await near.send("x");
        await coming;
      }
    }
    await forget();
    const end = Date.now() + 10000;
    while (numbers.filter(isOpen).length > 4 && Date.now() < end) {
      Bun.gc(true);
      await Bun.sleep(5);
    }
    const pairs = Array.from({ length: 8 }, () => socketPair("stream"));
    const used = pairs.flat().filter(({ fd }) => numbers.includes(fd)).length;
    const heard = await Promise.all(pairs.map(async ([a, b]) => {
      const coming = [a.receive(), b.receive()];
      await new Promise((resolve) => setImmediate(resolve));
      await Promise.all([a.send("y"), b.send("z")]);
      await Promise.all(coming);
      return "heard";
    }));
    console.log(JSON.stringify([used > 8, heard.length]));
    process.exit(0);`);
  expect(JSON.parse(succeeded(outcome))).toEqual([true, 8]);
});

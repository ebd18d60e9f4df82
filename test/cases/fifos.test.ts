// FIFOs and pipes as the kernel has them: who is at the other end, and how much goes in.

import { describe, expect, test } from "bun:test";
import { fstatSync, ftruncateSync, mkdirSync, readSync, writeSync } from "node:fs";
import { file } from "../../native/file.ts";
import { epoll } from "../../native/poll.ts";
import { makeFifo, openFifo, pipeBuf } from "../../src/index.ts";
import { open } from "../../src/syscalls/fd.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { Memory } from "../../src/syscalls/memory.ts";
import { result } from "../../src/syscalls/result.ts";
import { freshPath } from "../api/pairs.ts";
import { codeOf, thrown } from "../api/tools.ts";
import { done, edges, ioctl, more, polled, Raw, said } from "./raw.ts";

const room = new Memory(1 << 20);
const NONBLOCK = file.O_NONBLOCK;
const O_DIRECT = 0o40000; // x64; asm-generic's is another

const read = (fd: number, bytes = 100): number | string => {
  const got = said(result(libc.read(fd, room.address, bytes)));
  if (typeof got === "string") return got;
  return Buffer.from(room.bytes.subarray(0, got)).toString();
};

const write = (fd: number, data: string | number): number | string => {
  const bytes = typeof data === "string" ? Buffer.from(data) : new Uint8Array(data);
  room.bytes.set(bytes);
  return said(result(libc.write(fd, room.address, bytes.length)));
};

/** A FIFO, and what opens it. */
function fifo(raw: Raw) {
  const path = freshPath();
  makeFifo(path);
  return {
    path,
    reader: () => raw.own(open(path, file.O_RDONLY | NONBLOCK)),
    writer: () => raw.own(open(path, file.O_WRONLY | NONBLOCK)),
    both: () => raw.own(open(path, file.O_RDWR | NONBLOCK)),
  };
}

test("there already, or no directory: EEXIST, ENOENT (FIF-01)", async () => {
  const path = freshPath();
  makeFifo(path, { exclusive: true });
  expect(await codeOf(() => makeFifo(path, { exclusive: true }))).toBe("EEXIST");
  expect(await codeOf(() => makeFifo(`${path}-none/x`))).toBe("ENOENT");
  mkdirSync(`${path}-directory`);
  expect(await thrown(() => makeFifo(`${path}-directory`))).toBeInstanceOf(Error);
});

test("to write where nobody reads: ENXIO, and nothing blocks (FIF-02, FIF-03)", async () => {
  using raw = new Raw();
  const { path } = fifo(raw);
  expect(said(open(path, file.O_WRONLY | NONBLOCK))).toBe("ENXIO");
  using writer = openFifo(path, "write"); // a blocking open would have stopped this thread
  expect(writer.tryWrite("x")).toBe("no-reader");
});

test("a reader before the first writer reads 0, and is not hung up (FIF-04)", () => {
  using raw = new Raw();
  const { reader } = fifo(raw);
  const fd = reader();
  expect([read(fd), polled(fd)]).toEqual(["", ""]);
});

test("the last writer leaves: data, then the end, hung up until the next (FIF-05)", () => {
  using raw = new Raw();
  const { reader, writer } = fifo(raw);
  const fd = reader();
  const first = writer();
  write(first, "last");
  raw.close(first);
  expect(polled(fd)).toBe("IN HUP");
  expect([read(fd), read(fd), polled(fd)]).toEqual(["last", "", "HUP"]);
  writer();
  expect([polled(fd), read(fd)]).toEqual(["", "EAGAIN"]);
});

test("edge-triggered, a writer's leaving is one event, its coming none (FIF-06)", () => {
  using raw = new Raw();
  const { reader, writer } = fifo(raw);
  const fd = reader();
  const first = writer();
  const events = edges(raw, fd, epoll.EPOLLIN!);
  raw.close(first);
  expect([events(), events()]).toEqual([1, 0]);
  writer();
  expect(events()).toBe(0);
});

test("opened to read and write it never ends (FIF-07)", () => {
  using raw = new Raw();
  const { both, writer } = fifo(raw);
  const fd = both();
  const other = writer();
  write(other, "x");
  raw.close(other);
  expect([read(fd), read(fd)]).toEqual(["x", "EAGAIN"]);
});

test("up to pipeBuf all or nothing, beyond it in whole pages (FIF-08)", () => {
  using raw = new Raw();
  const { reader, writer } = fifo(raw);
  const [from, to] = [reader(), writer()];
  while (write(to, 4096) === 4096);
  read(from, 4096); // one page is free
  expect(write(to, pipeBuf + 904)).toBe(4096);
  expect(write(to, 1)).toBe("EAGAIN");
  read(from, 100);
  expect(write(to, 200)).toBe("EAGAIN");
  expect(write(to, pipeBuf + 904)).toBe("EAGAIN");
});

test("its size cannot go below what is in it, nor above the limit (FIF-09)", () => {
  using raw = new Raw();
  const { reader, writer } = fifo(raw);
  const [from, to] = [reader(), writer()];
  const resize = (bytes: number): number | string =>
    said(result(libc.fcntl(to, more.F_SETPIPE_SZ, bytes)));
  expect(resize(16_384)).toBe(16_384);
  write(to, 12_000);
  expect(resize(4096)).toBe("EBUSY");
  expect(from).toBeGreaterThan(2);
  // above fs.pipe-max-size takes CAP_SYS_RESOURCE, which root in a container may lack
  expect(["EPERM", 2 << 20]).toContain(resize(2 << 20));
});

test("nobody reads any more: EPIPE, and poll says ERR (FIF-10)", () => {
  using raw = new Raw();
  const { reader, writer } = fifo(raw);
  const from = reader();
  const to = writer();
  raw.close(from);
  expect(polled(to)).toBe("OUT ERR");
  expect(write(to, "x")).toBe("EPIPE");
});

test("it has no length and no position: EINVAL, ESPIPE (FIF-11)", async () => {
  using raw = new Raw();
  const fd = fifo(raw).both();
  expect(await thrown(() => ftruncateSync(fd, 10))).toMatchObject({ code: "EINVAL" });
  const bytes = Buffer.alloc(4);
  expect(await thrown(() => writeSync(fd, bytes, 0, 4, 1))).toMatchObject({ code: "ESPIPE" });
  expect(await thrown(() => readSync(fd, bytes, 0, 4, 1))).toMatchObject({ code: "ESPIPE" });
  expect(fstatSync(fd).isFIFO()).toBeTrue();
});

test("when both ends have gone what was in it is gone (FIF-12)", () => {
  using raw = new Raw();
  const { reader, writer } = fifo(raw);
  const from = reader();
  const to = writer();
  write(to, "lost");
  raw.close(to);
  raw.close(from);
  const again = reader();
  writer();
  expect(read(again)).toBe("EAGAIN");
});

describe("a pipe of packets", () => {
  test("each write is a read; what does not fit is dropped (FIF-13)", () => {
    using raw = new Raw();
    const pair = new Memory(8);
    const direct = process.arch === "arm64" ? 0o200000 : O_DIRECT;
    done(result(libc.pipe2(pair.address, NONBLOCK | file.O_CLOEXEC | direct)));
    const [from, to] = [raw.own(pair.words[0]!), raw.own(pair.words[1]!)];
    for (const packet of ["abc", "de", "f"]) write(to, packet);
    expect([read(from, 10), read(from, 1), read(from, 10)]).toEqual(["abc", "d", "f"]);
  });
});

test("FIONREAD counts the bytes in it (FIF-14)", () => {
  using raw = new Raw();
  const { both } = fifo(raw);
  const fd = both();
  write(fd, "abc");
  expect(ioctl(fd, more.FIONREAD)).toBe(3);
});

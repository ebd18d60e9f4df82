// What the kernel does with files, locks, limits and names, where no other test asks it directly.

import { expect } from "bun:test";
import {
  mkdirSync,
  readFileSync,
  readSync,
  renameSync,
  statSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { errno } from "../../native/errno.ts";
import { file } from "../../native/file.ts";
import { epoll, poll } from "../../native/poll.ts";
import { socket as c, option } from "../../native/socket.ts";
import { capabilities } from "../../src/capabilities/capabilities.ts";
import { open, pollNow, tryLock, unlock } from "../../src/syscalls/fd.ts";
import { mkfifo } from "../../src/syscalls/fifo.ts";
import { mqOpen, mqUnlink } from "../../src/syscalls/message-queue.ts";
import {
  bind,
  connect,
  getOption,
  listen,
  setOption,
  shutdown,
  socketName,
} from "../../src/syscalls/socket.ts";
import { done, edges, more, polled, Raw, said, send } from "../cases/raw.ts";
import { run, succeeded, writeSource } from "../support/child.ts";
import { fact } from "../support/facts.ts";
import { tempDir } from "../support/tmp.ts";
import { noOutOfBand } from "../support/unless.ts";
import { at, SOCK_DGRAM, SOCK_STREAM } from "../syscalls/sockets.ts";

fact("inode-of-an-open-socket", "while one is open its file's inode is not used again", () => {
  using dir = tempDir();
  using raw = new Raw();
  const path = dir.file("s");
  const old = raw.at(at(path), SOCK_STREAM, 1);
  const { ino } = statSync(path);
  for (let i = 0; i < 50; i++) {
    unlinkSync(path);
    const next = raw.at(at(path), SOCK_STREAM, 1);
    expect(statSync(path).ino).not.toBe(ino);
    raw.close(next);
  }
  raw.close(old);
});

fact("long-paths-through-proc", "bind and connect by the directory's descriptor", () => {
  using dir = tempDir();
  using raw = new Raw();
  const directory = dir.file("d".repeat(120));
  mkdirSync(directory);
  const flags = file.O_RDONLY | (file.O_DIRECTORY ?? 0);
  const short = `/proc/self/fd/${raw.own(open(directory, flags))}/s`;
  const listener = raw.at(at(short), SOCK_STREAM, 1);
  expect(statSync(`${directory}/s`).isSocket()).toBe(true);
  expect(socketName(listener, "getsockname")).toEqual(at(short));
  expect(connect(raw.socket(SOCK_STREAM), at(short))).toBe(0);
});

fact(
  "out-of-band-descriptors",
  "passed over, the kernel closes them; inline they come",
  () => {
    using raw = new Raw();
    for (const inline of [false, true]) {
      const [near, far] = raw.pair(SOCK_STREAM);
      const [reading, writing] = raw.pipe();
      if (inline) done(setOption(far, option.SO_OOBINLINE!, 1));
      expect(send(near, { data: "o", fds: [writing], flags: more.MSG_OOB })).toBe(1);
      raw.close(writing);
      const { result, fds } = raw.receive(far);
      expect([result, fds.length]).toEqual(inline ? [1, 1] : ["EAGAIN", 0]);
      expect(polled(reading)).toBe(inline ? "" : "HUP");
    }
  },
  noOutOfBand(),
);

fact("flock-on-a-directory", "held through its descriptor, without a file of its own", () => {
  using dir = tempDir();
  using raw = new Raw();
  const [one, other] = [raw.own(open(dir.path, file.O_RDONLY)), raw.own(open(dir.path, 0))];
  expect(tryLock(one)).toBe(0);
  expect(said(tryLock(other))).toBe("EAGAIN");
  raw.close(one);
  expect(tryLock(other)).toBe(0);
  expect(unlock(other)).toBe(0);
});

const QUEUE = `/bunix-fact-${process.pid}`;

/** Why there are no message queues; null where there are. */
function noQueues(): string | null {
  const { messageQueues } = capabilities();
  return messageQueues.available ? null : messageQueues.reason;
}

fact("flock-has-no-readiness", "poll says the same before and after", () => {
  using dir = tempDir();
  using raw = new Raw();
  const both = poll.POLLIN | poll.POLLOUT;
  const make = file.O_RDWR | file.O_CREAT;
  const [one, other] = [0, 0].map(() => raw.own(open(dir.file("lock"), make, 0o600)));
  expect([tryLock(one!), tryLock(other!)]).toEqual([0, -errno.EAGAIN]);
  expect(pollNow(other!, both)).toBe(both);
  expect(unlock(one!)).toBe(0);
  expect(pollNow(other!, both)).toBe(both);
});

fact(
  "flock-on-a-queue",
  "held while its descriptor is open, free afterwards",
  () => {
    using raw = new Raw();
    const flags = file.O_RDWR | file.O_CREAT;
    const [one, other] = [0, 0].map(() => raw.own(mqOpen(QUEUE, flags, { mode: 0o600 })));
    mqUnlink(QUEUE);
    expect(tryLock(one!)).toBe(0);
    expect(said(tryLock(other!))).toBe("EAGAIN");
    raw.close(one!);
    expect(tryLock(other!)).toBe(0);
  },
  noQueues(),
);

fact("accept-at-emfile-stays-readable", "poll goes on saying IN, an edge comes once", async () => {
  const program = `
    import { openSync } from "node:fs";
    import { epoll, poll } from "@/native/poll.ts";
    import { EpollEvents, epollCreate, epollCtl } from "@/src/syscalls/epoll.ts";
    import { poll } from "@/src/syscalls/fd.ts";
    import { accept, bind, connect, listen, socket } from "@/src/syscalls/socket.ts";
    const address = { kind: "abstract", name: Buffer.from("bunix-fact-" + process.pid) };
    const [listener, client, set] = [socket(1), socket(1), epollCreate()];
    bind(listener, address);
    listen(listener, 4);
    const events = (epoll.EPOLLIN | epoll.EPOLLET) >>> 0;
    epollCtl(set, epoll.EPOLL_CTL_ADD, { fd: listener, events });
    const edges = () => new EpollEvents(4).wait(set);
    connect(client, address);
    try { for (;;) openSync("/dev/null", "r"); } catch {}
    const seen = [edges()];
    for (let i = 0; i < 2; i++) seen.push(accept(listener), poll(listener, 1, 0), edges());
    console.log(seen.join(" "));`;
  using dir = tempDir();
  const command = 'ulimit -n 200; exec "$0" "$1"';
  const outcome = await run(["sh", "-c", command, process.execPath, writeSource(dir, program)]);
  expect(succeeded(outcome)).toBe(`1 ${-errno.EMFILE} 1 0 ${-errno.EMFILE} 1 0\n`);
});

fact(
  "shut-reading-loses-nothing",
  "what is queued is read, then the end; writers get EPIPE",
  () => {
    using raw = new Raw();
    const [near, far] = raw.pair(SOCK_STREAM);
    writeSync(far, "queued");
    expect(shutdown(near, c.SHUT_RD)).toBe(0);
    expect(() => writeSync(far, "more")).toThrow("EPIPE");
    const bytes = new Uint8Array(16);
    expect([readSync(near, bytes), readSync(near, bytes)]).toEqual([6, 0]);
  },
);

fact("passcred-gives-a-name", "an unbound sender with SO_PASSCRED is bound by sending", () => {
  using dir = tempDir();
  using raw = new Raw();
  const receiver = at(dir.file("r"));
  raw.at(receiver, SOCK_DGRAM);
  const [plain, asking] = [raw.socket(SOCK_DGRAM), raw.socket(SOCK_DGRAM)];
  expect(setOption(asking, option.SO_PASSCRED ?? -1, 1)).toBe(0);
  for (const fd of [plain, asking]) expect(send(fd, { to: receiver })).toBe(1);
  const kinds = [plain, asking].map((fd) => socketName(fd, "getsockname"));
  expect(kinds).toMatchObject([{ kind: "unnamed" }, { kind: "abstract" }]);
});

fact("fifo-writer-is-not-told", "a writer without a reader hears nothing when one comes", () => {
  using dir = tempDir();
  using raw = new Raw();
  const path = dir.file("f");
  expect(mkfifo(Buffer.from(path), 0o600)).toBe(0);
  const read = (): number => raw.own(open(path, file.O_RDONLY | file.O_NONBLOCK));
  const first = read();
  const writer = raw.own(open(path, file.O_WRONLY | file.O_NONBLOCK));
  const events = edges(raw, writer, (epoll.EPOLLOUT ?? 0) | (epoll.EPOLLERR ?? 0));
  expect(events()).toBe(1); // writable
  raw.close(first);
  expect(events()).toBe(1); // nobody reads any more
  read();
  expect(events()).toBe(0);
});

fact("file-goes-on-without-its-name", "bind by a name, rename: connect finds it there", () => {
  using dir = tempDir();
  using raw = new Raw();
  const [before, after] = [dir.file("a"), dir.file("b")];
  const fd = raw.socket(SOCK_STREAM);
  expect(bind(fd, at(before))).toBe(0);
  expect(listen(fd, 1)).toBe(0);
  renameSync(before, after);
  expect(connect(raw.socket(SOCK_STREAM), at(after))).toBe(0);
  expect(socketName(fd, "getsockname")).toEqual(at(before));
});

fact("buffers-are-capped", "SO_SNDBUF beyond net.core.wmem_max: as much as that, no error", () => {
  using raw = new Raw();
  const [near] = raw.pair(SOCK_STREAM);
  const max = Number(readFileSync("/proc/sys/net/core/wmem_max", "latin1"));
  const asked = 2 * max + 4096;
  expect(setOption(near, option.SO_SNDBUF, asked)).toBe(0);
  expect(getOption(near, option.SO_SNDBUF)).toBe(2 * max); // which the kernel doubles
});

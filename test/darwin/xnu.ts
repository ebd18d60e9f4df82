// What XNU does otherwise than Linux (facts: #xnu-sends, #kqueue-and-fifos), one test for each, as
// the shim does it. run.ts runs this file; mutations.test.ts takes our code for each away, and then
// its test must fail.

import { expect, test } from "bun:test";
import {
  chmodSync,
  closeSync,
  constants,
  mkdirSync,
  openSync,
  statSync,
  symlinkSync,
  writeSync,
} from "node:fs";
import { file } from "../../native/file.ts";
import { socket as c, option } from "../../native/socket.ts";
import {
  adoptSocket,
  connectSync,
  listen,
  openDatagram,
  probe,
  type StreamSocket,
  socketPair,
  type UnixError,
  UnsupportedError,
} from "../../src/index.ts";
import { waitReadable } from "../../src/readiness.ts";
import { descriptorFlags, setNonBlocking, statusFlags } from "../../src/syscalls/fd.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { cells } from "../../src/syscalls/memory.ts";
import { getOption } from "../../src/syscalls/socket.ts";
import { run, succeeded, writeSource } from "../support/child.ts";
import { setMode, tempDir } from "../support/tmp.ts";

const block = new Uint8Array(32 * 1024);

/** Send until there is no room: how many bytes. */
function fill(socket: StreamSocket): number {
  let bytes = 0;
  for (let sent = socket.trySend(block); sent !== null; sent = socket.trySend(block)) bytes += sent;
  return bytes;
}

async function drain(socket: StreamSocket, bytes: number): Promise<void> {
  for (let left = bytes; left > 0; ) left -= (await socket.receive())!.data.length;
}

test("this is macOS's column, on the shim", () => {
  expect(option.SOL_SOCKET).toBe(0xffff);
  expect(libc.__error()).toBeGreaterThan(0);
});

test("a send with descriptors waits for room: EMSGSIZE means not now", async () => {
  const [near, far] = socketPair("stream");
  const bytes = fill(near);
  expect(near.trySend("x", { fds: [0] })).toBeNull();
  let done = false;
  const sending = near.send("x", { fds: [0] }).then(() => (done = true));
  await Bun.sleep(0);
  expect(done).toBeFalse();
  await drain(far, bytes);
  using message = await far.receive();
  expect([message?.text(), message?.fds.length]).toEqual(["x", 1]);
  await sending;
  near.close();
  far.close();
});

test("a socket that blocks is not slept on: MSG_NBIO", () => {
  const [near, far] = socketPair("stream");
  setNonBlocking(near.fd, false);
  expect(fill(near)).toBeGreaterThan(0);
  near.close();
  far.close();
});

test("every socket that is made or adopted has O_NONBLOCK, too", () => {
  const [near, far] = socketPair("stream");
  setNonBlocking(far.fd, false);
  using adopted = adoptSocket(far.release(), { expect: "stream" });
  for (const { fd } of [near, adopted]) {
    expect(statusFlags(fd) & file.O_NONBLOCK).toBe(file.O_NONBLOCK);
    expect(descriptorFlags(fd) & file.FD_CLOEXEC).toBe(file.FD_CLOEXEC);
  }
  near.close();
});

test("datagrams wait for room at the receiver: ENOBUFS means try again", async () => {
  const [near, far] = socketPair("datagram");
  const all = Array.from({ length: 600 }, (_, i) => near.send(String(i)));
  for (let i = 0; i < 600; i++) expect((await far.receive())?.text()).toBe(String(i));
  await Promise.all(all);
  near.close();
  far.close();
});

test("the same to an address, from a socket that is not connected", async () => {
  using dir = tempDir();
  using receiver = openDatagram(dir.file("s"));
  using sender = openDatagram();
  const all = Array.from({ length: 100 }, (_, i) => sender.send(String(i), { to: dir.file("s") }));
  for (let i = 0; i < 100; i++) expect((await receiver.receive())?.text()).toBe(String(i));
  await Promise.all(all);
});

test("several descriptors are one SCM_RIGHTS, as long as the control data", async () => {
  const [near, far] = socketPair("stream");
  for (const count of [1, 2, 3, 253]) {
    await near.send("x", { fds: new Array(count).fill(0) });
    using message = await far.receive();
    expect(message?.fds.length).toBe(count);
    for (const fd of message!.fds) expect(fd.closeOnExec).toBeTrue();
  }
  near.close();
  far.close();
});

test("a full table of descriptors: the data comes, and no descriptors", async () => {
  const program = `
    import { openSync, closeSync } from "node:fs";
    import { socketPair } from "@/src/index.ts";
    const [near, far] = socketPair("stream");
    await near.send("data", { fds: [0, 0, 0] });
    await near.send("more");
    const taken = [];
    try { for (;;) taken.push(openSync("/dev/null")); } catch {}
    closeSync(taken.pop()); // room for one of three
    const message = far.tryReceive();
    console.log(message.text(), message.fdsTruncated, message.fds.length);
    const free = openSync("/dev/null"); // the one is free again
    console.log(free > 0, far.tryReceive()?.text());
    process.exit(0);`;
  using dir = tempDir();
  const script = writeSource(dir, program);
  const limited = 'ulimit -n 128; exec "$0" "$1"';
  const outcome = await run(["bash", "-c", limited, process.execPath, script]);
  expect(succeeded(outcome).trim().split("\n")).toEqual(["data true 0", "true more"]);
});

test("no SIGPIPE: neither by the call nor by the socket", () => {
  const [near, far] = socketPair("stream");
  expect(getOption(near.fd, option.SO_NOSIGPIPE ?? 0)).toBe(1);
  far.close();
  expect(() => near.trySend("x")).toThrow("EPIPE");
  near.close();
});

test("the end comes behind what was sent before it", async () => {
  const [near, far] = socketPair("stream");
  const waiting = far.receive();
  await Bun.sleep(0);
  near.trySend("last words");
  near.close();
  expect((await waiting)?.text()).toBe("last words");
  expect(await far.receive()).toBeNull();
  far.close();
});

test("the last writer of a FIFO: select(2) tells, kqueue and poll(2) do not", async () => {
  using dir = tempDir();
  const path = dir.file("fifo");
  expect(Bun.spawnSync(["mkfifo", path]).success).toBeTrue();
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  for (let round = 0; round < 3; round++) {
    const writer = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
    writeSync(writer, "x");
    await waitReadable(reader);
    expect(libc.read(reader, cells.address, 8)).toBe(1);
    const told = waitReadable(reader);
    await Bun.sleep(0);
    closeSync(writer);
    await told;
    expect(libc.read(reader, cells.address, 8)).toBe(0);
  }
  closeSync(reader);
});

test("a closed number is another file's: no event of the old one comes", async () => {
  for (let i = 0; i < 20; i++) {
    const [near, far] = socketPair("stream");
    const waiting = near.receive();
    near.close();
    await waiting.catch(() => {});
    const [next, other] = socketPair("stream");
    far.close();
    await other.send("x");
    expect((await next.receive())?.text()).toBe("x");
    next.close();
    other.close();
  }
});

test("a live server whose backlog is full keeps its file, though it refuses", () => {
  using dir = tempDir();
  const path = dir.file("s");
  using server = listen(path, { backlog: 1 });
  const clients: StreamSocket[] = [];
  for (let refused = false; !refused; ) {
    try {
      clients.push(connectSync(path));
    } catch (error) {
      expect((error as UnixError).code).toBe("ECONNREFUSED");
      refused = true;
    }
  }
  const seen = { pid: process.pid, fd: server.fd };
  expect(probe(path)).toMatchObject({ state: "listening", source: "libproc", holders: [seen] });
  expect(() => listen(path)).toThrow("that is this very process");
  const { proc_listpids } = libc;
  libc.proc_listpids = () => 0; // as where the server is another user's
  expect(probe(path)).toMatchObject({ state: "stale", source: "connect", holders: [] });
  expect(() => listen(path)).toThrow("a live server with a full backlog does, too");
  libc.proc_listpids = proc_listpids;
  for (const client of clients) client.close();
  using accepted = server.tryAccept();
  expect(accepted).not.toBeNull();
  using client = connectSync(path);
  expect(client.closed).toBeFalse();
});

test("a file that a crash has left is taken over with a lockFile", () => {
  using dir = tempDir();
  const [path, lockFile] = [dir.file("s"), dir.file("lock")];
  listen(path, { exclusive: false }).release().close();
  expect(() => listen(path)).toThrow("use lockFile");
  using server = listen(path, { lockFile });
  using client = connectSync(path);
  expect([server.closed, client.closed]).toEqual([false, false]);
});

test("a datagram socket's path is no stream's: its type is found without seqpacket", () => {
  using dir = tempDir();
  using receiver = openDatagram(dir.file("s"));
  expect(probe(dir.file("s"))).toMatchObject({ state: "listening", type: "datagram" });
  expect(receiver.closed).toBeFalse();
});

test("a mode is exact, though fchmod refuses sockets", () => {
  using dir = tempDir();
  using server = listen(dir.file("s"), { mode: 0o620 });
  expect(statSync(dir.file("s")).mode & 0o777).toBe(0o620);
  expect(server.closed).toBeFalse();
});

test("a directory behind a link, as /tmp is there, is looked at and not the link", () => {
  using dir = tempDir();
  mkdirSync(dir.file("real"));
  symlinkSync("real", dir.file("link"));
  const path = dir.file("link/s");
  listen(path).close();
  chmodSync(dir.file("real"), 0o777);
  expect(() => listen(path)).toThrow("any user may replace files in");
  setMode(dir.file("real"), 0o1777);
  listen(path).close();
  expect(() => listen(dir.file("none/s"))).toThrow(`bind ENOENT: no such file or directory`);
});

test("the kernel chooses no names there, and a path has one way to it", () => {
  expect(() => listen({ autobind: true })).toThrow(UnsupportedError);
  expect(() => openDatagram({ kind: "unnamed" })).toThrow(UnsupportedError);
  using dir = tempDir();
  const long = dir.file("l".repeat(100));
  expect(() => listen(long)).toThrow("a socket's path has at most 103 bytes here");
  expect(() => connectSync(long)).toThrow("connect ENAMETOOLONG");
});

test("what does not exist there says so", () => {
  expect(() => socketPair("seqpacket")).toThrow("macOS has no such Unix sockets");
  expect(libc.socket(c.AF_UNIX, c.SOCK_SEQPACKET, 0)).toBe(-1);
});

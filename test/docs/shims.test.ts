// What the tests of usocket and node-unix-socket hold, whose packages come without them: held of
// the shims in docs/, by tests of ours. The other shims have the packages' own, in
// interop/shim-suites.

import { afterAll, describe, expect, test } from "bun:test";
import { once } from "node:events";
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect as connectTcp, createServer } from "node:net";
import { writeShim } from "../support/shims.ts";
import { tempDir } from "../support/tmp.ts";

const dir = tempDir();
afterAll(() => dir.remove());
const { USocket, UServer } = await import(writeShim(dir, "usocket"));
const { DgramSocket, SeqpacketServer, SeqpacketSocket, createReuseportFd, closeFd } = await import(
  writeShim(dir, "node-unix-socket")
);

let names = 0;
const fresh = (): string => dir.file(`s${names++}`);

type Socket = InstanceType<typeof USocket>;
type Got = Buffer & { data: Buffer; fds: number[] };

/** What `read` gives, as soon as it gives something. */
function read(socket: Socket, size: number, count?: number): Promise<Got> {
  const { promise, resolve } = Promise.withResolvers<Got>();
  const look = (): void => {
    const got = count === undefined ? socket.read(size) : socket.read(size, count);
    if (got === null) return;
    socket.removeListener("readable", look);
    resolve(got);
  };
  socket.on("readable", look);
  look();
  return promise;
}

describe("usocket", () => {
  async function pair() {
    const path = fresh();
    const server = new UServer();
    const accepted = once(server, "connection");
    server.listen(path);
    await once(server, "listening");
    const client = new USocket();
    client.connect(path);
    await once(client, "connected");
    const [peer] = await accepted;
    return { path, server, client, peer };
  }

  test("bytes both ways, also many; a failed connect may be tried again", async () => {
    const { path, server, client, peer } = await pair();
    for (const [from, to] of [
      [client, peer],
      [peer, client],
    ]) {
      for (const data of [Buffer.from("hello there"), Buffer.alloc(500_000, "long data!")]) {
        from.write(data);
        expect((await read(to, data.length)).equals(data)).toBe(true);
      }
    }
    const again = new USocket();
    const failed = once(again, "error");
    again.connect({ fd: -1 });
    expect((await failed)[0]).toBeInstanceOf(RangeError);
    again.connect(path);
    await once(again, "connected");
    for (const one of [again, client, peer, server]) one.destroy?.() ?? one.close();
    expect(existsSync(path)).toBe(true); // as usocket has it
  });

  test("descriptors: one, several, put back", async () => {
    const { server, client, peer } = await pair();
    writeFileSync(dir.file("text"), "what is in it");
    for (const count of [1, 2]) {
      const fds = Array.from({ length: count }, () => openSync(dir.file("text"), "r"));
      const { promise, resolve } = Promise.withResolvers<void>();
      peer.write({ data: Buffer.from("here"), fds, callback: resolve });
      await promise;
      for (const fd of fds) closeSync(fd);
      let got = await read(client, 4, count);
      client.unshift(got.data, got.fds);
      got = await read(client, 4, count);
      expect([String(got.data), got.fds.length]).toEqual(["here", count]);
      for (const fd of got.fds) {
        expect(readFileSync(fd, "utf8")).toBe("what is in it");
        closeSync(fd);
      }
    }
    expect(client.read(1, 1)).toBeNull();
    for (const one of [client, peer]) one.destroy();
    server.close();
  });

  test("an end from one side, data and an end from the other, then both are closed", async () => {
    const { server, client, peer } = await pair();
    const closed = [once(client, "close"), once(peer, "close")];
    peer.on("readable", () => peer.read(0));
    peer.on("end", () => peer.end(Buffer.from("last words")));
    client.end();
    expect(String(await read(client, 10))).toBe("last words");
    client.resume();
    await Promise.all(closed);
    server.close();
  });

  test("a paused server leaves connections where they are", async () => {
    const { path, server, client, peer } = await pair();
    server.pause();
    const waiting = new USocket(path);
    await once(waiting, "connected");
    const accepted = once(server, "connection");
    server.resume();
    for (const one of [client, peer, waiting, (await accepted)[0]]) one.destroy();
    server.close();
  });
});

describe("node-unix-socket, datagrams", () => {
  test("data with where it comes from; 1,024 for a queue that has room for few", async () => {
    const [client, server, path, own] = [new DgramSocket(), new DgramSocket(), fresh(), fresh()];
    const got: [string, string][] = [];
    const all = Promise.withResolvers<void>();
    server.on("data", (data: Buffer, from: string) => {
      got.push([String(data), from]);
      if (got.length === 1_024) all.resolve();
    });
    server.bind(path);
    expect([server.address(), client.address()]).toEqual([path, ""]);
    client.bind(own);
    for (let i = 0; i < 1_024; i++) client.sendTo(Buffer.from(`<${i}>`), 1, 3, path);
    await all.promise;
    expect(got[7]).toEqual(["7>", own]);
    expect(got[1_023]).toEqual(["102", own]);
    for (const one of [client, server]) one.close();
    expect(() => server.address()).toThrow();
  });

  test("errors in its words, sizes as the kernel has them, and its close", async () => {
    const socket = new DgramSocket();
    const { promise, resolve } = Promise.withResolvers<Error | undefined>();
    socket.sendTo(Buffer.from("x"), 0, 1, fresh(), resolve);
    expect((await promise)?.message).toBe("No such file or directory");
    expect(() => socket.bind(dir.file("t".repeat(65_535)))).toThrow("path to bind is too long");
    socket.setRecvBufferSize(10_000);
    socket.setSendBufferSize(10_000);
    const sizes = [socket.getRecvBufferSize(), socket.getSendBufferSize()];
    expect(sizes).toEqual([20_000, 20_000]);
    const closed = once(socket, "close");
    socket.close();
    await closed;
    expect(() => socket.sendTo(Buffer.from("x"), 0, 1, "/x")).toThrow("has been closed");
  });
});

describe("node-unix-socket, packets", () => {
  async function pair() {
    const path = fresh();
    const server = new SeqpacketServer();
    server.listen(path);
    expect(server.address()).toBe(path);
    const accepted = once(server, "connection");
    const client = new SeqpacketSocket();
    client.connect(path);
    const [peer, from] = await accepted;
    expect(from).toBe("");
    return { path, server, client, peer };
  }

  test("packets in order, parts of buffers, cut to the size that is set", async () => {
    const { server, client, peer } = await pair();
    const next = async (): Promise<Buffer> => (await once(peer, "data"))[0];
    const first = next();
    client.write(Buffer.from("hello, world"), 7, 5);
    expect(String(await first)).toBe("world");
    peer.setInternalReadBufferSize(32 * 1024);
    expect(peer.getInternalReadBufferSize()).toBe(32 * 1024);
    const cut = next();
    client.write(Buffer.alloc(100_000, 1));
    expect((await cut).length).toBe(32 * 1024);
    const sizes: number[] = [];
    peer.on("data", (data: Buffer) => sizes.push(data.length));
    for (let i = 1; i <= 100; i++) client.write(Buffer.alloc(i));
    const closed = [once(client, "close"), once(peer, "close")];
    client.end();
    await once(peer, "end");
    expect(sizes).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
    peer.end();
    await Promise.all(closed);
    server.close();
  });

  test("what cannot be: throws at once, or is an error and the end", async () => {
    const lost = new SeqpacketSocket();
    expect(() => lost.connect(fresh())).toThrow("No such file or directory");
    expect(() => lost.write(Buffer.from("x"))).toThrow("SeqpacketSocket has been destroyed");
    lost.destroy();
    const { path, server, client, peer } = await pair();
    const closed = once(server, "close");
    peer.destroy();
    server.close();
    await closed;
    expect(() => server.listen(path)).toThrow("SeqpacketServer has been closed");
    const failed = once(client, "error");
    const { promise: ended, resolve } = Promise.withResolvers<void>();
    client.on("close", resolve);
    client.write(Buffer.from("x"));
    expect((await failed)[0].code).toBe("EPIPE");
    await ended;
  });
});

test("node-unix-socket, several listeners of one port", async () => {
  const fd = createReuseportFd(0, "127.0.0.1");
  const server = createServer((socket) => socket.end("hello"));
  server.listen({ fd });
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  closeFd(createReuseportFd(port, "127.0.0.1"));
  const client = connectTcp(port, "127.0.0.1");
  expect(String((await once(client, "data"))[0])).toBe("hello");
  client.destroy();
  server.close();
  expect(() => createReuseportFd(0, "nowhere")).toThrow("invalid host");
});

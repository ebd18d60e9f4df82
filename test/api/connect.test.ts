// Connecting: who is there, who is not, and what the error says about it.

import { describe, expect, test } from "bun:test";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import {
  type ConnectOptions,
  connect,
  connectSync,
  listen,
  openDatagram,
  socketPair,
} from "../../src/index.ts";
import { runSource, succeeded } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { freshAddress, freshPath } from "./pairs.ts";
import { closeAll, codeOf, failure, isCloseOnExec, leakFree, must, turns } from "./tools.ts";

const types = ["stream", "seqpacket"] as const;
const forms = [
  ["async", (path: string, options?: ConnectOptions) => connect(path, options)],
  ["sync", async (path: string, options?: ConnectOptions) => connectSync(path, options)],
] as const;

describe.each(forms)("%s", (_name, open) => {
  for (const type of types) {
    test(`${type}: a full backlog is waited for, until timeoutMs`, () =>
      leakFree(async () => {
        const path = freshPath();
        using server = listen(path, { type, backlog: 0 });
        using _first = await open(path, { type });
        const error = await failure(() => open(path, { type, timeoutMs: 20 }));
        expect([error.code, error.errno, error.syscall, error.address, error.path]).toEqual([
          "ETIMEDOUT",
          -110,
          "connect",
          path,
          path,
        ]);
        expect(error.message).toContain("backlog");
        expect(await codeOf(() => open(path, { type, timeoutMs: 0 }))).toBe("ETIMEDOUT");
        server.acceptSync().close();
        using second = await open(path, { type, timeoutMs: 20_000 });
        expect(isCloseOnExec(second.fd)).toBe(true);
      }));
  }

  test("nobody there", () =>
    leakFree(async () => {
      using dir = tempDir();
      const stale = dir.file("stale");
      listen(stale, { unlinkOnClose: false }).close();
      writeFileSync(dir.file("file"), "");
      mkdirSync(dir.file("directory"));
      const cases: [string, string, string][] = [
        [dir.file("nothing"), "ENOENT", "is the server running?"],
        [dir.file("no/such/directory"), "ENOENT", "no such socket"],
        [dir.file("file/below"), "ENOTDIR", "not a directory"],
        [stale, "ECONNREFUSED", "no process listens there"],
        [dir.file("file"), "ECONNREFUSED", "a regular file of this name"],
        [dir.file("directory"), "ECONNREFUSED", "a directory of this name"],
        [freshAddress("abstract"), "ECONNREFUSED", "no process listens there"],
      ];
      for (const [address, code, hint] of cases) {
        const error = await failure(() => open(address));
        expect([error.code, error.syscall, error.address]).toEqual([code, "connect", address]);
        expect(error.path).toBe(address.startsWith("@") ? undefined : address);
        expect(error.message).toStartWith(`connect ${code}: `);
        expect(error.message).toContain(address);
        expect(error.message).toContain(hint);
      }
    }));

  test("a server of another type is EPROTOTYPE", () =>
    leakFree(async () => {
      const [stream, packets, datagrams] = [freshPath(), freshPath(), freshPath()];
      using _stream = listen(stream);
      using _packets = listen(packets, { type: "seqpacket" });
      using _datagrams = openDatagram(datagrams);
      for (const [path, type] of [
        [stream, "seqpacket"],
        [packets, "stream"],
        [datagrams, "stream"],
        [datagrams, "seqpacket"],
      ] as const) {
        const error = await failure(() => open(path, { type }));
        expect(error.code).toBe("EPROTOTYPE");
        expect(error.message).toContain("another type");
      }
      expect(await codeOf(() => openDatagram(undefined, { connect: stream }))).toBe("EPROTOTYPE");
    }));

  test("an abstract name belongs to its type", async () => {
    const name = freshAddress("abstract");
    using _server = listen(name);
    expect(await codeOf(() => open(name, { type: "seqpacket" }))).toBe("ECONNREFUSED");
    using _packets = listen(name, { type: "seqpacket" });
    using _datagrams = openDatagram(name);
    using _connected = await open(name, { type: "seqpacket" });
  });

  test("a taken name for this end is EADDRINUSE, and no socket is left", () =>
    leakFree(async () => {
      const [path, from] = [freshPath(), freshPath()];
      using _server = listen(path);
      using _taken = openDatagram(from);
      const error = await failure(() => open(path, { from }));
      expect([error.code, error.syscall, error.address]).toEqual(["EADDRINUSE", "bind", from]);
    }));
});

test("a connect that waits for the backlog ends when the listener closes", () =>
  leakFree(async () => {
    const path = freshPath();
    using server = listen(path, { backlog: 0 });
    using first = await connect(path);
    const waiting = codeOf(() => connect(path));
    await turns();
    server.close();
    expect(["ECONNREFUSED", "ENOENT"]).toContain(await waiting);
    expect(await codeOf(() => first.receive())).toBe("ECONNRESET"); // it was never accepted
    expect(await first.receive()).toBeNull();
  }));

test("200 connections at once through a backlog of one", () =>
  leakFree(async () => {
    const path = freshPath();
    using server = listen(path, { backlog: 1 });
    const clients = Promise.all(Array.from({ length: 200 }, () => connect(path)));
    const accepted = [];
    for (let i = 0; i < 200; i++) accepted.push(await server.accept());
    for (const [i, client] of (await clients).entries()) await client.send(`${i}`);
    const texts = await Promise.all(accepted.map(async (socket) => must(await socket.receive())));
    const numbers = texts.map((message) => Number(message.text())).sort((a, b) => a - b);
    expect(numbers).toEqual(Array.from({ length: 200 }, (_, i) => i));
    closeAll(await clients);
    closeAll(accepted);
  }));

test("what was sent and closed before accept is all there", () =>
  leakFree(async () => {
    const path = freshPath();
    using server = listen(path);
    const client = await connect(path);
    await client.send("hello");
    const pair = socketPair("stream");
    await client.send("!", { fds: [pair[0]] });
    client.close();
    using accepted = await server.accept();
    using message = must(await accepted.receive());
    expect([message.text(), message.fds.length]).toEqual(["hello!", 1]);
    expect(await accepted.receive()).toBeNull();
    closeAll(pair);
  }));

test("wrong arguments are refused before any socket is made", () =>
  leakFree(async () => {
    const wrong: [unknown, new (...args: never[]) => Error][] = [
      [{ type: "datagram" }, TypeError],
      [{ type: "tcp" }, TypeError],
      [{ timeoutMs: -1 }, RangeError],
      [{ timeoutMs: "1" }, TypeError],
      [{ acceptFds: 254 }, RangeError],
      [{ maxMessageBytes: 0 }, RangeError],
      [{ sendBufferBytes: 1.5 }, RangeError],
      [{ from: "" }, TypeError],
    ];
    for (const [options, kind] of wrong) {
      for (const [, open] of forms) {
        const error = await open("/tmp/x", options as ConnectOptions).catch((e: unknown) => e);
        expect(error, JSON.stringify(options)).toBeInstanceOf(kind);
      }
    }
    expect(await connect({ autobind: true }).catch((e: unknown) => e)).toBeInstanceOf(TypeError);
  }));

peerTest("without write permission: EACCES says which permissions count", ["root"], async () => {
  using dir = tempDir();
  chmodSync(dir.path, 0o755);
  mkdirSync(dir.file("closed"), { mode: 0o700 });
  using _writable = listen(dir.file("222"), { mode: 0o222 });
  using _readable = listen(dir.file("444"), { mode: 0o444 });
  using _hidden = listen(dir.file("closed/777"), { mode: 0o777 });
  const outcome = await runSource(
    `import { connect, listen } from "@/src/index.ts";
     process.setgid(65534);
     process.setuid(65534);
     const [dir] = [${JSON.stringify(dir.path)}];
     for (const name of ["222", "444", "closed/777"]) {
       await connect(dir + "/" + name).then(
         (socket) => (console.log(name, "connected"), socket.close()),
         (error) => console.log(name, error.code, error.message.includes("write permission")),
       );
     }
     try {
       listen(dir + "/mine");
     } catch (error) {
       console.log(error.syscall, error.code);
     }`,
  );
  expect(succeeded(outcome).trim().split("\n")).toEqual([
    "222 connected",
    "444 EACCES true",
    "closed/777 EACCES true",
    "bind EACCES",
  ]);
});

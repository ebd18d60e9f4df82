// toDuplex() where it is taken for a net.Socket: what happens when functions of the user's throw,
// when it idles and when the peer ends; and everything that libraries touch on a net.Socket.

import { describe, expect, test } from "bun:test";
import { once } from "node:events";
import type net from "node:net";
import { createConnection, createServer } from "node:net";
import { socketPair } from "../../src/index.ts";
import { runScript, runSource, succeeded } from "../support/child.ts";
import { tempDir } from "../support/tmp.ts";
import { noServeHttp, testUnless } from "../support/unless.ts";
import { leakFree, must } from "./tools.ts";

const noConnections = noServeHttp();

const SAID = `-- data
uncaughtException data one
uncaughtException data two
uncaughtException data three
seen onetwothree
closed
-- ends
end
finish
ends too null
closed true
-- unread
end
unread, closed false
-- failing
error on purpose
closed true
-- idles
timeout none true 30
uncaughtException timeout
idle 1 false
uncaughtException timeout
idle 2
listeners 1 0
-1 RangeError
NaN RangeError
1 TypeError
Infinity RangeError
-- handlers
uncaughtException handler
answered HTTP/1.1 400 Bad Request false
`;
const MORE = `-- writes
room false
uncaughtException drain
again
`;

async function said(kind: "net" | "bunix"): Promise<string> {
  using dir = tempDir();
  const file = "test/fixtures/duplex-like-net.ts";
  return succeeded(await runScript(file, [kind, dir.file("s")]));
}

describe("the same as with a net.Socket", () => {
  testUnless(noConnections, "a net.Socket", async () => {
    expect(await said("net")).toBe(SAID);
  });

  testUnless(noConnections, "a duplex", async () => {
    expect(await said("bunix")).toBe(SAID + MORE);
  });
});

test("a 'fds' listener that throws: uncaught, and its bytes come, and the next ones", async () => {
  const source = `
    import { socketPair } from "@/src/index.ts";
    process.on("uncaughtException", (error) => console.log("uncaught", error.message));
    const [near, far] = socketPair("stream");
    const duplex = near.toDuplex();
    duplex.on("fds", (fds) => {
      duplex.closeFds(fds);
      throw new Error("fds " + fds.length);
    });
    duplex.on("data", (data) => {
      console.log("data", String(data));
      if (String(data) === "both") throw new Error("data");
    });
    for (const text of ["one", "both", "three"]) {
      await far.send(text, { fds: [0] });
      for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
    }
    far.close();`;
  expect(succeeded(await runSource(source))).toBe(
    [
      "data one\nuncaught fds 1\n",
      "data both\nuncaught fds 1\nuncaught data\n",
      "data three\nuncaught fds 1\n",
    ].join(""),
  );
});

test("without a listener for uncaught exceptions the process ends, as usual", async () => {
  const source = `
    import { socketPair } from "@/src/index.ts";
    const [near, far] = socketPair("stream");
    near.toDuplex().on("data", () => { throw new Error("on purpose"); });
    void far.send("x").then(() => far.receive()).then(() => console.log("not reached"));`;
  const { code, stdout, stderr } = await runSource(source);
  expect([code, stdout]).toEqual([1, ""]);
  expect(stderr).toContain("on purpose");
});

test("what came before anybody asked is kept, descriptors too", () =>
  leakFree(async () => {
    const [near, far] = socketPair("stream");
    const duplex = near.toDuplex();
    await far.send("early", { fds: [0] });
    for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
    const log: string[] = [];
    duplex.on("fds", (fds) => {
      log.push(`fds ${fds.length}`);
      duplex.closeFds(fds);
    });
    duplex.on("data", (data) => log.push(`data ${data}`));
    await once(duplex, "data");
    expect(log).toEqual(["fds 1", "data early"]);
    duplex.destroy();
    far.close();
  }));

test("destroyed with descriptors that nobody asked for: they are closed", () =>
  leakFree(async () => {
    const [near, far] = socketPair("stream");
    const duplex = near.toDuplex();
    const [inside, outside] = socketPair("stream");
    await far.send("never read", { fds: [inside] });
    inside.close();
    for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
    duplex.destroy();
    expect(await outside.receive()).toBeNull();
    outside.close();
    far.close();
  }));

test("allowHalfOpen: true goes on writing after the peer's end", () =>
  leakFree(async () => {
    const [near, far] = socketPair("stream");
    const duplex = near.toDuplex({ allowHalfOpen: true });
    expect(duplex.allowHalfOpen).toBe(true);
    duplex.resume();
    far.end();
    await once(duplex, "end");
    duplex.end("after the end");
    expect(must(await far.receive()).text()).toBe("after the end");
    expect(await far.receive()).toBeNull();
    far.close();
  }));

const words = (text: string): string[] => text.trim().split(/\s+/);

/** Library → what it touches on the socket that it is given (from its source). */
const touched: Readonly<Record<string, readonly string[]>> = {
  "node:http server": words(`
    on once off removeListener write end destroy destroySoon setTimeout setKeepAlive
    setNoDelay pause resume readable writable destroyed cork uncork remoteAddress
    remotePort remoteFamily localAddress localPort server _handle timeout bytesRead
    bytesWritten address listenerCount`),
  "node:http Agent": words(`
    setKeepAlive ref unref setTimeout timeout on once removeListener destroy destroySoon
    writable destroyed connecting _handle readyState end write`),
  pg: words(`
    connect destroy end on once ref setKeepAlive setNoDelay unref writable write`),
  ioredis: words(`
    connecting destroy destroyed end on once remoteAddress remotePort removeAllListeners
    setKeepAlive setNoDelay setTimeout writable write`),
  ws: words(`
    setTimeout setNoDelay unshift on removeListener destroy destroyed end write cork
    uncork readable pause resume isPaused once`),
  undici: words(`
    alpnProtocol autoSelectFamilyAttemptedAddresses bytesRead bytesWritten cork destroy
    destroyed errored localAddress localPort off on read ref remoteAddress remoteFamily
    remotePort setKeepAlive setTypeOfService timeout uncork unref unshift
    writableNeedDrain write`),
  axios: words(`on setKeepAlive destroyed`),
  got: words(`
    address connecting destroyed once prependOnceListener readable removeAllListeners
    removeListener writable remoteAddress`),
  mysql2: words(`
    destroy destroyed emit end on once pause push readableEnded removeAllListeners
    removeListener resume setKeepAlive setNoDelay write remoteAddress`),
  "socket.io": words(`
    bytesWritten destroy end on once remoteAddress writable write setTimeout setNoDelay`),
  "node:http2, grpc-js": words(`
    address alpnProtocol authorized bytesWritten connecting destroy destroyed encrypted end
    getPeerCertificate localAddress localPort on once ref remoteAddress remoteFamily remotePort
    removeAllListeners removeListener resume servername setNoDelay setTimeout unref unshift
    writableEnded write`),
  "node:tls": words(`
    allowHalfOpen connecting destroy destroyed emit encrypted end on once pause read readable
    readableLength ref removeListener resume unref writable write`),
  x11: words(`
    _getpeername connecting destroyed end on readyState remoteAddress remoteFamily
    removeListener setNoDelay writableEnded write`),
  "dbus-native": words(`
    closeFds cork destroy destroyed emit end on once read removeListener setNoDelay uncork
    unshift writable writableEnded write writeWithFds`),
};

/** Undefined also on a net.Socket that is connected by path. */
const nothing = new Set(
  words(`
    alpnProtocol authorized encrypted getPeerCertificate servername _getpeername timeout
    remoteAddress remotePort remoteFamily localAddress localPort`),
);

/** All of net.Socket's names that are meant for others, up the line of its prototypes. */
function publicNames(of: object): string[] {
  const names = new Set<string>();
  for (let at = of; at !== Object.prototype; at = Object.getPrototypeOf(at)) {
    for (const name of Object.getOwnPropertyNames(at)) if (!name.startsWith("_")) names.add(name);
  }
  return [...names].toSorted();
}

describe("what libraries touch is there", () => {
  for (const [library, members] of Object.entries(touched)) {
    test(library, () => {
      const [near, far] = socketPair("stream");
      const duplex = near.toDuplex() as unknown as Record<string, unknown>;
      const missing = members.filter((name) => !nothing.has(name) && duplex[name] === undefined);
      expect(missing).toEqual([]);
      (duplex as unknown as net.Socket).destroy();
      far.close();
    });
  }

  testUnless(noConnections, "all that a net.Socket has, of the same type", async () => {
    using dir = tempDir();
    const path = dir.file("s");
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const coming = once(server, "connection");
    const client = createConnection(path);
    const [accepted] = (await coming) as [Record<string, unknown>];
    const [near, far] = socketPair("stream");
    const duplex = near.toDuplex() as unknown as Record<string, unknown>;
    const names = publicNames(accepted);
    expect(names).toContain("destroySoon");
    const kind = (value: unknown): string => (value === null ? "null" : typeof value);
    const other = names.filter((name) => kind(duplex[name]) !== kind(accepted[name]));
    // ours has no server of Bun's, no timeout before one is set, and is on nobody's server side
    expect(other.filter((name) => !["server", "timeout", "isServer"].includes(name))).toEqual([]);
    (duplex as unknown as net.Socket).destroy();
    far.close();
    client.destroy();
    server.close();
  });

  test("and says what a connected Unix socket says", async () => {
    const [near, far] = socketPair("stream");
    const duplex = near.toDuplex();
    const { connecting, pending, readyState, bytesRead, bytesWritten, bufferSize } = duplex;
    expect({ connecting, pending, readyState, bytesRead, bytesWritten, bufferSize }).toEqual({
      connecting: false,
      pending: false,
      readyState: "open",
      bytesRead: 0,
      bytesWritten: 0,
      bufferSize: 0,
    });
    expect([duplex.remoteAddress, duplex.remotePort, duplex.remoteFamily]).toEqual(
      new Array(3).fill(undefined),
    );
    expect([duplex.localAddress, duplex.localPort, duplex.address()]).toEqual([
      undefined,
      undefined,
      {},
    ]);
    expect(duplex.socket).toBe(near);
    for (const call of [
      () => duplex.setNoDelay(true),
      () => duplex.setKeepAlive(true, 1000),
      () => duplex.setTypeOfService(1),
      () => duplex.unref(),
      () => duplex.ref(),
    ]) {
      expect(call()).toBe(duplex);
    }
    expect(duplex.getTypeOfService()).toBe(0);
    Object.assign(duplex, { remoteAddress: "10.0.0.1", remotePort: 7, remoteFamily: "IPv4" });
    expect([duplex.remoteAddress, duplex.remotePort]).toEqual(["10.0.0.1", 7]);
    duplex.write("12345");
    expect(duplex.bytesWritten).toBe(5);
    await far.receive();
    await far.send("123");
    await once(duplex, "readable");
    expect([duplex.bytesWritten, duplex.bytesRead]).toEqual([5, 3]);
    duplex.end();
    expect(duplex.readyState).toBe("readOnly");
    duplex.destroy();
    expect([duplex.readyState, duplex.pending]).toEqual(["closed", true]);
    far.close();
  });

  test("connect() says that it is connected, a destroyed one that it is not", async () => {
    const [near, far] = socketPair("stream");
    const duplex = near.toDuplex();
    const log: string[] = [];
    duplex.on("ready", () => log.push("ready"));
    await new Promise<void>((resolve) => duplex.connect({ path: "/none" }, resolve));
    await new Promise((resolve) => setImmediate(resolve));
    expect(log).toEqual(["ready"]);
    duplex.destroy();
    duplex.connect(1, "x");
    const [error] = await once(duplex, "error").catch((reason) => [reason]);
    expect(error).toMatchObject({ code: "ERR_CLOSED" });
    far.close();
  });

  test("destroySoon() lets what was written out first", () =>
    leakFree(async () => {
      const [near, far] = socketPair("stream");
      const duplex = near.toDuplex();
      const large = Buffer.alloc(2 ** 20, 1);
      duplex.write(large);
      duplex.destroySoon();
      let got = 0;
      for await (const { data } of far) got += data.length;
      expect(got).toBe(large.length);
      if (!duplex.destroyed) await once(duplex, "close");
      far.close();
    }));
});

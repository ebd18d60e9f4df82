// time limit: 240 s
// toDuplex() under real libraries with real servers at the other end, each as it comes from npm.

import { describe, expect } from "bun:test";
import { chownSync, mkdirSync } from "node:fs";
import http from "node:http";
import type net from "node:net";
import Redis from "ioredis";
import pg from "pg";
import { WebSocket, WebSocketServer } from "ws";
import { connect, type Listener, listen, type StreamSocket } from "../../src/index.ts";
import { freshPath } from "../api/pairs.ts";
import { eventually, thrown } from "../api/tools.ts";
import { startBus, startDisplay } from "../examples/daemons.ts";
import { run, start } from "../support/child.ts";
import { peerTest, postgresTools } from "../support/peers.ts";
import { type TempDir, tempDir } from "../support/tmp.ts";
import { noServeHttp, testUnless } from "../support/unless.ts";

const noConnections = noServeHttp();

/** undici itself: under its name Bun has a stub. Bun 1.3 lacks what it is made of. */
async function undici() {
  try {
    return await import("../../node_modules/undici/index.js");
  } catch (error) {
    return `Bun ${Bun.version} cannot load undici: ${error}`;
  }
}
const loaded = await undici();
const noUndici = typeof loaded === "string" ? loaded : null;

/** A server of node:http behind a listener of ours; each connection is a duplex. */
class Web implements Disposable {
  readonly path = freshPath();
  readonly #listener: Listener<StreamSocket> = listen(this.path);
  readonly server: http.Server;
  accepted = 0;

  constructor(handler?: http.RequestListener) {
    this.server = http.createServer(handler);
    void this.#listener.consume((socket) => {
      this.accepted += 1;
      this.server.emit("connection", socket.toDuplex());
    });
  }

  [Symbol.dispose](): void {
    this.#listener.close();
    this.server.close();
  }
}

interface Answer {
  readonly status: number | undefined;
  readonly body: string;
}

function ask(options: http.RequestOptions, body = ""): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = http.request(options, (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part));
      response.on("end", () => {
        resolve({ status: response.statusCode, body: Buffer.concat(parts).toString() });
      });
    });
    request.on("error", reject);
    request.end(body);
  });
}

const LONG = "x".repeat(300_000);

const echo: http.RequestListener = (request, response) => {
  request.setTimeout(60_000);
  request.socket.setNoDelay(true);
  const parts: Buffer[] = [];
  request.on("data", (part: Buffer) => parts.push(part));
  request.on("end", () => response.end(`${request.url} ${Buffer.concat(parts)}`));
};

describe("HTTP", () => {
  testUnless(noConnections, "a server of node:http, clients of node:http and fetch", async () => {
    using web = new Web(echo);
    const socketPath = web.path;
    const { status, body } = await ask({ socketPath, path: "/a", method: "POST" }, LONG);
    expect([status, body.length]).toEqual([200, LONG.length + 3]);
    const answer = await fetch("http://x/b", { unix: socketPath });
    expect(await answer.text()).toBe("/b ");
  });

  testUnless(noUndici, "a server of Bun's, a client of undici", async () => {
    const { Client: Undici } = loaded as Exclude<typeof loaded, string>;
    const path = freshPath();
    await using server = Bun.serve({
      unix: path,
      fetch: async (request) => new Response(await request.text()),
    });
    const client = new Undici("http://x", {
      connect: (_options, done) => {
        connect(path).then(
          (socket) => done(null, socket.toDuplex()),
          (error) => done(error, null),
        );
      },
    });
    for (const text of ["one", LONG]) {
      const { statusCode, body } = await client.request({ path: "/", method: "POST", body: text });
      expect([statusCode, (await body.text()).length]).toEqual([200, text.length]);
    }
    await client.close();
    await server.stop(true);
  });
});

testUnless(noConnections, "ws: both ends on a duplex", async () => {
  using web = new Web();
  const sockets = new WebSocketServer({ noServer: true });
  web.server.on("upgrade", (request, socket, head) => {
    sockets.handleUpgrade(request, socket, head, (peer) => {
      peer.on("message", (data, binary) => peer.send(data, { binary }));
    });
  });
  const stream = (await connect(web.path)).toDuplex();
  const client = new WebSocket("ws://x/", { createConnection: () => stream } as object);
  await new Promise<void>((resolve, reject) => {
    client.on("open", () => resolve());
    client.on("error", reject);
  });
  for (const text of ["short", LONG]) {
    const echoed = new Promise<string>((resolve) => {
      client.once("message", (data) => resolve(String(data)));
    });
    client.send(text);
    expect((await echoed).length).toBe(text.length);
  }
  const closed = new Promise((resolve) => client.on("close", resolve));
  client.close(1000);
  expect(await closed).toBe(1000);
  sockets.close();
});

/** Until somebody listens at a path. */
async function listening(path: string): Promise<void> {
  await eventually(async () => {
    try {
      (await connect(path)).close();
      return true;
    } catch {
      return false;
    }
  }, `a server at ${path}`);
}

peerTest("ioredis and redis-server", ["redis-server"], async () => {
  using dir = tempDir();
  const path = dir.file("redis");
  const options = ["--port", "0", "--unixsocket", path, "--save", "", "--dir", dir.path];
  await using server = start(["redis-server", ...options]);
  await listening(path);
  let stream: net.Socket | undefined;
  class Connector {
    async connect(): Promise<net.Socket> {
      stream = (await connect(path)).toDuplex();
      return stream;
    }
    check(): boolean {
      return true;
    }
    disconnect(): void {
      stream?.end();
    }
  }
  const redis = new Redis({ Connector: Connector as never, lazyConnect: true });
  await redis.connect();
  expect(await redis.set("key", LONG)).toBe("OK");
  expect(await redis.get("key")).toBe(LONG);
  const replies = await Promise.all(Array.from({ length: 200 }, () => redis.incr("count")));
  expect(replies.at(-1)).toBe(200);
  await redis.quit();
  server.kill("SIGTERM");
  await server.exited;
});

/** A cluster of one's own; postgres does not run as root. */
async function startPostgres(dir: TempDir) {
  const data = dir.file("data");
  mkdirSync(data);
  chownSync(data, 65_534, 65_534);
  chownSync(dir.path, 65_534, 65_534);
  const bin = postgresTools();
  const nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
  const init = [`${bin}/initdb`, "-D", data, "-U", "tester", "-A", "trust", "--no-sync"];
  const made = await run([...nobody, ...init], { cwd: "/", timeoutMs: 60_000 });
  if (made.code !== 0) throw new Error(made.stderr);
  const options = ["-D", data, "-k", dir.path, "-c", "listen_addresses=", "-F"];
  const child = start([...nobody, `${bin}/postgres`, ...options], { cwd: "/", timeoutMs: 60_000 });
  const path = dir.file(".s.PGSQL.5432");
  await listening(path);
  return { child, path };
}

/** A client, once the server is not starting up any more. */
async function postgresClient(path: string): Promise<pg.Client> {
  for (;;) {
    const stream = (await connect(path)).toDuplex();
    const client = new pg.Client({ user: "tester", database: "postgres", stream: () => stream });
    try {
      await client.connect();
      return client;
    } catch (error) {
      if ((error as { code?: string }).code !== STARTING_UP) throw error;
    }
  }
}
const STARTING_UP = "57P03";

peerTest(
  "pg and PostgreSQL",
  ["initdb", "setpriv", "root"],
  async () => {
    using dir = tempDir();
    const { child, path } = await startPostgres(dir);
    await using _server = child;
    const client = await postgresClient(path);
    const { rows } = await client.query(
      "select $1::int + 1 as sum, repeat('x', 300000) as long",
      [41],
    );
    expect([rows[0].sum, rows[0].long.length]).toEqual([42, LONG.length]);
    expect(String(await thrown(() => client.query("select 1/0")))).toContain("division by zero");
    await client.end();
    child.kill("SIGTERM");
    await child.exited;
  },
  120_000,
);

/** What is taken from node-x11. */
interface X {
  CreateWindow(...values: unknown[]): void;
  GetInputFocus(done: (error: Error | null, focus: unknown) => void): void;
  InternAtom(known: boolean, name: string, done: (error: Error | null, atom: number) => void): void;
  on(event: "error", listener: (error: Error) => void): void;
  terminate(): void;
}
peerTest("node-x11 and Xvfb: errors of windows, answers", ["Xvfb"], async () => {
  const x11 = (await import("x11" as string)).default;
  await using server = await startDisplay();
  const stream = (await connect(`/tmp/.X11-unix/X${server.address.slice(1)}`)).toDuplex();
  const display = await new Promise<{ client: X }>((resolve, reject) => {
    x11.createClient({ stream }, (error: Error | null, found: { client: X }) =>
      error ? reject(error) : resolve(found),
    );
  });
  const X = display.client;
  const focus = (): Promise<unknown> =>
    new Promise((resolve, reject) => {
      X.GetInputFocus((error, found) => (error ? reject(error) : resolve(found)));
    });
  const errors: string[] = [];
  X.on("error", (error) => errors.push(error.constructor.name));
  for (let i = 0; i < 10; i++) X.CreateWindow(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, {});
  await focus();
  expect(errors).toEqual(new Array(10).fill("Error"));
  const atom = await new Promise<number>((resolve, reject) => {
    X.InternAtom(false, "BUNIX", (error, found) => (error ? reject(error) : resolve(found)));
  });
  expect(atom).toBeGreaterThan(0);
  X.terminate();
  if (!stream.destroyed) await new Promise((resolve) => stream.once("close", resolve));
});

interface Bus {
  name: string | null;
  invoke(message: object, done: (error: unknown, ...values: unknown[]) => void): void;
  connection: { end(): void; on(event: string, listener: () => void): void };
}

peerTest("dbus-native and dbus-daemon", ["dbus-daemon"], async () => {
  const dbus = (await import("dbus-native" as string)).default;
  using dir = tempDir();
  await using _bus = await startBus(dir, `unix:path=${dir.file("bus")}`);
  const stream = (await connect(dir.file("bus"))).toDuplex();
  const client: Bus = dbus.createClient({ stream });
  const ask = (member: string, ...more: unknown[]): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const destination = "org.freedesktop.DBus";
      const [signature, body] = more.length > 0 ? ["s", more] : [undefined, undefined];
      client.invoke(
        { destination, path: "/", interface: destination, member, signature, body },
        (error, value) => (error ? reject(error) : resolve(value)),
      );
    });
  expect(await ask("ListNames")).toContain("org.freedesktop.DBus");
  expect(await ask("GetConnectionUnixProcessID", "org.freedesktop.DBus")).toBeGreaterThan(0);
  // not by `rejects`: Bun turns a loop of its own for it, in which no message of a Worker comes
  expect(await thrown(() => ask("NoSuchMember"))).toBeDefined();
  const closed = new Promise((resolve) => stream.once("close", resolve));
  client.connection.end();
  await closed;
});

// Bun's servers on sockets that were open before them.

import { describe, expect, test } from "bun:test";
import { existsSync, fstatSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { errno } from "../../native/errno.ts";
import { file } from "../../native/file.ts";
import { Fd, listen } from "../../src/index.ts";
import { adoptServer, type PlaceholderAddress, serveOn } from "../../src/serve/adopt.ts";
import { registrations } from "../../src/serve/epoll-entry.ts";
import { listenTcp } from "../../src/serve/listen-tcp.ts";
import { setNonBlocking, statusFlags } from "../../src/syscalls/fd.ts";
import { run } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { fake } from "../support/seam.ts";
import { tempDir } from "../support/tmp.ts";
import { keptOfWorkers, testUnless } from "../support/unless.ts";
import { freshPath } from "./pairs.ts";
import {
  fetchOnce,
  HttpClient,
  hello,
  listeners,
  nothingLeft,
  portOf,
  readAll,
} from "./servers.ts";
import { isCloseOnExec, isOpen, leakFree, thrown } from "./tools.ts";

describe.each(listeners)("$name", ({ open }) => {
  test("many requests on one connection, and on connections of their own", () =>
    leakFree(async () => {
      using opened = open();
      const server = serveOn(opened.listening, hello);
      await nothingLeft();
      using client = new HttpClient(opened.target);
      for (let i = 0; i < 100; i++) expect((await client.get(`/${i}`)).text).toBe(`hello /${i}`);
      for (let i = 0; i < 30; i++) expect(await fetchOnce(opened.target)).toBe("hello /");
      await server.stop(true);
      await client.end();
    }));

  test("connections that waited before there was a server are served", () =>
    leakFree(async () => {
      using opened = open();
      const clients = Array.from({ length: 10 }, () => new HttpClient(opened.target));
      for (const [i, client] of clients.entries()) {
        await client.connected();
        client.ask(`/${i}`);
      }
      const server = serveOn(opened.listening, hello);
      for (const [i, client] of clients.entries()) {
        expect((await client.answer()).text).toBe(`hello /${i}`);
        client[Symbol.dispose]();
      }
      await server.stop(true);
    }));

  test("stop closes the server's descriptor once, and the caller's listener goes on", () =>
    leakFree(async () => {
      using opened = open();
      for (const force of [false, true]) {
        const server = serveOn(opened.listening, hello);
        expect(await fetchOnce(opened.target)).toBe("hello /");
        await server.stop(force);
        expect(isOpen(opened.listening.fd)).toBe(true);
        using waiting = new HttpClient(opened.target); // nobody accepts it
        await waiting.connected();
        waiting.ask("/waited");
        const next = serveOn(opened.listening, hello);
        expect((await waiting.answer()).text).toBe("hello /waited");
        await next.stop(true);
      }
    }));

  test("the caller may close his descriptor at once", () =>
    leakFree(async () => {
      using opened = open();
      using own = Fd.duplicate(opened.listening);
      const server = serveOn(own, hello);
      own.close();
      expect(await fetchOnce(opened.target)).toBe("hello /");
      await server.stop(true);
    }));

  test("WebSocket, reload", () =>
    leakFree(async () => {
      using opened = open();
      const options = {
        fetch: (request: Request, server: Bun.Server<undefined>) =>
          server.upgrade(request) ? undefined : new Response("first"),
        websocket: {
          message: (socket: Bun.ServerWebSocket<undefined>, text: string | Buffer) =>
            void socket.send(`echo ${text}`),
        },
      };
      const server = serveOn(opened.listening, (where) => Bun.serve({ ...where, ...options }));
      expect(await fetchOnce(opened.target)).toBe("first");
      expect(await webSocketEcho(opened.target, "one")).toBe("echo one");
      server.reload({ ...options, fetch: () => new Response("second") });
      expect(await fetchOnce(opened.target)).toBe("second");
      await server.stop(true);
    }));

  test("Bun.listen, node:net and node:http", () =>
    leakFree(async () => {
      using opened = open();
      const { target } = opened;
      const bun = serveOn(opened.listening, (where) => {
        const socket = { open: (one: Bun.Socket<undefined>) => void one.end("Bun"), data() {} };
        return "unix" in where
          ? Bun.listen({ ...where, socket })
          : Bun.listen({ ...where, socket });
      });
      expect(await readAll(target)).toBe("Bun");
      bun.stop(true);
      const node = serveOn(opened.listening, (where) =>
        net.createServer((socket) => socket.end("node:net")).listen(where),
      );
      expect(await readAll(target)).toBe("node:net");
      await new Promise((resolve) => node.close(resolve));
      const web = serveOn(opened.listening, (where) =>
        http.createServer((_, response) => void response.end("node:http")).listen(where),
      );
      expect(await fetchOnce(target)).toBe("node:http");
      await new Promise((resolve) => {
        web.close(resolve);
        web.closeAllConnections();
      });
      expect(isOpen(opened.listening.fd)).toBe(true);
    }));
});

async function webSocketEcho(target: net.NetConnectOpts, text: string): Promise<string> {
  const socket = net.connect(target);
  const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
  socket.write(
    `GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n${key}\r\n`,
  );
  let received = Buffer.alloc(0);
  let asked = false;
  try {
    for await (const chunk of socket) {
      received = Buffer.concat([received, chunk as Buffer]);
      const end = received.indexOf("\r\n\r\n");
      if (end < 0) continue;
      expect(received.toString("latin1")).toStartWith("HTTP/1.1 101");
      const mask = Buffer.alloc(4);
      if (!asked)
        socket.write(Buffer.concat([Buffer.of(0x81, 0x80 | text.length), mask, Buffer.from(text)]));
      asked = true;
      const frame = received.subarray(end + 4);
      if (frame.length >= 2 && frame.length >= 2 + frame[1]!) return frame.toString("utf8", 2);
    }
    throw new Error("ended before the echo");
  } finally {
    socket.destroy();
  }
}

test("two servers in one process, each on its own socket", () =>
  leakFree(async () => {
    using one = listeners[0]!.open();
    using two = listeners[2]!.open();
    const named = (name: string) => (where: PlaceholderAddress) =>
      Bun.serve({ ...where, fetch: () => new Response(name) });
    const servers = [serveOn(one.listening, named("one")), serveOn(two.listening, named("two"))];
    for (let i = 0; i < 10; i++) {
      expect(await fetchOnce(one.target)).toBe("one");
      expect(await fetchOnce(two.target)).toBe("two");
    }
    await servers[0]!.stop(true);
    expect(await fetchOnce(two.target)).toBe("two");
    await servers[1]!.stop(true);
  }));

test("two servers on one socket share its connections", () =>
  leakFree(async () => {
    using opened = listeners[2]!.open();
    const servers = [serveOn(opened.listening, hello), serveOn(opened.listening, hello)];
    for (let i = 0; i < 20; i++) expect(await fetchOnce(opened.target)).toBe("hello /");
    await servers[0]!.stop(true);
    for (let i = 0; i < 20; i++) expect(await fetchOnce(opened.target)).toBe("hello /");
    await servers[1]!.stop(true);
  }));

test("the server's descriptor is close-on-exec", async () => {
  using opened = listeners[2]!.open();
  const server = serveOn(opened.listening, hello);
  const { ino } = fstatSync(opened.listening.fd);
  const mine = registrations().filter(({ inode }) => inode === ino);
  expect(mine.map(({ fd }) => isCloseOnExec(fd))).toEqual([true]);
  await server.stop(true);
});

test("on TCP the server says where it really is", async () => {
  using fd = listenTcp({ hostname: "127.0.0.1", port: 0 });
  const port = portOf(fd.fd);
  const server = serveOn(fd, hello);
  expect([server.port, server.url.port, server.hostname]).toEqual([port, `${port}`, "127.0.0.1"]);
  await server.stop(true);
});

test("the socket's file is its owner's: it outlives the server", async () => {
  const path = freshPath();
  using listener = listen(path);
  const server = serveOn(listener, hello);
  await server.stop(true);
  expect(existsSync(path)).toBe(true);
  listener.close();
  expect(existsSync(path)).toBe(false);
});

test("a blocking socket is made non-blocking, and is blocking again after a failure", () =>
  leakFree(async () => {
    using opened = listeners[2]!.open();
    const { fd } = opened.listening;
    const blocking = (): boolean => (statusFlags(fd) & file.O_NONBLOCK) === 0;
    setNonBlocking(fd, false);
    using _ = fake("dup3", [{ errno: errno.EBUSY }]);
    await thrown(() => serveOn(fd, hello));
    expect(blocking()).toBe(true);
    const server = serveOn(fd, hello);
    expect(blocking()).toBe(false);
    expect(await fetchOnce(opened.target)).toBe("hello /");
    await server.stop(true);
  }));

peerTest("TLS", ["openssl", "curl"], () =>
  leakFree(async () => {
    using dir = tempDir();
    const [key, cert] = [dir.file("key.pem"), dir.file("cert.pem")];
    const made = await run([
      ...["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
      ...[
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost",
      ],
      ...["-keyout", key, "-out", cert],
    ]);
    expect(made.code).toBe(0);
    for (const { open } of [listeners[0]!, listeners[2]!]) {
      using opened = open();
      const server = serveOn(opened.listening, (where) =>
        Bun.serve({
          ...where,
          tls: { key: Bun.file(key), cert: Bun.file(cert) },
          fetch: (request) => new Response(`secret ${request.url.split(":")[0]}`),
        }),
      );
      const { target } = opened;
      const way =
        "path" in target
          ? ["--unix-socket", target.path, "https://localhost/"]
          : [
              "--resolve",
              `localhost:${target.port}:127.0.0.1`,
              `https://localhost:${target.port}/`,
            ];
      for (let i = 0; i < 3; i++) {
        const { stdout, stderr } = await run(["curl", "-sS", "--cacert", cert, ...way]);
        expect([stdout, stderr]).toEqual(["secret https", ""]);
      }
      await server.stop(true);
    }
  }),
);

testUnless(await keptOfWorkers(), "in a Worker, whose event loop is its own", async () => {
  using fd = listenTcp({ hostname: "127.0.0.1", port: 0 });
  const worker = new Worker(new URL("../fixtures/serve-worker.ts", import.meta.url).href);
  const said = new Promise((resolve) => {
    worker.onmessage = ({ data }) => resolve(data);
  });
  worker.postMessage(fd.fd);
  expect(await said).toBe("serving");
  expect(await fetchOnce({ host: "127.0.0.1", port: portOf(fd.fd) })).toBe("from the Worker");
  const ended = new Promise((resolve) => worker.addEventListener("close", resolve));
  worker.postMessage(-1);
  await ended;
});

test("adoptServer, the former name, serves alike", () =>
  leakFree(async () => {
    using fd = listenTcp({ hostname: "127.0.0.1", port: 0 });
    const server = adoptServer(fd, hello);
    expect(await fetchOnce({ host: "127.0.0.1", port: portOf(fd.fd) })).toBe("hello /");
    await server.stop(true);
  }));

test("listenTcp: bad ports, a port that is taken", async () => {
  expect(() => listenTcp({ port: -1 })).toThrow(RangeError);
  expect(() => listenTcp({ port: 65_536 })).toThrow(RangeError);
  using fd = listenTcp({ hostname: "127.0.0.1", port: 0 });
  const again = (): Fd => listenTcp({ hostname: "127.0.0.1", port: portOf(fd.fd) });
  expect((await thrown(again)) as { code: string }).toMatchObject({ code: "EADDRINUSE" });
});

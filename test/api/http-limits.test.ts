// The limits of time of a server, for connections that Bun did not accept itself; TLS and HTTP/2.

import { describe, expect } from "bun:test";
import { once } from "node:events";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import net from "node:net";
import tls from "node:tls";
import { Connection } from "../../src/http/connection.ts";
import {
  callerOf,
  capabilities,
  type HttpService,
  listen,
  serveHttp,
  socketPair,
} from "../../src/index.ts";
import { testsUnless } from "../support/unless.ts";
import { freshPath } from "./pairs.ts";
import { HttpClient } from "./servers.ts";
import { eventually, leakFree } from "./tools.ts";
import { certificate } from "./ways.ts";

const { serveHttp: capable } = capabilities();
const { test, peerTest } = testsUnless(capable.available ? null : capable.reason);

type Server = Parameters<typeof serveHttp>[1];

/** Serve for as long as `body` runs; then no connection is left. */
async function serving(
  server: Server,
  body: (path: string, service: HttpService) => Promise<void>,
): Promise<void> {
  const path = freshPath();
  const service = serveHttp(listen(path), server);
  try {
    await body(path, service);
  } finally {
    service.close();
  }
  await eventually(() => service.connections === 0, "no connection is left");
}

/** Connect, and say this; what is heard until the end. */
async function said(path: string, text: string): Promise<string> {
  const client = net.connect(path, () => text !== "" && client.write(text));
  let heard = "";
  client.on("data", (data) => (heard += data));
  client.on("error", () => {});
  await once(client, "close");
  return heard;
}

const answer: http.RequestListener = (request, response) => {
  if (request.url !== "/never") response.end(`${callerOf(request)?.pid}`);
};

const LONG = 600_000;
const SOON = 500;
const patient = { headersTimeout: LONG, requestTimeout: LONG, keepAliveTimeout: LONG };

describe("limits of time", () => {
  test("headersTimeout: half a head, or none, gets 408, and nobody else waits", () =>
    leakFree(async () => {
      const server = http.createServer({ ...patient, headersTimeout: SOON }, answer);
      await serving(server, async (path) => {
        using other = new HttpClient({ path });
        const late = Promise.all([
          said(path, "GET / HTTP/1.1\r\nHost: x\r\nX-Half: "),
          said(path, ""),
        ]);
        expect((await other.get("/")).text).toBe(String(process.pid));
        for (const heard of await late) expect(heard).toStartWith("HTTP/1.1 408 ");
        expect((await other.get("/")).text).toBe(String(process.pid));
        other.write("GET / HTTP/1.1\r\n"); // half of its third
        await other.end();
      });
    }));

  test("requestTimeout: a body that does not come", () =>
    leakFree(async () => {
      const server = http.createServer({ ...patient, headersTimeout: 0, requestTimeout: SOON });
      server.on("request", (request) => request.resume());
      await serving(server, async (path) => {
        const heard = await said(
          path,
          "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
        );
        expect(heard).toStartWith("HTTP/1.1 408 ");
      });
    }));

  test("clientError is asked first", () =>
    leakFree(async () => {
      const server = http.createServer({ ...patient, headersTimeout: SOON }, answer);
      const codes: unknown[] = [];
      server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
        codes.push(error.code); // then, that the client's end came too soon
        if (socket.writable) socket.end("HTTP/1.1 400 Own Words\r\n\r\n");
      });
      await serving(server, async (path) => {
        expect(await said(path, "GET / HT")).toBe("HTTP/1.1 400 Own Words\r\n\r\n");
      });
      expect(codes.slice(0, 1)).toEqual(["ERR_HTTP_REQUEST_TIMEOUT"]);
    }));

  test("keepAliveTimeout: an idle connection is closed, one that waits for an answer is not", () =>
    leakFree(async () => {
      const server = http.createServer({ ...patient, keepAliveTimeout: SOON }, answer);
      Object.assign(server, { keepAliveTimeoutBuffer: 0 });
      await serving(server, async (path, service) => {
        using waiting = new HttpClient({ path });
        waiting.ask("/never");
        using idle = new HttpClient({ path });
        await idle.get("/");
        await idle.end();
        expect([service.connections, waiting.ended]).toEqual([1, false]);
      });
    }));

  test("timeout: told to the server, or else the connection is closed", () =>
    leakFree(async () => {
      const server = http.createServer(patient, answer);
      server.timeout = SOON;
      await serving(server, async (path) => {
        using silent = new HttpClient({ path });
        silent.ask("/never");
        await silent.end();
        const { promise: told, resolve } = Promise.withResolvers<number | null | undefined>();
        server.setTimeout(SOON, (socket) => resolve(callerOf(socket)?.pid));
        using second = new HttpClient({ path });
        second.ask("/never");
        expect(await told).toBe(process.pid);
        expect(second.ended).toBeFalse();
      });
    }));

  test("what is upgraded has no limit of these", () =>
    leakFree(async () => {
      const soon = { headersTimeout: SOON, requestTimeout: SOON, keepAliveTimeout: SOON };
      const server = http.createServer(soon, answer);
      Object.assign(server, { keepAliveTimeoutBuffer: 0 });
      server.on("upgrade", (_request, socket) => socket.write("HTTP/1.1 101 Yes\r\n\r\n"));
      await serving(server, async (path, service) => {
        const client = net.connect(path);
        client.write("GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
        await once(client, "data");
        await said(path, ""); // one that came later has had its time
        expect(service.connections).toBe(1);
        client.destroy();
      });
    }));

  test("closeIdleConnections and closeAllConnections close these, too", () =>
    leakFree(async () => {
      const server = http.createServer(patient, answer);
      await serving(server, async (path, service) => {
        using idle = new HttpClient({ path });
        using busy = new HttpClient({ path });
        await idle.get("/");
        busy.ask("/never");
        await eventually(() => service.connections === 2, "both are here");
        server.closeIdleConnections();
        await idle.end();
        server.closeAllConnections();
        await busy.end();
      });
    }));
});

test("where node:http does not say that a head has begun, bytes do", async () => {
  const limits = { head: 100, request: Number.POSITIVE_INFINITY, idle: 50 };
  const [near, far] = socketPair("stream");
  const connection = new Connection(near, 0);
  const { stream } = connection; // no server has it
  stream.resume();
  connection.begin(stream, 0);
  const seen = (now: number) => [connection.overdue(now, limits), connection.overdue(now, limits)];
  expect(seen(99)).toEqual([null, null]);
  expect(seen(101)).toEqual([null, "late"]); // once may be this thread's own delay
  stream.write("an answer");
  expect([connection.activity(200), ...seen(249)]).toEqual(["idle", null, null]);
  expect(seen(251)).toEqual([null, "idle"]);
  await far.send("GET /");
  await eventually(() => stream.bytesRead === 5, "it came");
  expect([connection.activity(300), ...seen(399)]).toEqual(["arriving", null, null]);
  expect(seen(401)).toEqual([null, "late"]);
  connection.destroy();
  far.close();
});

describe("TLS and HTTP/2", () => {
  const secure = { ca: [] as string[], rejectUnauthorized: false };

  const sessionAt = (path: string): http2.ClientHttp2Session => {
    const createConnection = (): net.Socket => net.connect(path);
    return http2.connect("http://x", { createConnection }).on("error", () => {});
  };

  async function get(session: http2.ClientHttp2Session, route: string): Promise<string> {
    const request = session.request({ ":path": route });
    let text = "";
    request.setEncoding("utf8").on("data", (part) => (text += part));
    await once(request, "end");
    return text;
  }

  test("keepAliveTimeout of HTTP/2: a session without a stream is told to go", () =>
    leakFree(async () => {
      const waiting: http2.Http2ServerResponse[] = [];
      const server = http2.createServer((request, response) => {
        if (request.url === "/later") waiting.push(response);
        else response.end("now");
      });
      Object.assign(server, { keepAliveTimeout: SOON });
      await serving(server, async (path, service) => {
        const [idle, busy, silent] = [sessionAt(path), sessionAt(path), sessionAt(path)];
        const later = get(busy, "/later");
        await eventually(() => waiting.length === 1, "it has asked");
        const gone: unknown[] = [];
        idle.on("goaway", (code) => gone.push(code));
        const ended = [idle, silent].map((session) => once(session, "close"));
        expect(await get(idle, "/")).toBe("now");
        await Promise.all(ended);
        expect(gone).toEqual([0]);
        await eventually(() => service.connections === 1, "one is left");
        expect(busy.closed).toBeFalse();
        waiting[0]!.end("later");
        expect(await later).toBe("later");
        await once(busy, "close"); // it is idle now
      });
    }));

  test("timeout of HTTP/2: a session without a byte is closed", () =>
    leakFree(async () => {
      const server = http2.createServer((_, response) => void response.end("now"));
      server.setTimeout(SOON);
      await serving(server, async (path) => {
        const session = sessionAt(path);
        const ended = once(session, "close");
        expect(await get(session, "/")).toBe("now");
        await ended;
      });
    }));

  peerTest("https: by its own certificate, and what is no TLS is not served", ["openssl"], () =>
    leakFree(async () => {
      const server = https.createServer({ ...certificate(), ...patient }, answer);
      const errors: unknown[] = [];
      server.on("tlsClientError", (error) => errors.push(error));
      await serving(server, async (path, service) => {
        const stream = tls.connect({ ...secure, path });
        await once(stream, "secureConnect");
        for (let i = 0; i < 2; i++) {
          stream.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
          const [data] = (await once(stream, "data")) as [Buffer];
          expect(data.toString()).toEndWith(String(process.pid));
        }
        expect(await said(path, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")).not.toContain("200");
        expect(errors).toHaveLength(1);
        stream.destroy();
        await eventually(() => service.connections === 0, "none is left");
      });
    }),
  );

  peerTest("http2, plain and secure; a session is told to go", ["openssl"], () =>
    leakFree(async () => {
      const handler = (request: http2.Http2ServerRequest, response: http2.Http2ServerResponse) =>
        void response.end([request, request.socket].map((x) => callerOf(x)?.pid).join());
      const plain = http2.createServer(handler);
      const secured = http2.createSecureServer(certificate(), handler);
      for (const server of [plain, secured]) {
        await serving(server, async (path, service) => {
          const options = server === plain ? {} : secure;
          const connect = () =>
            server === plain
              ? net.connect(path)
              : tls.connect({ ...secure, path, ALPNProtocols: ["h2"] });
          const stream = connect();
          if (server === secured) await once(stream, "secureConnect");
          const session = http2.connect("http://localhost", {
            ...options,
            createConnection: () => stream,
          } as http2.ClientSessionOptions);
          for (let i = 0; i < 2; i++) {
            const request = session.request({ ":path": "/" });
            let text = "";
            request.setEncoding("utf8").on("data", (part) => (text += part));
            await once(request, "end");
            expect(text).toBe(`${process.pid},${process.pid}`);
          }
          const closed = once(session, "close");
          await service.drain({ timeoutMs: 5_000 });
          await closed;
          stream.destroy();
        });
      }
    }),
  );
});

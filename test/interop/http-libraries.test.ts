// axios, got, mysql2 and grpc-js, as they come from npm: as clients of serveHttp, and over
// connections of ours.

import { describe, expect } from "bun:test";
import { once } from "node:events";
import http from "node:http";
import type { Duplex } from "node:stream";
import * as grpc from "@grpc/grpc-js";
import axios from "axios";
import got from "got";
import mysql from "mysql2";
import {
  callerOf,
  capabilities,
  connectSync,
  listen,
  peerCredentials,
  serveHttp,
} from "../../src/index.ts";
import { freshPath } from "../api/pairs.ts";
import { eventually, leakFree } from "../api/tools.ts";
import { testsUnless } from "../support/unless.ts";

const { serveHttp: capable } = capabilities();
const { test } = testsUnless(capable.available ? null : capable.reason);

/** A connection of ours. */
const ours = (path: string): Duplex => {
  const duplex = connectSync(path).toDuplex();
  duplex.connect({ path });
  return duplex as unknown as Duplex;
};

/** Its connections are duplexes of ours. */
class OurAgent extends http.Agent {
  readonly #path: string;
  connections = 0;

  constructor(path: string) {
    super({ keepAlive: true });
    this.#path = path;
  }

  override createConnection(): Duplex {
    this.connections += 1;
    return ours(this.#path);
  }
}

const tell: http.RequestListener = (request, response) => {
  let body = "";
  request.setEncoding("utf8").on("data", (data) => (body += data));
  request.on("end", () => {
    if (request.url === "/slow") return;
    response.setHeader("Content-Type", "application/json");
    response.end(JSON.stringify({ pid: callerOf(request)?.pid, body: body.length }));
  });
};

async function serving(body: (path: string) => Promise<void>): Promise<void> {
  const path = freshPath();
  const service = serveHttp(listen(path), http.createServer(tell));
  try {
    await body(path);
    await eventually(() => service.connections === 0, "no connection is left");
  } finally {
    service.close();
  }
}

const { pid } = process;
const LONG = "x".repeat(300_000);

describe("clients of serveHttp", () => {
  test("axios: by socketPath, and by an agent over toDuplex()", () =>
    leakFree(() =>
      serving(async (path) => {
        const agent = new OurAgent(path);
        const own = new http.Agent({ keepAlive: true });
        const both = [
          axios.create({ adapter: "http", socketPath: path, httpAgent: own }),
          axios.create({ adapter: "http", httpAgent: agent }),
        ];
        for (const client of both) {
          for (let i = 0; i < 3; i++) {
            expect((await client.get("http://x/")).data).toEqual({ pid, body: 0 });
          }
          expect((await client.post("http://x/", LONG)).data).toEqual({ pid, body: LONG.length });
          const late = client.get("http://x/slow", { timeout: 50 }).catch((error) => error.code);
          expect(await late).toBe("ECONNABORTED");
        }
        expect(agent.connections).toBe(1);
        for (const one of [agent, own]) one.destroy();
      }),
    ));

  test("got: by unix:, and by an agent over toDuplex()", () =>
    leakFree(() =>
      serving(async (path) => {
        const agent = new OurAgent(path);
        const own = new http.Agent({ keepAlive: true });
        const retry = { limit: 0 };
        // it writes 64 KiB at a time, and puts off the next ones, and the end, with setImmediate
        const pieces = [10, 65_537, 131_082, LONG.length].flatMap((length) =>
          Array.from({ length: 5 }, () => LONG.slice(0, length)),
        );
        const both = [
          {
            client: got.extend({ enableUnixSockets: true, retry, agent: { http: own } }),
            url: `http://unix:${path}:`,
          },
          { client: got.extend({ retry, agent: { http: agent } }), url: "http://x" },
        ];
        for (const { client, url } of both) {
          for (let i = 0; i < 3; i++) {
            expect(await client.get(`${url}/`).json<unknown>()).toEqual({ pid, body: 0 });
          }
          for (const body of pieces) {
            const posted = client.post(`${url}/`, { body }).json<unknown>();
            expect(await posted).toEqual({ pid, body: body.length });
          }
          const late = client.get(`${url}/slow`, { timeout: { response: 50 } });
          expect(await late.catch((error) => error.code)).toBe("ETIMEDOUT");
        }
        expect(agent.connections).toBe(1);
        for (const one of [agent, own]) one.destroy();
      }),
    ));
});

test("mysql2: its client over toDuplex(), by `stream`, and its server on ours", () =>
  leakFree(async () => {
    const path = freshPath();
    using listener = listen(path);
    const server = mysql.createServer(() => {});
    const callers: unknown[] = [];
    server.on("connection", (connection) => {
      connection.serverHandshake({
        protocolVersion: 10,
        serverVersion: "bunix",
        connectionId: 1,
        statusFlags: 2,
        characterSet: 8,
        capabilityFlags: 0xff_ff_ff ^ 0x08_00, // all but TLS
        authCallback: (_: unknown, done: (error: null) => void) => done(null),
      });
      connection.on("query", (sql: string) => {
        const column = { name: "said", characterSet: 33, columnType: 253, flags: 0, decimals: 0 };
        const names = { catalog: "def", schema: "", table: "", orgTable: "", orgName: "said" };
        connection.writeColumns([{ ...names, ...column, columnLength: 400_000 }]);
        connection.writeTextRow([sql.toUpperCase()]);
        connection.writeEof();
        (connection as unknown as { sequenceId: number }).sequenceId = 0; // the next query's
      });
      connection.on("error", () => {});
    });
    void listener.consume((socket) => {
      callers.push(peerCredentials(socket).pid);
      (server as unknown as { _handleConnection(of: unknown): void })._handleConnection(
        socket.toDuplex(),
      );
    });
    const client = mysql.createConnection({
      user: "who",
      stream: () => ours(path),
    } as mysql.ConnectionOptions);
    for (const sql of ["select a", `select '${LONG}'`]) {
      const [rows] = await client.promise().query(sql);
      expect(rows).toEqual([{ said: sql.toUpperCase() }] as never);
    }
    expect(callers).toEqual([pid]);
    await client.promise().end();
    client.destroy();
  }));

const bytes = (value: Buffer): Buffer => value;
const method = {
  requestSerialize: bytes,
  requestDeserialize: bytes,
  responseSerialize: bytes,
  responseDeserialize: bytes,
};
const service = {
  echo: { ...method, path: "/bunix.Test/Echo", requestStream: false, responseStream: false },
  count: { ...method, path: "/bunix.Test/Count", requestStream: false, responseStream: true },
} as const;

test("grpc-js: its server is given duplexes of ours, its client comes by unix:", () =>
  leakFree(async () => {
    const path = freshPath();
    using listener = listen(path);
    const server = new grpc.Server();
    server.addService(service as unknown as grpc.ServiceDefinition, {
      echo: ({ request }: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) =>
        done(null, request),
      count: (call: grpc.ServerWritableStream<Buffer, Buffer>) => {
        for (let i = 0; i < 100; i++) call.write(Buffer.from(String(i)));
        call.end();
      },
    });
    const injector = server.createConnectionInjector(grpc.ServerCredentials.createInsecure());
    const callers: unknown[] = [];
    void listener.consume((socket) => {
      callers.push(peerCredentials(socket).pid);
      injector.injectConnection(socket.toDuplex() as unknown as Duplex);
    });
    const client = new grpc.Client(`unix:${path}`, grpc.credentials.createInsecure());
    const echo = (request: Buffer): Promise<Buffer> =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest(service.echo.path, bytes, bytes, request, (error, value) =>
          error === null ? resolve(value!) : reject(error),
        );
      });
    for (const request of [Buffer.from("hi"), Buffer.from(LONG)]) {
      expect(Buffer.compare(await echo(request), request)).toBe(0);
    }
    const all: string[] = [];
    const { count } = service;
    const stream = client.makeServerStreamRequest(count.path, bytes, bytes, Buffer.from("x"));
    stream.on("data", (data: Buffer) => all.push(data.toString()));
    await once(stream, "end");
    expect(all).toEqual(Array.from({ length: 100 }, (_, i) => String(i)));
    expect(callers).toEqual([pid]);
    client.close();
    injector.destroy();
    server.forceShutdown();
  }));

// callerOf through what frameworks hand to their handlers: their own programs, and one line more.

import { expect } from "bun:test";
import { once } from "node:events";
import http from "node:http";
import { createAdaptorServer, getRequestListener } from "@hono/node-server";
import { initTRPC } from "@trpc/server";
import { createHTTPHandler } from "@trpc/server/adapters/standalone";
import express from "express";
import Fastify from "fastify";
import { Hono } from "hono";
import Koa from "koa";
import { Server as SocketServer } from "socket.io";
import { io } from "socket.io-client";
import { WebSocket, WebSocketServer } from "ws";
import { callerOf, capabilities, listen, serveHttp } from "../../src/index.ts";
import { testsUnless } from "../support/unless.ts";
import { freshPath } from "./pairs.ts";
import { eventually, leakFree } from "./tools.ts";

const { serveHttp: capable } = capabilities();
const { test } = testsUnless(capable.available ? null : capable.reason);

const pid = (of: object): string => `${callerOf(of)?.pid}`;
const own = String(process.pid);

/** Serve with it for as long as `body` runs; then no connection is left. */
async function serving(server: object, body: (path: string) => Promise<void>): Promise<void> {
  const path = freshPath();
  const service = serveHttp(listen(path), server as http.Server);
  try {
    await body(path);
  } finally {
    service.close();
  }
  await eventually(() => service.connections === 0, "no connection is left");
}

/** What it answers to two GETs, of which the second comes on a connection that was kept. */
const twice = (server: object, path = "/"): Promise<void> =>
  serving(server, async (unix) => {
    for (let i = 0; i < 2; i++) {
      const text = await (await fetch(`http://localhost${path}`, { unix })).text();
      const pids = text.replace(/^.*"data":"([^"]*)".*$/, "$1");
      expect(new Set(pids.split(","))).toEqual(new Set([own]));
    }
  });

test("express", () =>
  leakFree(async () => {
    const app = express();
    app.use((req, _res, next) => (pid(req) === own ? next() : next(new Error("who?"))));
    app.get("/", (req, res) => void res.send([req, res, req.socket].map(pid).join()));
    await twice(http.createServer(app));
  }));

test("fastify", () =>
  leakFree(async () => {
    const fastify = Fastify();
    fastify.get("/", (request, reply) => [request, request.raw, reply, reply.raw].map(pid).join());
    await fastify.ready();
    await twice(fastify.server);
    await fastify.close();
  }));

test("koa", () =>
  leakFree(async () => {
    const koa = new Koa();
    koa.use((ctx) => {
      ctx.body = [ctx, ctx.req, ctx.request, ctx.res].map(pid).join();
    });
    await twice(http.createServer(koa.callback()));
  }));

test("hono on @hono/node-server", () =>
  leakFree(async () => {
    const hono = new Hono<{ Bindings: { incoming: object } }>();
    hono.get("/", (c) => c.text([c, c.req.raw, c.env, c.env.incoming].map(pid).join()));
    await twice(createAdaptorServer(hono));
    await twice(http.createServer(getRequestListener(hono.fetch)));
  }));

test("tRPC", () =>
  leakFree(async () => {
    const t = initTRPC.context<{ pid: string }>().create();
    const router = t.router({ whoami: t.procedure.query(({ ctx }) => ctx.pid) });
    const createContext = ({ req, res }: { req: object; res: object }) => ({
      pid: [req, res].map(pid).join(),
    });
    await twice(http.createServer(createHTTPHandler({ router, createContext })), "/whoami");
  }));

test("ws: in the handshake, and of the WebSocket for as long as it is open", () =>
  leakFree(async () => {
    const server = http.createServer();
    const sockets = new WebSocketServer({
      server,
      verifyClient: ({ req }: { req: object }) => pid(req) === own,
    });
    sockets.on("connection", (ws, request) => {
      ws.on("message", (text) => ws.send([ws, request, text].map((x) => pid(x as object)).join()));
    });
    await serving(server, async (path) => {
      const client = new WebSocket(`ws+unix://${path}:/`);
      await once(client, "open");
      for (let i = 0; i < 2; i++) {
        client.send("who am I?");
        const [answer] = (await once(client, "message")) as [Buffer];
        expect(answer.toString()).toBe(`${own},${own},undefined`);
      }
      client.close();
      await once(client, "close");
    });
    sockets.close();
  }));

test("socket.io, over both of its transports", () =>
  leakFree(async () => {
    const server = http.createServer();
    const sockets = new SocketServer(server);
    sockets.on("connection", (socket) => {
      socket.on("who", (answer: (pid: string) => void) => answer(pid(socket)));
    });
    await serving(server, async (path) => {
      const agent = new http.Agent({ socketPath: path } as http.AgentOptions);
      const options = { transports: ["polling"], agent: agent as never, forceNew: true };
      const client = io("http://localhost", options);
      try {
        await once(client as never, "connect");
        expect(await client.emitWithAck("who")).toBe(own);
      } finally {
        client.disconnect();
        agent.destroy();
      }
      // its client takes no Unix address for a WebSocket: by hand
      const raw = new WebSocket(`ws+unix://${path}:/socket.io/?EIO=4&transport=websocket`);
      const heard: string[] = [];
      raw.on("message", (text) => heard.push(String(text)));
      await eventually(() => heard[0]?.startsWith("0{") === true, "engine.io opens");
      raw.send("40");
      await eventually(() => heard.some((text) => text.startsWith("40")), "socket.io connects");
      raw.send('420["who"]');
      await eventually(() => heard.includes(`430["${own}"]`), "it answers");
      raw.terminate();
    });
    await sockets.close();
  }));

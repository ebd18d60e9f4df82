// toDuplex() below what is put on top of sockets: TLS at either end, HTTP/2, an Agent.

import { describe, expect } from "bun:test";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import type net from "node:net";
import tls from "node:tls";
import { connect, type Listener, listen, type StreamSocket, socketPair } from "../../src/index.ts";
import { freshPath } from "../api/pairs.ts";
import { run } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { noServeHttp, testUnless } from "../support/unless.ts";

const noConnections = noServeHttp();

const NAME = "bunix.test";
const LONG = "x".repeat(300_000);

interface Identity {
  readonly key: Buffer;
  readonly cert: Buffer;
}

async function identity(): Promise<Identity> {
  using dir = tempDir();
  const [key, cert] = [dir.file("key.pem"), dir.file("cert.pem")];
  const made = await run([
    ...["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    ...["-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", `/CN=${NAME}`],
    ...["-addext", `subjectAltName=DNS:${NAME}`],
  ]);
  if (made.code !== 0) throw new Error(made.stderr);
  return { key: readFileSync(key), cert: readFileSync(cert) };
}

/** Where servers take connections of others, and openssl is here. */
function servedTest(name: string, fn: () => Promise<void>): void {
  if (noConnections === null) peerTest(name, ["openssl"], fn);
  else testUnless(noConnections, name, fn);
}

/** Every connection at a new address, as a duplex. */
function serving(handler: (stream: net.Socket) => void): Disposable & { readonly path: string } {
  const path = freshPath();
  const listener: Listener<StreamSocket> = listen(path);
  void listener.consume((socket) => handler(socket.toDuplex()));
  return { path, [Symbol.dispose]: () => listener.close() };
}

const echoAll = (stream: net.Socket): void => {
  stream.on("data", (data) => stream.write(data));
};

/** Send `text`, and get as much back. */
async function echoed(stream: net.Socket, text: string): Promise<string> {
  let got = "";
  stream.setEncoding("utf8");
  const all = new Promise<void>((resolve) => {
    stream.on("data", (data) => {
      got += data;
      if (got.length >= text.length) resolve();
    });
  });
  stream.write(text);
  await all;
  return got;
}

function collected(stream: NodeJS.ReadableStream): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    stream.setEncoding("utf8");
    stream.on("data", (part) => {
      text += part;
    });
    stream.on("end", () => resolve(text));
    stream.on("error", reject);
  });
}

describe("TLS", () => {
  peerTest("tls.connect({ socket: duplex }) to a server of node:tls", ["openssl"], async () => {
    const { key, cert } = await identity();
    const path = freshPath();
    const server = tls.createServer({ key, cert }, echoAll);
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const socket = (await connect(path)).toDuplex();
    expect("encrypted" in socket || "authorized" in socket).toBe(false);
    const client = tls.connect({ socket, ca: cert, servername: NAME });
    await once(client, "secureConnect");
    expect([client.authorized, client.encrypted]).toEqual([true, true]);
    expect(await echoed(client, LONG)).toBe(LONG);
    client.end();
    if (!client.closed) await once(client, "close");
    server.close();
  });

  servedTest("a server of node:tls that is given a duplex", async () => {
    const { key, cert } = await identity();
    const server = tls.createServer({ key, cert }, echoAll);
    using place = serving((stream) => server.emit("connection", stream));
    const client = tls.connect({ path: place.path, ca: cert, servername: NAME });
    await once(client, "secureConnect");
    expect(await echoed(client, LONG)).toBe(LONG);
    client.destroy();
  });

  servedTest("a duplex at both ends", async () => {
    const { key, cert } = await identity();
    const [near, far] = socketPair("stream");
    const server = new tls.TLSSocket(near.toDuplex(), { isServer: true, key, cert });
    echoAll(server);
    const client = tls.connect({ socket: far.toDuplex(), ca: cert, servername: NAME });
    await once(client, "secureConnect");
    expect(await echoed(client, LONG)).toBe(LONG);
    client.destroy();
    server.destroy();
    near.close();
    far.close();
  });

  servedTest("a certificate that is not trusted is an error", async () => {
    const { key, cert } = await identity();
    const server = tls.createServer({ key, cert }, echoAll);
    server.on("tlsClientError", () => {});
    using place = serving((stream) => server.emit("connection", stream));
    const socket = (await connect(place.path)).toDuplex();
    const client = tls.connect({ socket, servername: NAME });
    const [error] = await once(client, "error");
    expect((error as { code: string }).code).toBe("DEPTH_ZERO_SELF_SIGNED_CERT");
    client.destroy();
    socket.destroy();
  });

  servedTest("HTTPS: a tls server in front of an http server", async () => {
    const { key, cert } = await identity();
    const web = http.createServer((request, response) => {
      response.end(`${request.url} ${(request.socket as tls.TLSSocket).encrypted}`);
    });
    const secure = tls.createServer({ key, cert }, (stream) => web.emit("connection", stream));
    using place = serving((stream) => secure.emit("connection", stream));
    const options = { socketPath: place.path, path: "/a", ca: cert, servername: NAME };
    const text = await new Promise<string>((resolve, reject) => {
      const ask = https.get({ ...options, agent: false }, (answer) => resolve(collected(answer)));
      ask.on("error", reject);
    });
    expect(text).toBe("/a true");
  });
});

async function http2Get(client: http2.ClientHttp2Session): Promise<string> {
  const request = client.request({ ":path": "/" });
  const text = collected(request);
  request.end();
  return await text;
}

testUnless(noConnections, "HTTP/2 (what grpc-js speaks): a duplex at both ends", async () => {
  const server = http2.createServer((_request, response) => response.end(LONG));
  using place = serving((stream) => server.emit("connection", stream));
  const stream = (await connect(place.path)).toDuplex();
  const client = http2.connect("http://x", { createConnection: () => stream });
  const answers = await Promise.all([http2Get(client), http2Get(client)]);
  expect(answers.map((text) => text.length)).toEqual([LONG.length, LONG.length]);
  client.close();
  if (!stream.destroyed) await once(stream, "close");
});

/** An Agent whose connections are duplexes; `made` counts them. */
class UnixAgent extends http.Agent {
  made = 0;
  readonly #path: string;

  constructor(path: string, options: http.AgentOptions) {
    super(options);
    this.#path = path;
  }

  override createConnection(
    _options: http.ClientRequestArgs,
    done: (error: Error | null, stream: net.Socket) => void = () => {},
  ): undefined {
    this.made += 1;
    connect(this.#path).then(
      (socket) => done(null, socket.toDuplex()),
      (error) => done(error, undefined as never),
    );
  }
}

function get(agent: http.Agent, path: string): Promise<{ text: string; stream: net.Socket }> {
  return new Promise((resolve, reject) => {
    const request = http.get({ agent, host: "x", path }, (answer) => {
      const stream = request.socket as net.Socket;
      collected(answer).then((text) => resolve({ text, stream }), reject);
    });
    request.on("error", reject);
  });
}

describe("http.Agent", () => {
  for (const keepAlive of [true, false]) {
    testUnless(noConnections, `keepAlive ${keepAlive}`, async () => {
      const server = http.createServer((request, response) => response.end(request.url));
      using place = serving((stream) => server.emit("connection", stream));
      const agent = new UnixAgent(place.path, { keepAlive, maxSockets: 1 });
      for (let i = 0; i < 5; i++) {
        const { text, stream } = await get(agent, `/${i}`);
        expect(text).toBe(`/${i}`);
        expect((stream as unknown as { socket: StreamSocket }).socket.type).toBe("stream");
        if (!keepAlive && !stream.destroyed) await once(stream, "close");
      }
      expect(agent.made).toBe(keepAlive ? 1 : 5);
      agent.destroy();
    });
  }

  testUnless(noConnections, "one that idles is closed after the agent's timeout", async () => {
    const server = http.createServer((request, response) => response.end(request.url));
    using place = serving((stream) => server.emit("connection", stream));
    const agent = new UnixAgent(place.path, { keepAlive: true, timeout: 20 });
    const { stream } = await get(agent, "/");
    if (!stream.destroyed) await once(stream, "close");
    expect(stream.destroyed).toBe(true);
    agent.destroy();
  });
});

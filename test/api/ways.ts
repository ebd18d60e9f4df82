// Every way in which a connection is accepted from a listener; each answers "served" and ends it.

import http from "node:http";
import https from "node:https";
import net from "node:net";
import {
  type AdmissionOptions,
  adoptSocket,
  Fd,
  Handover,
  type Listener,
  listen,
  type StreamSocket,
  serveHttp,
  spawn,
  UnixError,
  waitReadable,
} from "../../src/index.ts";
import { type PlaceholderAddress, serveOn } from "../../src/serve/adopt.ts";
import { root, start, writeSource } from "../support/child.ts";
import { tempDir } from "../support/tmp.ts";
import { lacking, noServeHttp } from "../support/unless.ts";

/** What every server sends. */
export const REPLY = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nserved";

type Streams = Listener<StreamSocket>;
type Server = { stop(all: boolean): unknown } | { close(): unknown };

/** Who serves, until it is disposed of. */
export interface Serving extends AsyncDisposable {
  /** What the rules' callback did wrong, as it was told here. */
  readonly told: unknown[];
}

export interface Way {
  readonly name: string;
  readonly tls?: boolean;
  /** It answers, and ends the connection, before it has heard anything. */
  readonly speaksFirst?: boolean;
  /** In another process: then `rules` are source text there, and nothing is told here. */
  readonly elsewhere?: boolean;
  /** What `capabilities()` must have for it, besides sockets. */
  readonly takes?: "seqpacket" | "serveOn";
  /** Serve at `address`, with these rules. */
  open(address: string, rules: AdmissionOptions & { source?: string }): Promise<Serving>;
}

/** As a server does: it hears first, and who says nothing keeps the connection. */
const answer = (socket: StreamSocket): void => void answerOnce(socket).catch(() => {});

async function answerOnce(socket: StreamSocket): Promise<void> {
  using _closed = socket;
  if ((await socket.receive()) !== null) socket.trySend(REPLY);
}

/** Who looks again at once while no more may come in takes all the time there is. */
const notNow = (): Promise<void> => Bun.sleep(1);

/** One that serves in this process, by taking connections of a listener. */
function taking(
  name: string,
  take: (listener: Streams, signal: AbortSignal) => Promise<void>,
  from: (address: string, rules: AdmissionOptions) => Streams = listen,
): Way {
  const open: Way["open"] = async (address, rules) => {
    const listener = from(address, rules);
    const told: unknown[] = [];
    const stop = new AbortController();
    const run = async (): Promise<void> => {
      while (!listener.closed) {
        await take(listener, stop.signal).catch((error) => {
          if (!stop.signal.aborted && !listener.closed) told.push(error);
        });
        if (stop.signal.aborted) return;
      }
    };
    const running = run();
    return {
      told,
      async [Symbol.asyncDispose]() {
        stop.abort();
        listener.close();
        await running;
      },
    };
  };
  return { name, open };
}

async function accepting(listener: Streams, signal: AbortSignal): Promise<void> {
  for (;;) answer(await listener.accept({ signal }));
}

async function trying(listener: Streams, signal: AbortSignal): Promise<void> {
  for (;;) {
    await waitReadable(listener, { signal });
    const socket = listener.tryAccept();
    if (socket === undefined) await notNow();
    else answer(socket);
  }
}

async function blocking(listener: Streams, signal: AbortSignal): Promise<void> {
  for (;;) {
    await waitReadable(listener, { signal });
    try {
      answer(listener.acceptSync({ timeoutMs: 0 }));
    } catch (error) {
      if (!(error instanceof UnixError) || error.code !== "ETIMEDOUT") throw error;
      await notNow();
    }
  }
}

async function iterating(listener: Streams): Promise<void> {
  for await (const socket of listener) answer(socket);
}

const consuming = (listener: Streams, signal: AbortSignal): Promise<void> =>
  listener.consume(answer, { signal });

/** The kernel knows nothing of rules: whoever adopts brings them. */
const adopted = (address: string, rules: AdmissionOptions): Streams =>
  adoptSocket(listen(address).release(), rules) as Streams;

function serving(
  name: string,
  begin: (where: PlaceholderAddress) => Server,
  how = { bare: false },
): Way {
  const open: Way["open"] = async (address, rules) => {
    const listener = listen(address, how.bare ? {} : rules);
    const bare = how.bare ? listener.release() : null;
    const server = bare === null ? serveOn(listener, begin) : serveOn(bare, begin, rules);
    return {
      told: [],
      async [Symbol.asyncDispose]() {
        if ("stop" in server) server.stop(true);
        else server.close();
        (bare ?? listener).close();
      },
    };
  };
  return { name, open, takes: "serveOn" };
}

/** Connections are handed to a server of node:http. */
const handed: Way = {
  name: "serveHttp",
  open: async (address, rules) => {
    const service = serveHttp(listen(address, rules), http.createServer(web));
    const close = async (): Promise<void> => service.close();
    return { told: [], [Symbol.asyncDispose]: close };
  },
};

const bunServe = (where: PlaceholderAddress): Server =>
  Bun.serve({
    ...where,
    fetch: () => new Response("served", { headers: { Connection: "close" } }),
  });

/** It speaks first: before it has heard anything of the client. */
function bunListen(where: PlaceholderAddress): Server {
  const socket = {
    open: (one: Bun.Socket<undefined>) => void one.end(REPLY),
    data() {},
  };
  return "unix" in where ? Bun.listen({ ...where, socket }) : Bun.listen({ ...where, socket });
}

const nodeNet = (where: PlaceholderAddress): Server =>
  net.createServer((socket) => socket.once("data", () => socket.end(REPLY))).listen(where);

const web = (_: http.IncomingMessage, response: http.ServerResponse): void => {
  response.setHeader("Connection", "close").end("served");
};

const nodeHttp = (where: PlaceholderAddress): Server => http.createServer(web).listen(where);

let pair: { key: string; cert: string } | null = null;

/** A key, and a certificate that nobody has signed. */
export function certificate(): { key: string; cert: string } {
  if (pair !== null) return pair;
  const command = "openssl req -x509 -newkey rsa:2048 -nodes -keyout - -days 2 -subj /CN=x";
  const made = Bun.spawnSync(command.split(" "), { stderr: "ignore" }).stdout.toString();
  const from = made.indexOf("-----BEGIN CERTIFICATE");
  pair = { key: made.slice(0, from), cert: made.slice(from) };
  return pair;
}

const nodeHttps = (where: PlaceholderAddress): Server =>
  https.createServer({ ...certificate() }, web).listen(where);

async function overHandover(
  address: string,
  serve: (fd: Fd) => Promise<Serving>,
): Promise<Serving> {
  const dir = tempDir();
  const old = await Handover.open(dir.file("control"));
  old.descriptor("web", () => listen(address, { allow: () => true }));
  await old.ready();
  const next = await Handover.open(dir.file("control"));
  const fd = next.descriptor("web", () => {
    throw new Error("nothing was handed over");
  });
  await next.ready();
  await old.replaced;
  old.close();
  const inner = await serve(fd);
  return {
    told: inner.told,
    async [Symbol.asyncDispose]() {
      await inner[Symbol.asyncDispose]();
      next.close();
      dir[Symbol.dispose]();
    },
  };
}

/** A program that serves on the listener `listener`, which the text before makes. */
const program = (listener: string): string => `
import { serveOn, adoptSocket, inheritedFds } from "@/src/index.ts";
const listener = ${listener};
console.log("serving");
const answer = async (socket) => {
  using _closed = socket;
  if ((await socket.receive()) !== null) socket.trySend(${JSON.stringify(REPLY)});
};
void listener.consume((socket) => void answer(socket).catch(() => {}));
`;

/** The child has the only descriptor; it ends with its standard input. */
function inChild(name: string, how: "spawn" | "activation"): Way {
  const open: Way["open"] = async (address, { source = "{}" }) => {
    const dir = tempDir();
    using fd = listen(address, { allow: () => true }).release();
    const from = how === "spawn" ? "3" : "inheritedFds()[0].fd";
    const file = writeSource(dir, program(`adoptSocket(${from}, ${source})`));
    const env = { LISTEN_FDS: "1", LISTEN_FDNAMES: "web" };
    const activated = ["sh", "-c", 'LISTEN_PID=$$ exec "$@"', "sh"];
    const command = [process.execPath, file];
    if (how === "activation") {
      const child = start([...activated, ...command], { fds: [fd.fd], env });
      await child.lineWith("serving");
      return { told: [], [Symbol.asyncDispose]: () => ended(child, dir) };
    }
    const child = spawn(command, { fds: [fd], stdout: "pipe", cwd: root });
    const reader = (child.stdout as ReadableStream<Uint8Array>).getReader();
    await reader.read();
    return {
      told: [],
      async [Symbol.asyncDispose]() {
        child.kill("SIGKILL");
        await child.exited;
        await reader.cancel();
        dir[Symbol.dispose]();
      },
    };
  };
  return { name, open, elsewhere: true };
}

async function ended(child: AsyncDisposable, dir: Disposable): Promise<void> {
  await child[Symbol.asyncDispose]();
  dir[Symbol.dispose]();
}

const overAdopted = (fd: Fd, rules: AdmissionOptions): Promise<Serving> =>
  taking("", consuming, () => adoptSocket(Fd.duplicate(fd), rules) as Streams).open("", rules);

async function overServer(fd: Fd, rules: AdmissionOptions): Promise<Serving> {
  const server = serveOn(fd, bunServe, rules) as { stop(all: boolean): unknown };
  return {
    told: [],
    async [Symbol.asyncDispose]() {
      await server.stop(true);
    },
  };
}

/** Connections are taken by code of the caller's: a callback's error is told there. */
export const sockets: readonly Way[] = [
  taking("accept", accepting),
  taking("tryAccept", trying),
  taking("acceptSync", blocking),
  taking("consume", consuming),
  taking("iteration", iterating),
  taking("release, adoptSocket", accepting, adopted),
  {
    name: "handover, adoptSocket",
    takes: "seqpacket",
    open: (address, rules) => overHandover(address, (fd) => overAdopted(fd, rules)),
  },
];

/** A server of Bun or Node takes them. */
export const servers: readonly Way[] = [
  serving("Bun.serve", bunServe),
  { ...serving("Bun.listen, which speaks first", bunListen), speaksFirst: true },
  serving("node:net", nodeNet),
  serving("node:http", nodeHttp),
  ...(noServeHttp() === null ? [handed] : []),
  { ...serving("node:https", nodeHttps), tls: true },
  serving("Bun.serve on a bare descriptor", bunServe, { bare: true }),
  {
    name: "handover, Bun.serve",
    takes: "seqpacket",
    open: (address, rules) => overHandover(address, (fd) => overServer(fd, rules)),
  },
];

export const children: readonly Way[] = [
  inChild("spawn, adoptSocket", "spawn"),
  inChild("activation, adoptSocket", "activation"),
];

/** Whether this system has what it takes. */
export const works = ({ takes }: Way): boolean => takes === undefined || lacking(takes) === null;

export const everyWay: readonly Way[] = [...sockets, ...servers, ...children];

// Every rule of a listener × every way in which a connection is accepted from it. The stranger is a
// real one: uid 65534.
// time limit: 180 s

import { afterAll, describe, expect, test } from "bun:test";
import { chmodSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { type AdmissionOptions, adoptSocket, Fd, listen, socketPair } from "../../src/index.ts";
import { type PlaceholderAddress, serveOn } from "../../src/serve/adopt.ts";
import { listenTcp } from "../../src/serve/listen-tcp.ts";
import { type Child, start, succeeded, writeSource } from "../support/child.ts";
import { missing, peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { lacking, testsUnless, testUnless } from "../support/unless.ts";
import { addressRoutes, freshAddress, freshPath } from "./pairs.ts";
import { leakFree, thrown } from "./tools.ts";
import { everyWay, servers, sockets, type Way, works } from "./ways.ts";

const STRANGER = 65_534;
const needs = ["root", "python3", "openssl"];

const callers = new Map<number, Child>();

/** What a process of that user gets at `address`: "served", or what else there was. */
async function call(uid: number, { tls = false }: Way, address: string): Promise<string> {
  let caller = callers.get(uid);
  if (caller === undefined) {
    caller = start(["python3", "test/fixtures/caller.py", String(uid)], { timeoutMs: 170_000 });
    callers.set(uid, caller);
  }
  caller.write(`${tls ? "tls" : "call"} ${address}\n`);
  const line = await caller.line();
  return line?.includes("served") === true ? "served" : (line ?? "the caller has gone");
}

afterAll(async () => {
  for (const caller of callers.values()) await caller[Symbol.asyncDispose]();
});

if (missing(needs) === null) {
  // the callers' pipes are no leak of a test
  await call(0, everyWay[0]!, "@nobody-listens");
  await call(STRANGER, everyWay[0]!, "@nobody-listens");
}

/** Who is served, of this process's user and a stranger. */
async function served(way: Way, address: string): Promise<string[]> {
  const who: string[] = [];
  if ((await call(STRANGER, way, address)) === "served") who.push("stranger");
  if ((await call(0, way, address)) === "served") who.push("own user");
  return who;
}

const hasNames = lacking("abstractNames") === null;
const open = tempDir();
chmodSync(open.path, 0o755);
afterAll(open.remove);
let paths = 0;

/** Where a stranger may connect: an abstract name, or a path, once `letIn` has been called. */
const reachable = (): string => (hasNames ? freshAddress("abstract") : open.file(`${++paths}`));

/** Leave who comes in to the rules. */
function letIn(address: string): void {
  if (!address.startsWith("@")) chmodSync(address, 0o666);
}

type Rules = AdmissionOptions & { source?: string };
type Answer = NonNullable<AdmissionOptions["allow"]>;

const strangersOnly: Rules = {
  allow: ({ uid }) => uid === 65_534,
  source: "{ allow: ({ uid }) => uid === 65534 }",
};
const everybody: Rules = { allow: () => true, source: "{ allow: () => true }" };

describe.each(everyWay.map((way) => [way.name, way] as const))("%s", (_, way) => {
  const { peerTest } = testsUnless(way.takes === undefined ? null : lacking(way.takes));
  peerTest("an abstract name: this process's own user only", needs, () =>
    leakFree(async () => {
      const address = freshAddress("abstract");
      await using serving = await way.open(address, {});
      expect(await served(way, address)).toEqual(["own user"]);
      expect(serving.told).toEqual([]);
    }),
  );

  peerTest("allow decides, on an abstract name and on a path", needs, () =>
    leakFree(async () => {
      for (const route of addressRoutes) {
        const address = freshAddress(route);
        await using _serving = await way.open(address, strangersOnly);
        expect(await call(0, way, address)).not.toBe("served");
        if (route === "abstract") expect(await call(STRANGER, way, address)).toBe("served");
      }
      const address = reachable();
      await using _serving = await way.open(address, everybody);
      letIn(address);
      expect(await served(way, address)).toEqual(["stranger", "own user"]);
    }),
  );
});

/** None of them is `true`. */
const nearly: Record<string, unknown> = {
  "1": 1,
  "a text": "no",
  "an object": { ok: false },
  nothing: undefined,
};
const promised: Record<string, () => unknown> = {
  "a promise of true": async () => true,
  "a promise that is rejected": () => Promise.reject(new Error("later")),
  // biome-ignore lint/suspicious/noThenProperty: that is what is tried
  "a thenable": () => ({ then: (done: (value: boolean) => void) => done(true) }),
  // biome-ignore lint/suspicious/noThenProperty: that is what is tried
  "a function with then": () => Object.assign(() => {}, { then() {} }),
};

describe("only true is yes", () => {
  const inProcess = [...sockets, ...servers];
  peerTest("anything else refuses, whoever accepts", needs, () =>
    leakFree(async () => {
      for (const way of inProcess.filter(works)) {
        const address = reachable();
        let answer: unknown;
        await using serving = await way.open(address, { allow: (() => answer) as Answer });
        for (const [what, value] of Object.entries(nearly)) {
          answer = value;
          expect([way.name, what, await call(0, way, address)]).not.toContain("served");
        }
        answer = true;
        expect([way.name, await call(0, way, address)]).toEqual([way.name, "served"]);
        expect(serving.told).toEqual([]);
      }
    }),
  );

  peerTest("a promise refuses, and whoever accepts gets a TypeError", needs, () =>
    leakFree(async () => {
      for (const way of sockets.filter(works)) {
        const address = reachable();
        let answer: () => unknown = () => true;
        await using serving = await way.open(address, { allow: (() => answer()) as Answer });
        for (const [what, value] of Object.entries(promised)) {
          answer = value;
          expect([way.name, what, await call(0, way, address)]).not.toContain("served");
          expect(serving.told.splice(0)).toEqual([expect.any(TypeError)]);
        }
        answer = () => {
          throw new RangeError("mine");
        };
        expect(await call(0, way, address)).not.toBe("served");
        expect(serving.told.splice(0)).toEqual([new RangeError("mine")]);
        answer = () => true;
        expect([way.name, await call(0, way, address)]).toEqual([way.name, "served"]);
      }
    }),
  );

  const why = lacking("serveOn") ?? missing(needs);
  testUnless(why, "under serveOn it is an uncaught exception, and the server goes on", async () => {
    const source = `
import { serveOn, listen } from "@/src/index.ts";
let answer = async () => true;
using listener = listen("@admission-${process.pid}", { allow: () => answer() });
const headers = { Connection: "close" };
const fetch = () => new Response("served", { headers });
const server = serveOn(listener, (where) => Bun.serve({ ...where, fetch }));
process.on("uncaughtException", (error) => {
  console.log(error.name + ": " + error.message);
  answer = error instanceof TypeError ? () => { throw new RangeError("mine"); } : () => true;
});
console.log("serving");
for await (const _ of process.stdin) break;
await server.stop(true);
process.exit(0);`;
    using dir = tempDir();
    await using child = start([process.execPath, writeSource(dir, source)]);
    await child.lineWith("serving");
    const way = servers[0]!;
    const address = `@admission-${process.pid}`;
    expect(await call(0, way, address)).not.toBe("served");
    expect(await child.line()).toStartWith("TypeError: allow must return true or false");
    expect(await call(0, way, address)).not.toBe("served");
    expect(await child.line()).toBe("RangeError: mine");
    expect(await call(0, way, address)).toBe("served");
    child.endInput();
    succeeded(await child.exited);
  });
});

/** A client that says nothing and stays. */
function staying(path: string): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ path });
    socket.once("connect", () => resolve(socket));
    socket.once("error", reject);
  });
}

/** What a client gets that asks now. */
function asking(socket: net.Socket): Promise<string> {
  const came = new Promise<string>((resolve) => socket.once("data", (data) => resolve(`${data}`)));
  socket.write("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  return came;
}

const soon = <T>(value: Promise<T>): Promise<T | "waits"> =>
  Promise.race([value, Bun.sleep(30).then(() => "waits" as const)]);

const answering: Record<
  string,
  (where: PlaceholderAddress) => { stop(all: true): unknown } | http.Server | net.Server
> = {
  "Bun.serve": (where) => Bun.serve({ ...where, fetch: () => new Response("served") }),
  "Bun.listen": (where) => {
    const socket = { data: (one: Bun.Socket<undefined>) => void one.end("served") };
    return "unix" in where ? Bun.listen({ ...where, socket }) : Bun.listen({ ...where, socket });
  },
  "node:net": (where) =>
    net.createServer((socket) => socket.on("data", () => socket.end("served"))).listen(where),
  "node:http": (where) =>
    http.createServer((_, response) => void response.end("served")).listen(where),
};

async function stop(server: object): Promise<void> {
  if ("stop" in server) await (server as { stop(all: true): unknown }).stop(true);
  else (server as net.Server).close();
}

const noServing = lacking("serveOn");

describe("maxConnections", () => {
  test.each(Object.entries(answering))("%s: more wait until one ends", (_, begin) =>
    leakFree(async () => {
      const path = freshPath();
      using listener = listen(path, { maxConnections: 2 });
      const server = serveOn(listener, begin);
      const [first, second, third] = [
        await staying(path),
        await staying(path),
        await staying(path),
      ];
      while (listener.connections < 2) await Bun.sleep(1);
      const came = asking(third);
      expect(await soon(came)).toBe("waits");
      expect(listener.connections).toBe(2);
      first.destroy();
      expect(await came).toContain("served");
      second.destroy();
      third.destroy();
      while (listener.connections > 0) await Bun.sleep(1);
      await stop(server);
    }),
  );

  testUnless(noServing, "of an adopted listener, and of a bare descriptor by options", () =>
    leakFree(async () => {
      const begin = answering["Bun.serve"]!;
      for (const how of ["adoptSocket", "serveOn"] as const) {
        const path = freshPath();
        using fd = listen(path).release();
        using listener = adoptSocket(Fd.duplicate(fd), { maxConnections: 1, backlog: 5 });
        const server =
          how === "adoptSocket"
            ? serveOn(listener, begin)
            : serveOn(fd, begin, { maxConnections: 1 });
        const [first, second] = [await staying(path), await staying(path)];
        const came = asking(second);
        expect(await soon(came)).toBe("waits");
        first.destroy();
        expect(await came).toContain("served");
        second.destroy();
        await stop(server);
      }
    }),
  );
});

testUnless(noServing, "what cannot be kept is refused before anything is started", async () => {
  using listener = listen(freshPath(), { allow: () => true });
  using tcp = listenTcp({ hostname: "127.0.0.1", port: 0 });
  const never = (): never => {
    throw new Error("started");
  };
  const allow = (): boolean => true;
  expect(await thrown(() => serveOn(listener, never, { allow }))).toBeInstanceOf(TypeError);
  expect(await thrown(() => serveOn(tcp, never, { allow }))).toBeInstanceOf(TypeError);
  const text = "yes" as unknown as Answer;
  expect(await thrown(() => serveOn(tcp, never, { allow: text }))).toBeInstanceOf(TypeError);
  expect(() => listen(freshPath(), { allow: text })).toThrow(TypeError);
  expect(() => adoptSocket(tcp, { maxConnections: 0 })).toThrow(RangeError);
  const [one, other] = socketPair("stream");
  using near = one;
  using far = other;
  expect(() => adoptSocket(near.fd, { allow })).toThrow(TypeError);
  expect([near.closed, far.closed]).toEqual([false, false]);
});

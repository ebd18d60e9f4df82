// Whether somebody can get another's caller, or in without `allow`, where Bun accepts: connections
// that end at once, numbers that are reused, other code that opens and closes descriptors in the
// same moment, several servers and Workers.

import { describe, expect } from "bun:test";
import { closeSync, openSync } from "node:fs";
import http from "node:http";
import net from "node:net";
import { BunConnection } from "../../src/http/bun-connection.ts";
import type { BunHandle } from "../../src/http/bun-handle.ts";
import type { BunStream } from "../../src/http/delegate-server.ts";
import {
  callerOf,
  capabilities,
  type HttpService,
  listen,
  peerCredentials,
  type ServeHttpOptions,
  serveHttp,
  socketPair,
} from "../../src/index.ts";
import { duplicate } from "../../src/syscalls/fd.ts";
import { freshPath } from "../api/pairs.ts";
import { HttpClient } from "../api/servers.ts";
import { codeOf, eventually, leakFree, pairWith, withLibc } from "../api/tools.ts";
import { fewer, run, runSource, succeeded } from "../support/child.ts";
import { compileC } from "../support/peers.ts";
import { setMode, tempDir } from "../support/tmp.ts";
import { testsUnless } from "../support/unless.ts";

const { serveHttp: capable } = capabilities();
const options: ServeHttpOptions = { acceptBy: "bun" };

async function whyNotHere(): Promise<string | null> {
  if (!capable.available) return capable.reason;
  const service = serveHttp(listen(freshPath()), http.createServer(), options);
  await eventually(() => service.acceptedBy !== null, "it is known who accepts");
  const by = service.acceptedBy;
  service.close();
  return by === "bun" ? null : "Bun does not accept for serveHttp here";
}

const { test, peerTest } = testsUnless(await whyNotHere());

const tell: http.RequestListener = (request, response) => {
  const caller = callerOf(request);
  response.end(`${caller?.pid} ${caller?.uid} ${caller?.groups().join(",")}`);
};

const CLIENTS = 9;
const ROUNDS = fewer(6);
const TIMEOUT_MS = 60_000;

/** Opens more than it closes, closes the rest a moment later. */
function meddle(): void {
  const fds = Array.from({ length: 3 }, () => openSync("/dev/null", "r"));
  const pair = socketPair("stream");
  const copy = duplicate(pair[0].fd);
  closeSync(fds[0]!);
  setImmediate(() => {
    for (const fd of [fds[1]!, fds[2]!, copy]) closeSync(fd);
    for (const socket of pair) socket.close();
  });
}

peerTest(
  "clients of three users that come and go, two servers, a Worker on the same listener, other code",
  ["root", "python3", "cc"],
  () =>
    leakFree(async () => {
      using dir = tempDir();
      setMode(dir.path, 0o755);
      const [all, shared, root] = ["all", "shared", "root"].map((name) => dir.file(name));
      const allow = ({ uid }: { uid: number | null }): boolean => {
        meddle();
        return uid === 0;
      };
      const sharing = listen(shared!, { mode: 0o666 });
      const copy = duplicate(sharing.fd);
      const servers = [tell, tell, tell].map((handler) => http.createServer(handler));
      for (const server of servers) server.on("connection", meddle);
      const services = [
        serveHttp(listen(all!, { mode: 0o666 }), servers[0]!, options),
        serveHttp(sharing, servers[1]!, options),
        serveHttp(listen(root!, { mode: 0o666, allow }), servers[2]!, options),
      ];
      const worker = new Worker(new URL("../fixtures/http-worker.ts", import.meta.url).href);
      const said = (): Promise<unknown> =>
        new Promise((resolve) => (worker.onmessage = ({ data }) => resolve(data)));
      let heard = said();
      worker.postMessage(copy);
      expect(await heard).toBe("bun");
      const rush = ["http-rush.py", CLIENTS, ROUNDS, all, shared, root].map(String);
      rush[0] = `test/fixtures/${rush[0]}`;
      const paths = [all!, shared!, root!];
      const hasty = paths.map((path) =>
        run([compileC("test/fixtures/http-rush.c"), path, String(20 * ROUNDS)]),
      );
      const [right, wrong, refused] = succeeded(
        await run(["python3", ...rush], { timeoutMs: TIMEOUT_MS }),
      )
        .trim()
        .split(" ")
        .map(Number);
      for (const one of hasty) expect((await one).code).toBe(0);
      const refusals = (CLIENTS * ROUNDS * 2) / 9; // a third of the paths, two thirds of the users
      expect([right, wrong, refused]).toEqual([CLIENTS * ROUNDS - refusals, 0, refusals]);
      await eventually(() => services.every(({ connections }) => connections === 0), "all gone");
      for (const service of services) service.close();
      heard = said();
      worker.postMessage(-1);
      await heard;
      worker.terminate();
    }),
  TIMEOUT_MS,
);

describe("a number that has become another's", () => {
  test("is not asked about: groups() and peer() are ERR_CLOSED", async () => {
    const [here, there] = socketPair("stream");
    const { fd } = here;
    const accepted = { stream: { destroyed: false } as BunStream, handle: {} as BunHandle, fd };
    const { caller } = new BunConnection(accepted, peerCredentials(fd));
    expect(caller.groups()).toEqual(process.getgroups?.() ?? []);
    const second = new BunConnection(accepted, peerCredentials(fd));
    here.close();
    const [other, end] = pairWith(fd);
    expect(other.fd).toBe(fd);
    expect(await codeOf(() => second.caller.groups())).toBe("ERR_CLOSED");
    expect(await codeOf(() => second.caller.peer())).toBe("ERR_CLOSED");
    second.stopReading();
    end.sendSync("still open");
    expect(Buffer.from(other.receiveSync()!.data).toString()).toBe("still open");
    for (const socket of [there, other, end]) socket.close();
  });

  test("nor where the kernel does not say what it stands for", async () => {
    const [here, there] = socketPair("stream");
    const { fd } = here;
    const accepted = { stream: { destroyed: false } as BunStream, handle: {} as BunHandle, fd };
    const { caller } = new BunConnection(accepted, peerCredentials(fd));
    const fakes = { getsockopt: () => -1, syscall: () => -1, __errno_location: () => 0 } as never;
    await withLibc(fakes, async () => {
      expect(await codeOf(() => caller.peer())).toBe("ERR_CLOSED");
    });
    for (const socket of [here, there]) socket.close();
  });
});

/** A service with an `allow` that can reach it. */
async function withAllow(
  allow: (service: HttpService, server: http.Server) => boolean,
  body: (path: string, service: HttpService) => Promise<void>,
): Promise<void> {
  const path = freshPath();
  const server = http.createServer(tell);
  let service: HttpService | null = null;
  const listener = listen(path, { allow: () => allow(service!, server) });
  service = serveHttp(listener, server, options);
  await eventually(() => service?.acceptedBy === "bun", "Bun accepts");
  await body(path, service);
  service.close();
}

const ended = async (path: string): Promise<string> => {
  using client = new HttpClient({ path });
  return await client.get("/").then(
    ({ text }) => text,
    () => "ended",
  );
};

describe("`allow`", () => {
  test("that closes every connection, or the service, lets nobody in", () =>
    leakFree(async () => {
      for (const close of [
        (service: HttpService) => service.close(),
        (_: HttpService, server: http.Server) => server.closeAllConnections(),
      ]) {
        const allow = (service: HttpService, server: http.Server): boolean => {
          close(service, server);
          return true;
        };
        await withAllow(allow, async (path, service) => {
          expect(await ended(path)).toBe("ended");
          expect(service.connections).toBe(0);
        });
      }
    }));

  test("that refuses many in a row: each request of theirs is lost, the next is served", () =>
    leakFree(async () => {
      let refusing = true;
      await withAllow(
        () => !refusing,
        async (path, service) => {
          const refused = await Promise.all(Array.from({ length: 30 }, () => ended(path)));
          expect(new Set(refused)).toEqual(new Set(["ended"]));
          refusing = false;
          expect(await ended(path)).toStartWith(`${process.pid} `);
          await eventually(() => service.connections === 0, "all gone");
        },
      );
    }));

  test("no event of a connection that was refused comes through, damaged requests neither", () =>
    leakFree(async () => {
      const path = freshPath();
      const server = http.createServer(tell);
      const heard: string[] = [];
      for (const event of ["connection", "request", "clientError", "connect", "upgrade", "timeout"])
        server.on(event, () => heard.push(event));
      const service = serveHttp(listen(path, { allow: () => false }), server, options);
      await eventually(() => service.acceptedBy === "bun", "Bun accepts");
      for (const text of [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "no http\r\n\r\n",
        "CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
      ]) {
        const client = net.connect(path, () => client.write(text));
        await new Promise((resolve) => client.once("close", resolve).on("error", () => {}));
      }
      expect(heard).toEqual([]);
      service.close();
    }));
});

/** What a program says that serves with a Bun that is another one. */
const changed = async (change: string): Promise<string> => {
  using dir = tempDir();
  const source = `
import http from "node:http";
import net from "node:net";
import { callerOf, listen, serveHttp } from "@/src/index.ts";
const own = http.createServer();
const handle = await new Promise((resolve) => {
  own.on("connection", (stream) => {
    const key = Object.getOwnPropertySymbols(stream).find((one) => one.description === "handle");
    resolve(stream[key]);
    stream.destroy();
  });
  const path = process.cwd() + "/own";
  own.listen(path, () => net.connect(path).on("error", () => {}));
});
own.close();
const says = (value) =>
  Object.defineProperty(Object.getPrototypeOf(handle), "localAddress", {
    get: () => value,
    configurable: true,
  });
const path = process.cwd() + "/s";
const server = http.createServer((request, response) => {
  response.end(String(callerOf(request)?.pid === process.pid));
});
const serve = async () => {
  const service = serveHttp(listen(path), server, { acceptBy: "bun" });
  while (service.acceptedBy === null) await Bun.sleep(1);
  return service;
};
const ask = () =>
  fetch("http://x/", { unix: path, keepalive: false }).then(
    (one) => one.text(),
    () => "ended",
  );
${change}
console.log(service.acceptedBy, await ask());
process.exit();`;
  return succeeded(await runSource(source, { cwd: dir.path })).trim();
};

describe("a Bun whose streams say otherwise", () => {
  for (const value of ['{ family: "Unix" }', '{ family: "IPv4" }', "undefined", "null"]) {
    test(`${value}, from the beginning: this library accepts`, async () => {
      expect(await changed(`says(${value}); const service = await serve();`)).toBe("bunix true");
    });
  }

  test("from now on: who comes is closed, and never taken for another", async () => {
    const source = `const service = await serve();
console.log(await ask());
says({ family: "Unix" });`;
    expect(await changed(source)).toBe("true\nbun ended");
  });
});

// serveHttp and callerOf: who connected, for servers of node:http on listeners of ours.

import { describe, expect } from "bun:test";
import http from "node:http";
import net from "node:net";
import { system } from "../../native/platform.ts";
import {
  type Caller,
  callerOf,
  capabilities,
  type HttpService,
  type Listener,
  type ListenOptions,
  listen,
  listenTcp,
  type StreamSocket,
  serveHttp,
} from "../../src/index.ts";
import { runSource, start, succeeded } from "../support/child.ts";
import { setMode, tempDir } from "../support/tmp.ts";
import { lacking, testsUnless } from "../support/unless.ts";
import { freshPath } from "./pairs.ts";
import { HttpClient } from "./servers.ts";
import { codeOf, eventually, leakFree, thrown, turns } from "./tools.ts";

const { serveHttp: capable } = capabilities();
const { test, peerTest } = testsUnless(capable.available ? null : capable.reason);

const self = { pid: process.pid, uid: process.getuid?.() ?? -1, gid: process.getgid?.() ?? -1 };

/** "pid uid gid", as the server saw them. */
const told = (caller: Caller | undefined): string =>
  caller === undefined ? "nobody" : `${caller.pid} ${caller.uid} ${caller.gid}`;

const me = `${self.pid} ${self.uid} ${self.gid}`;

interface Served extends AsyncDisposable {
  readonly path: string;
  readonly service: HttpService;
  readonly server: http.Server;
  readonly listener: Listener<StreamSocket>;
}

/** A server at a path of its own. */
function served(
  handler: http.RequestListener,
  options: http.ServerOptions & { path?: string; listen?: ListenOptions } = {},
): Served {
  const { path = freshPath() } = options;
  const listener = listen(path, options.listen as ListenOptions<"stream">);
  const server = http.createServer(options, handler);
  const service = serveHttp(listener, server);
  return {
    path,
    service,
    server,
    listener,
    async [Symbol.asyncDispose]() {
      service.close();
      await eventually(() => service.connections === 0, "all closed");
    },
  };
}

/** As the kernel tells them: XNU's begin with the effective one. */
const ownGroups = [...(system === "darwin" ? [process.getegid!()] : []), ...process.getgroups!()];

const tell: http.RequestListener = (request, response) => {
  response.end(told(callerOf(request)));
};

describe("who calls", () => {
  test("each request of a connection has the same frozen caller", () =>
    leakFree(async () => {
      const callers = new Set<Caller | undefined>();
      await using at = served((request, response) => {
        callers.add(callerOf(request));
        callers.add(callerOf(response));
        callers.add(callerOf(request.socket));
        tell(request, response);
      });
      using client = new HttpClient(at);
      for (let i = 0; i < 3; i++) expect((await client.get(`/${i}`)).text).toBe(me);
      expect(callers.size).toBe(1);
      const [caller] = callers;
      expect(Object.isFrozen(caller)).toBeTrue();
      expect(caller?.groups()).toEqual(ownGroups);
      expect(Object.isFrozen(caller?.groups())).toBeTrue();
      using peer = caller!.peer();
      expect([peer.pid, peer.alive]).toEqual([process.pid, true]);
    }));

  test("after the connection has ended the caller is what it was, and the rest is ERR_CLOSED", () =>
    leakFree(async () => {
      let caller: Caller | undefined;
      let asked: Caller | undefined;
      await using at = served((request, response) => {
        if (request.url === "/asked") {
          asked = callerOf(request);
          asked?.groups();
        } else caller = callerOf(request);
        response.end();
      });
      for (const path of ["/", "/asked"]) {
        using client = new HttpClient(at);
        await client.get(path);
      }
      await eventually(() => at.service.connections === 0, "the connections are gone");
      expect(told(caller)).toBe(me);
      expect(await codeOf(() => caller?.groups())).toBe("ERR_CLOSED");
      expect(await codeOf(() => caller?.peer())).toBe("ERR_CLOSED");
      expect(asked?.groups()).toEqual(ownGroups);
    }));

  test("what did not come this way has none", () =>
    leakFree(async () => {
      await using at = served(tell);
      at.server.listen(0, "127.0.0.1");
      await new Promise((resolve) => at.server.once("listening", resolve));
      const { port } = at.server.address() as net.AddressInfo;
      {
        using tcp = new HttpClient({ host: "127.0.0.1", port });
        expect((await tcp.get("/")).text).toBe("nobody");
        using unix = new HttpClient(at);
        expect((await unix.get("/")).text).toBe(me);
      }
      at.server.close();
      for (const odd of [null, undefined, 1, "x", {}, { socket: {} }, new Request("http://x/")]) {
        expect(callerOf(odd as object)).toBeUndefined();
      }
      const forged = { socket: { caller: { uid: 0 } }, _socket: { uid: 0 }, pid: 1, uid: 0 };
      expect(callerOf(forged)).toBeUndefined();
    }));

  peerTest("an upgraded connection keeps its caller; the stream is the handler's alone", [], () =>
    leakFree(async () => {
      await using at = served(tell);
      const { promise: upgraded, resolve } = Promise.withResolvers<string[]>();
      at.server.on("upgrade", (request, socket, head: Buffer) => {
        resolve([told(callerOf(request)), told(callerOf(socket)), head.toString()]);
        socket.write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n");
        socket.pipe(socket);
      });
      const client = net.connect(at.path);
      let heard = "";
      client.on("data", (data) => (heard += data));
      client.write(
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly",
      );
      expect(await upgraded).toEqual([me, me, "early"]);
      client.write("and more");
      await eventually(() => heard.endsWith("\r\n\r\nand more"), "the echo");
      client.end();
      await eventually(() => at.service.connections === 0, "it has ended");
    }),
  );

  test("of Bun.serve: by requestFD where this Bun has it, else it says what to do", async () => {
    const request = new Request("http://x/");
    const refused = await thrown(() => callerOf(request, {}));
    expect(refused).toMatchObject({ code: "ERR_UNSUPPORTED", capability: "requestCallers" });
    expect(String(refused)).toContain("serveHttp");
    expect(callerOf(request, { requestFD: () => null })).toBeUndefined();
  });

  peerTest("of another user", ["root", "python3"], () =>
    leakFree(async () => {
      using dir = tempDir();
      setMode(dir.path, 0o755);
      await using at = served(tell, { path: dir.file("s"), listen: { mode: 0o666 } });
      const program = `import http.client, os, socket, sys
os.setgroups([4, 24]); os.setgid(65534); os.setuid(65534)
s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
c = http.client.HTTPConnection("localhost"); c.sock = s
for i in range(3):
    c.request("GET", "/"); print(c.getresponse().read().decode() == f"{os.getpid()} 65534 65534")`;
      await using other = start(["python3", "-c", program, at.path], { cwd: dir.path });
      const { stdout, stderr } = await other.exited;
      expect(stderr).toBe("");
      expect(stdout).toBe("True\n".repeat(3));
    }),
  );
});

describe("who may come in", () => {
  test("`allow` is the listener's", () =>
    leakFree(async () => {
      let answer = false;
      await using at = served(tell, { listen: { allow: () => answer } });
      using refused = new HttpClient(at);
      expect(await refused.get("/").catch((error: Error) => error.message)).toContain("ended");
      answer = true;
      using second = new HttpClient(at);
      expect((await second.get("/")).text).toBe(me);
    }));

  test("beyond maxConnections, of either, clients wait, and are served when one has gone", () =>
    leakFree(async () => {
      for (const where of ["listener", "server"] as const) {
        const options = where === "listener" ? { listen: { maxConnections: 2 } } : {};
        await using at = served(tell, options);
        if (where === "server") at.server.maxConnections = 2;
        const first = new HttpClient(at);
        using second = new HttpClient(at);
        await first.get("/");
        await second.get("/");
        using third = new HttpClient(at);
        const waiting = third.get("/");
        await turns();
        expect(at.service.connections).toBe(2);
        first[Symbol.dispose]();
        expect((await waiting).text).toBe(me);
      }
    }));
});

describe("one connection's trouble", () => {
  test("a reset and damaged requests leave the others alone", () =>
    leakFree(async () => {
      await using at = served((request, response) => {
        if (request.url !== "/never") tell(request, response);
      });
      using good = new HttpClient(at);
      await good.get("/");
      const bad = net.connect(at.path);
      let heard = "";
      bad.on("data", (data) => (heard += data));
      bad.on("error", () => {});
      bad.write("NO HTTP AT ALL\r\n\r\n");
      await eventually(() => heard.includes("400 Bad Request"), "it is told so");
      const leaving = net.connect(at.path, () => {
        leaving.write("GET /never HTTP/1.1\r\nHost: x\r\n\r\n", () => leaving.destroy());
      });
      expect((await good.get("/")).text).toBe(me);
      await eventually(() => at.service.connections === 1, "only the good one is left");
    }));

  test("what `allow`, a handler, a listener throw is uncaught, and it goes on", async () => {
    const source = `
import http from "node:http";
import { listen, serveHttp } from "@/src/index.ts";
const path = process.cwd() + "/s";
const told = [];
let request;
process.on("uncaughtException", ({ message }) => {
  told.push(message);
  if (message === "handler") request.destroy(); // nobody answers it
});
let next = "";
const at = (place) => { if (next === place) { next = ""; throw new Error(place); } return true; };
const server = http.createServer((request, response) => { at("handler"); response.end("fine"); });
server.prependListener("connection", () => at("listener"));
const service = serveHttp(listen(path, { allow: () => at("allow") }), server);
const get = () => new Promise((resolve) => {
  request = http.get({ socketPath: path, agent: false }, (response) => {
    response.setEncoding("utf8").on("data", resolve);
  });
  request.on("error", () => resolve("closed"));
});
for (const place of ["allow", "listener", "handler"]) {
  next = place;
  const first = await get(); // the client may hear of it first
  while (told.length === 0) await new Promise((resolve) => setImmediate(resolve));
  console.log(place, first, told.join(), await get());
  told.length = 0;
}
service.close();`;
    using dir = tempDir();
    const said = succeeded(await runSource(source, { cwd: dir.path }));
    expect(said.trim().split("\n")).toEqual([
      "allow closed allow fine",
      "listener closed listener fine",
      "handler closed handler fine",
    ]);
  });
});

describe("the end", () => {
  test("close() ends everything at once, and removes the socket's file", () =>
    leakFree(async () => {
      const at = served(() => {});
      using client = new HttpClient(at);
      const answer = client.get("/").catch((error: Error) => error.message);
      await eventually(() => at.service.connections === 1, "it is connected");
      const count = (): Promise<number> =>
        new Promise((resolve) => at.server.getConnections((_, n) => resolve(n)));
      expect(await count()).toBe(1);
      at.service.close();
      at.service.close();
      expect(await answer).toContain("ended");
      expect([at.service.closed, at.listener.closed]).toEqual([true, true]);
      await eventually(() => at.service.connections === 0, "none is left");
      expect(await count()).toBe(0);
      expect(await codeOf(() => serveHttp(at.listener, at.server))).toBe("ERR_CLOSED");
    }));

  test("drain(): what is due is answered, with Connection: close; idle ones end", () =>
    leakFree(async () => {
      const { promise: go, resolve: letGo } = Promise.withResolvers<void>();
      const at = served(async (request, response) => {
        if (request.url === "/slow") await go;
        tell(request, response);
      });
      using idle = new HttpClient(at);
      using fresh = new HttpClient(at);
      using slow = new HttpClient(at);
      await idle.get("/");
      const answer = slow.get("/slow");
      await eventually(() => at.service.connections === 3, "all are here");
      await turns();
      const drained = at.service.drain();
      expect(at.service.draining).toBeTrue();
      await idle.end();
      await fresh.end();
      expect(at.service.connections).toBe(1);
      letGo();
      const { text, headers } = await answer;
      expect([text, headers["connection"]]).toEqual([me, "close"]);
      await drained;
      expect([at.service.closed, at.service.connections]).toEqual([true, 0]);
    }));

  test("drain(): a request that is queued already is answered", () =>
    leakFree(async () => {
      const at = served(tell);
      using client = new HttpClient(at);
      await client.get("/");
      const answer = client.get("/"); // sent before this turn ends
      await new Promise((resolve) => setImmediate(resolve));
      const drained = at.service.drain();
      expect((await answer).text).toBe(me);
      await drained;
    }));

  test("drain() ends by its limit, and by its signal", () =>
    leakFree(async () => {
      for (const options of [{ timeoutMs: 1 }, { signal: AbortSignal.abort() }]) {
        const at = served(() => {});
        using client = new HttpClient(at);
        const answer = client.get("/").catch((error: Error) => error.message);
        await eventually(() => at.service.connections === 1, "it is connected");
        await at.service.drain(options);
        expect(await answer).toContain("ended");
        await eventually(() => at.service.connections === 0, "none is left");
      }
    }));
});

test("what it does not take", () =>
  leakFree(async () => {
    using packets =
      lacking("seqpacket") === null ? listen(freshPath(), { type: "seqpacket" }) : null;
    using stream = listen(freshPath());
    using tcp = listenTcp({ hostname: "127.0.0.1", port: 0 });
    const server = http.createServer();
    const bad: [unknown, unknown][] = [
      [packets, server],
      [tcp, server],
      [3, server],
      [stream, net.createServer()],
      [stream, {}],
      [stream, undefined],
    ];
    for (const [listener, one] of bad) {
      expect(await thrown(() => serveHttp(listener as never, one as never))).toBeInstanceOf(
        TypeError,
      );
    }
  }));

if (!capable.available) {
  const { test: always } = testsUnless(null);
  always("UnsupportedError where this Bun ignores such connections", async () => {
    using listener = listen(freshPath());
    const refused = await thrown(() => serveHttp(listener, http.createServer()));
    expect(refused).toMatchObject({ code: "ERR_UNSUPPORTED", capability: "serveHttp" });
    expect(listener.closed).toBeFalse();
  });
}

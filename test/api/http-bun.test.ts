// serveHttp where Bun accepts and parses: who it is is found out in the moment of accepting.

import { describe, expect } from "bun:test";
import http from "node:http";
import net from "node:net";
import { option } from "../../native/socket.ts";
import {
  callerOf,
  capabilities,
  connect,
  Fd,
  type HttpService,
  type ListenOptions,
  listen,
  type ServeHttpOptions,
  serveHttp,
} from "../../src/index.ts";
import { duplicate } from "../../src/syscalls/fd.ts";
import { getOption, setOption } from "../../src/syscalls/socket.ts";
import { runSource, succeeded } from "../support/child.ts";
import { tempDir } from "../support/tmp.ts";
import { testsUnless, testUnless } from "../support/unless.ts";
import { freshPath } from "./pairs.ts";
import { HttpClient } from "./servers.ts";
import { eventually, leakFree, must, thrown, turns } from "./tools.ts";

const { serveHttp: capable, refuseFds } = capabilities();
const lacking = refuseFds.available ? await whyNotHere() : refuseFds.reason;
const { test: everywhere } = testsUnless(capable.available ? null : capable.reason);

/** Whether Bun accepts here: qemu shows no epoll, say. */
async function whyNotHere(): Promise<string | null> {
  if (!capable.available) return capable.reason;
  const service = serveHttp(listen(freshPath()), http.createServer(), { acceptBy: "bun" });
  await eventually(() => service.acceptedBy !== null, "it is known who accepts");
  const by = service.acceptedBy;
  service.close();
  return by === "bun" ? null : "Bun does not accept for serveHttp here";
}

const { test } = testsUnless(await whyNotHere());

const tell: http.RequestListener = (request, response) => {
  response.end(`${callerOf(request)?.pid} ${request.socket.localPort}`);
};
const me = `${process.pid} undefined`;

interface Made {
  readonly server?: http.Server;
  readonly options?: ServeHttpOptions;
  readonly listen?: ListenOptions;
}

async function serving(
  { server = http.createServer(tell), options = {}, listen: how = {} }: Made,
  body: (path: string, service: HttpService) => Promise<void>,
): Promise<void> {
  const path = freshPath();
  const service = serveHttp(listen(path, how as ListenOptions<"stream">), server, options);
  try {
    await eventually(() => service.acceptedBy !== null, "it is known who accepts");
    await body(path, service);
  } finally {
    service.close();
  }
  await eventually(() => service.connections === 0, "no connection is left");
}

const by = async (made: Made): Promise<unknown> => {
  let found: unknown;
  await serving(made, async (path, service) => {
    found = service.acceptedBy;
    using client = new HttpClient({ path });
    expect((await client.get("/")).text).toStartWith(String(process.pid));
  });
  return found;
};

everywhere("this library accepts when it is asked to, and for options that Bun lacks", () =>
  leakFree(async () => {
    expect(await by({ options: { acceptBy: "bunix" } })).toBe("bunix");
    expect(await by({ listen: { maxMessageBytes: 1_000_000 } })).toBe("bunix");
    const listener = listen(freshPath());
    const wrong = { acceptBy: "me" } as never;
    const refused = await thrown(() => serveHttp(listener, http.createServer(), wrong));
    expect(refused).toBeInstanceOf(TypeError);
    listener.close();
  }),
);

describe("Bun accepts", () => {
  test("by default where Linux refuses descriptors", () =>
    leakFree(async () => {
      expect(await by({})).toBe(refuseFds.available ? "bun" : "bunix");
      expect(await by({ options: { acceptBy: "bun" } })).toBe("bun");
    }));

  const options = { acceptBy: "bun" } as const;

  test('"connection" is told once, before a byte has come, of a known caller', () =>
    leakFree(async () => {
      const server = http.createServer(tell);
      const told: unknown[] = [];
      server.on("connection", (stream: net.Socket) => {
        told.push(callerOf(stream)?.pid, stream.bytesRead, (stream as { server?: unknown }).server);
      });
      await serving({ server, options }, async (path) => {
        using client = new HttpClient({ path });
        for (let i = 0; i < 3; i++) expect((await client.get("/")).text).toBe(me);
      });
      expect(told).toEqual([process.pid, 0, server]);
    }));

  test("no more than maxConnections of many that come at once", () =>
    leakFree(async () => {
      await serving({ options, listen: { maxConnections: 2 } }, async (path, service) => {
        const clients = Array.from({ length: 8 }, () => new HttpClient({ path }));
        const answers = clients.map(async (client) => {
          const { text } = await client.get("/");
          expect(service.connections).toBeLessThanOrEqual(2);
          client[Symbol.dispose]();
          return text;
        });
        expect(await Promise.all(answers)).toEqual(clients.map(() => me));
      });
    }));

  test("several services, and what the server listens on itself, side by side", () =>
    leakFree(async () => {
      const server = http.createServer(tell);
      const own = freshPath();
      await serving({ server, options }, async (first, service) => {
        await new Promise<void>((resolve) => server.listen(own, resolve));
        await serving({ server, options }, async (second) => {
          for (const path of [first, second]) {
            using client = new HttpClient({ path });
            expect((await client.get("/")).text).toBe(me);
          }
          using stranger = new HttpClient({ path: own });
          expect((await stranger.get("/")).text).toBe("undefined undefined");
        });
        using still = new HttpClient({ path: first });
        expect((await still.get("/")).text).toBe(me);
        await eventually(() => service.connections === 1, "one is here");
        server.close();
      });
    }));

  test("of several connections of one name, each has its own caller", () =>
    leakFree(async () => {
      await serving({ options }, async (path) => {
        const [first, second, third] = [0, 1, 2].map(() => new HttpClient({ path }));
        await Promise.all([first!.get("/"), second!.get("/")]);
        first![Symbol.dispose](); // a number in the midst is free
        expect((await third!.get("/")).text).toBe(me);
        expect((await second!.get("/")).text).toBe(me);
        for (const client of [second!, third!]) client[Symbol.dispose]();
      });
    }));

  test("when the listener is closed nobody comes in, and who is here stays", () =>
    leakFree(async () => {
      const path = freshPath();
      const listener = listen(path);
      const service = serveHttp(listener, http.createServer(tell), options);
      using client = new HttpClient({ path });
      await client.get("/");
      const waiting = net.connect(path);
      const ended = new Promise((resolve) =>
        waiting.once("close", resolve).once("error", () => {}),
      );
      listener.close();
      await ended;
      expect((await client.get("/")).text).toBe(me);
      service.close();
    }));

  testUnless(lacking, "descriptors of clients are refused, at the beginning and later", () =>
    leakFree(() =>
      serving({ options }, async (path, service) => {
        using early = await connect(path);
        const at = await thrown(() => early.trySend("GET / ", { fds: [0] })); // in the same turn
        expect(at).toMatchObject({ code: "EPERM" });
        await eventually(() => service.connections === 1, "it is here");
        const later = await thrown(() => early.send("GET / ", { fds: [0] }));
        expect(later).toMatchObject({ code: "EPERM" });
        early.close();
      }),
    ),
  );

  testUnless(lacking, "what was sent with descriptors before there was a service is closed", () =>
    leakFree(async () => {
      const path = freshPath();
      const listener = listen(path);
      using same = Fd.adopt(duplicate(listener.fd), "test");
      const refuses = (): boolean => getOption(same.fd, option.SO_PASSRIGHTS ?? 0) === 0;
      using early = await connect(path);
      using plain = await connect(path);
      const get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
      early.trySend(get, { fds: [0] });
      plain.trySend(get);
      expect(refuses()).toBeFalse();
      const service = serveHttp(listener, http.createServer(tell), options);
      expect(await early.receive().catch(() => null)).toBeNull();
      using answer = must(await plain.receive());
      expect(Buffer.from(answer.data).toString()).toEndWith(me);
      const later = await thrown(() => plain.send("GET / ", { fds: [0] }));
      expect(later).toMatchObject({ code: "EPERM" });
      expect(refuses()).toBeTrue();
      setOption(same.fd, option.SO_PASSRIGHTS ?? 0, 1); // as another process that shares it may
      for (let i = 0; i < 2; i++) {
        using client = new HttpClient({ path });
        expect((await client.get("/")).text).toBe(me);
        expect(refuses()).toBeTrue();
      }
      service.close();
      expect(refuses()).toBeFalse();
    }),
  );
});

test("unref(): a connection that is open keeps the process alive", async () => {
  const source = `
import http from "node:http";
import net from "node:net";
import { listen, serveHttp } from "@/src/index.ts";
const path = process.cwd() + "/s";
const server = http.createServer((request, response) => response.end());
const service = serveHttp(listen(path), server, { acceptBy: "bun" });
server.on("connection", (stream) => {
  service.unref();
  client.unref();
  stream.once("close", () => console.log("closed"));
  setTimeout(() => client.destroy(), 300).unref();
});
const client = net.connect(path);`;
  using dir = tempDir();
  expect(succeeded(await runSource(source, { cwd: dir.path })).trim()).toBe("closed");
});

test("a process that has nothing else to do waits until it is known who accepts", async () => {
  const source = `
import http from "node:http";
import { listen, serveHttp } from "@/src/index.ts";
const path = process.cwd() + "/s";
const server = http.createServer((request, response) => response.end("hi"));
const service = serveHttp(listen(path), server);
http.get({ socketPath: path, agent: false }, (response) => {
  response.on("data", (data) => console.log(String(data))).on("end", () => service.close());
});`;
  using dir = tempDir();
  await turns();
  expect(succeeded(await runSource(source, { cwd: dir.path })).trim()).toBe("hi");
});

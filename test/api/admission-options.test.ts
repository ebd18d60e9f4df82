// The socket options of a listener × whoever accepts from it: they hold, or are refused by name.

import { describe, expect, test } from "bun:test";
import http from "node:http";
import { system } from "../../native/platform.ts";
import { option } from "../../native/socket.ts";
import {
  adoptSocket,
  capabilities,
  connect,
  connectSync,
  Fd,
  type Listener,
  listen,
  type SocketOptions,
  type StreamSocket,
  waitReadable,
} from "../../src/index.ts";
import { type PlaceholderAddress, serveOn } from "../../src/serve/adopt.ts";
import { getOption } from "../../src/syscalls/socket.ts";
import { lacking, noPidfds, testUnless } from "../support/unless.ts";
import { freshPath } from "./pairs.ts";
import { failure, fill, leakFree, marked, markedMany, must, thrown } from "./tools.ts";

type Streams = Listener<StreamSocket>;

const listeners: Record<string, (path: string, options: SocketOptions) => Streams> = {
  listen,
  adoptSocket: (path, options) =>
    adoptSocket(listen(path).release(), { ...options, expect: "listener" }) as Streams,
};

const takers: Record<string, (listener: Streams) => Promise<StreamSocket>> = {
  accept: (listener) => listener.accept(),
  async tryAccept(listener) {
    await waitReadable(listener);
    return listener.tryAccept()!;
  },
  acceptSync: async (listener) => listener.acceptSync({ timeoutMs: 10_000 }),
  async consume(listener) {
    const stop = new AbortController();
    const came = Promise.withResolvers<StreamSocket>();
    const done = listener.consume(came.resolve, { signal: stop.signal }).catch(() => {});
    const socket = await came.promise;
    stop.abort();
    await done;
    return socket;
  },
  async iteration(listener) {
    for await (const socket of listener) return socket;
    throw new Error("none came");
  },
};

const every = Object.entries(listeners).flatMap(([how, open]) =>
  Object.entries(takers).map(([by, take]) => ({ name: `${how}, ${by}`, open, take })),
);

/** SO_SNDBUF or SO_RCVBUF as asked for: Linux doubles what it is told. */
const sizeOf = (fd: number, which: number): number =>
  getOption(fd, which) / (system === "linux" ? 2 : 1);

describe.each(every)("$name", ({ open, take }) => {
  /** A client, and the socket that was accepted with these options. */
  async function joined<T>(
    options: SocketOptions,
    body: (client: StreamSocket, accepted: StreamSocket) => Promise<T>,
  ): Promise<T> {
    const path = freshPath();
    using listener = open(path, options);
    using client = await connect(path);
    using accepted = await take(listener);
    return await body(client, accepted);
  }

  test("acceptFds and maxMessageBytes", () =>
    leakFree(() =>
      joined({ acceptFds: 1, maxMessageBytes: 4 }, async (client, accepted) => {
        const fds = markedMany(3);
        await client.send("sixteen bytes...", { fds, transfer: true });
        using message = must(await accepted.receive());
        const { fds: came, fdsTruncated, data } = message;
        expect([came.length, fdsTruncated, data.length]).toEqual([1, true, 4]);
      }),
    ));

  test('acceptFds "refuse"', () =>
    leakFree(() =>
      joined({ acceptFds: "refuse" }, async (client, accepted) => {
        using fd = marked("refused");
        if (capabilities().refuseFds.available) {
          const { code } = await failure(() => client.send("x", { fds: [fd] }));
          expect(code).toBe("EPERM");
        } else {
          await client.send("x", { fds: [fd] });
          using message = must(await accepted.receive());
          expect([message.fds.length, message.fdsTruncated]).toEqual([0, true]);
        }
      }),
    ));

  testUnless(lacking("passCredentials"), "passCredentials", () =>
    leakFree(() =>
      joined({ passCredentials: true }, async (client, accepted) => {
        await client.send("x");
        using message = must(await accepted.receive());
        expect(message.credentials?.pid).toBe(process.pid);
      }),
    ),
  );

  testUnless(noPidfds(), "passPidfd", () =>
    leakFree(() =>
      joined({ passPidfd: true }, async (client, accepted) => {
        await client.send("x");
        using message = must(await accepted.receive());
        expect(message.pidfd).toBeInstanceOf(Fd);
      }),
    ),
  );

  test("sendBufferBytes, receiveBufferBytes, maxQueuedBytes", () =>
    leakFree(() =>
      joined(
        { sendBufferBytes: 30_000, receiveBufferBytes: 20_000, maxQueuedBytes: 1_000 },
        async (client, accepted) => {
          const { fd } = accepted;
          const sizes = [sizeOf(fd, option.SO_SNDBUF), sizeOf(fd, option.SO_RCVBUF)];
          expect(sizes).toEqual([30_000, 20_000]);
          fill(accepted, new Uint8Array(1_000));
          const waits = accepted.send(new Uint8Array(1_000)).catch(() => {});
          const { code } = await failure(() => accepted.send("x"));
          expect(code).toBe("ENOBUFS");
          client.close();
          await waits;
        },
      ),
    ));
});

type Heard = (fd: number) => void;

const fdOf = (socket: unknown): number => (socket as { fd: number }).fd;

/** Servers that tell the number of a connection on which something has come. */
const servers: Record<string, (where: PlaceholderAddress, heard: Heard) => { close(): void }> = {
  "Bun.listen"(where, heard) {
    const socket = { data: (one: Bun.Socket<undefined>) => heard(fdOf(one)) };
    const server =
      "unix" in where ? Bun.listen({ ...where, socket }) : Bun.listen({ ...where, socket });
    return Object.assign(server, { close: () => server.stop(true) });
  },
  "Bun.serve"(where, heard) {
    const fetch = (): Response => {
      heard(-1);
      return new Response("served");
    };
    const server = Bun.serve({ ...where, fetch });
    return Object.assign(server, { close: () => void server.stop(true) });
  },
  "node:http"(where, heard) {
    const server = http.createServer((_, response) => {
      heard(-1);
      response.end("served");
    });
    return server.listen(where);
  },
};

const GET = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
const begin = (where: PlaceholderAddress): never => {
  throw new Error(`started at ${JSON.stringify(where)}`);
};

describe.each([
  ["no rules: Bun accepts", {}],
  ["rules: this side accepts", { allow: () => true }],
] as const)("serveOn a listener, %s", (_, rules) => {
  test.each([
    ["acceptFds", { acceptFds: 1 }],
    ["passCredentials", { passCredentials: true }],
    ["passPidfd", noPidfds() === null ? { passPidfd: true } : { passCredentials: true }],
    ["maxMessageBytes", { maxMessageBytes: 1_000 }],
    ["maxQueuedBytes", { maxQueuedBytes: 1_000 }],
  ] as const)("%s is refused by name, before anything is started", (name, options) =>
    leakFree(async () => {
      using listener = listen(freshPath(), { ...options, ...rules });
      const error = await thrown(() => serveOn(listener, begin));
      expect(error).toBeInstanceOf(TypeError);
      expect(String(error)).toContain(Object.keys(options)[0] ?? name);
      expect(listener.closed).toBe(false);
    }),
  );

  test("the buffers' sizes hold", () =>
    leakFree(async () => {
      const path = freshPath();
      using listener = listen(path, {
        sendBufferBytes: 30_000,
        receiveBufferBytes: 20_000,
        ...rules,
      });
      const came = Promise.withResolvers<number>();
      const server = serveOn(listener, (where) => servers["Bun.listen"]!(where, came.resolve));
      using client = await connect(path);
      await client.send("x");
      const fd = await came.promise;
      const sizes = [sizeOf(fd, option.SO_SNDBUF), sizeOf(fd, option.SO_RCVBUF)];
      expect(sizes).toEqual([30_000, 20_000]);
      server.close();
    }));

  test.each(Object.entries(servers))("%s: descriptors do not come in", (_, server) =>
    leakFree(async () => {
      for (const acceptFds of [true, 0, "refuse"] as const) {
        const refused = acceptFds === "refuse" || "allow" in rules;
        const path = freshPath();
        using listener = listen(path, { acceptFds, ...rules });
        const came = Promise.withResolvers<number>();
        const serving = serveOn(listener, (where) => server(where, came.resolve));
        using client = await connect(path);
        using fd = marked("closed there");
        if (!refused) {
          await client.send(GET, { fds: [fd, fd] });
          await came.promise;
        } else {
          await client.send(GET);
          await came.promise;
          const late = await failure(() => client.send("x", { fds: [fd] })).catch(() => null);
          if (capabilities().refuseFds.available) expect(late?.code).toBe("EPERM");
        }
        serving.close();
      }
    }),
  );
});

test.each(Object.entries(servers))(
  "%s behind rules: who brings descriptors before it is accepted is closed",
  (_, server) =>
    leakFree(async () => {
      const path = freshPath();
      using listener = listen(path, { allow: () => true });
      const came = Promise.withResolvers<number>();
      const serving = serveOn(listener, (where) => server(where, came.resolve));
      using early = connectSync(path);
      using fd = marked("closed there");
      expect(early.trySend(GET, { fds: [fd] })).toBe(GET.length);
      expect(await early.receive().catch(({ code }) => code)).toBeOneOf([null, "ECONNRESET"]);
      using client = await connect(path);
      await client.send(GET);
      await came.promise;
      serving.close();
    }),
);

test("serveOn a bare descriptor: what its socket has, and nothing of it is open after", () =>
  leakFree(async () => {
    for (const how of [{}, { allow: () => true }]) {
      const path = freshPath();
      using bare = listen(path, { passCredentials: true, acceptFds: "refuse" }).release();
      const came = Promise.withResolvers<number>();
      const serve = (where: PlaceholderAddress) => servers["Bun.listen"]!(where, came.resolve);
      const server = serveOn(bare, serve, how);
      using client = await connect(path);
      await client.send("x");
      expect(getOption(await came.promise, option.SO_PASSCRED ?? -1)).toBe(1);
      if (capabilities().refuseFds.available) {
        using fd = marked("refused");
        expect((await failure(() => client.send("x", { fds: [fd] }))).code).toBe("EPERM");
      }
      server.close();
    }
  }));

// A server that goes while its clients are busy.

import { describe, expect, test } from "bun:test";
import net from "node:net";
import { type PlaceholderAddress, serveOn } from "../../src/serve/adopt.ts";
import { drain, drainable, isDraining, resumeServer } from "../../src/serve/drain.ts";
import { fetchOnce, HttpClient, listeners } from "./servers.ts";
import { codeOf, eventually, isOpen, leakFree, thrown, turns } from "./tools.ts";

/** Bun 1.3 says it and leaves it to the client. */
const bunCloses = Bun.semver.satisfies(Bun.version, ">=1.4.0");

/** Answers when it is told to. */
class Slow {
  readonly #gates: (() => void)[] = [];
  readonly fetch = drainable(async (request: Request, _server: Bun.Server<undefined>) => {
    if (request.url.endsWith("/slow")) await new Promise<void>((go) => this.#gates.push(go));
    return new Response(`served ${new URL(request.url).pathname}`);
  });
  get waiting(): number {
    return this.#gates.length;
  }
  release(): void {
    for (const go of this.#gates.splice(0)) go();
  }
  readonly start = (where: PlaceholderAddress): Bun.Server<undefined> =>
    Bun.serve({ ...where, fetch: this.fetch });
}

describe.each(listeners)("$name", ({ open }) => {
  test("the next answer on each connection says so, and closes it", () =>
    leakFree(async () => {
      using opened = open();
      const server = serveOn(opened.listening, new Slow().start);
      const clients = Array.from({ length: 5 }, () => new HttpClient(opened.target));
      for (const client of clients) {
        expect((await client.get()).headers["connection"]).not.toBe("close");
      }
      expect(isDraining(server)).toBe(false);
      const gone = drain(server, { idleMs: 20_000 });
      expect(isDraining(server)).toBe(true);
      for (const client of clients) {
        const { headers, text } = await client.get("/last");
        expect([headers["connection"], text]).toEqual(["close", "served /last"]);
        if (bunCloses) await client.end();
        client[Symbol.dispose]();
      }
      await gone;
      expect(isOpen(opened.listening.fd)).toBe(true);
    }));

  test("new connections wait for the next server, requests go on to their end", () =>
    leakFree(async () => {
      using opened = open();
      const slow = new Slow();
      const server = serveOn(opened.listening, slow.start);
      using busy = new HttpClient(opened.target);
      busy.ask("/slow");
      await eventually(() => slow.waiting === 1, "the request has come");
      const gone = drain(server, { idleMs: 0 });
      using late = new HttpClient(opened.target);
      await late.connected();
      late.ask("/late");
      const next = serveOn(opened.listening, (where) =>
        Bun.serve({ ...where, fetch: () => new Response("the next one") }),
      );
      expect((await late.answer()).text).toBe("the next one");
      expect(slow.waiting).toBe(1);
      slow.release();
      expect((await busy.answer()).text).toBe("served /slow");
      await gone;
      expect(await fetchOnce(opened.target)).toBe("the next one");
      await next.stop(true);
    }));

  test("a long answer, slowly read, is sent to its end", () =>
    leakFree(async () => {
      using opened = open();
      const bytes = 8_000_000;
      const server = serveOn(opened.listening, (where) =>
        Bun.serve({ ...where, fetch: () => new Response(Buffer.alloc(bytes)) }),
      );
      const client = net.connect(opened.target);
      client.write("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
      await new Promise((resolve) => client.once("readable", resolve));
      const gone = drain(server, { idleMs: 0 });
      await turns();
      expect(server.pendingRequests).toBe(1);
      let got = 0;
      for await (const chunk of client) got += (chunk as Buffer).length;
      expect(got).toBeGreaterThan(bytes);
      await gone;
    }));

  test("connections that ask for nothing are closed after a time", () =>
    leakFree(async () => {
      using opened = open();
      const server = serveOn(opened.listening, new Slow().start);
      using used = new HttpClient(opened.target);
      await used.get();
      using fresh = new HttpClient(opened.target);
      await fresh.connected();
      await fetchOnce(opened.target); // accepted after it, so both are
      await drain(server, { idleMs: 10 });
      await Promise.all([used.end(), fresh.end()]);
    }));
});

describe.each(listeners)("$name, paused", ({ open }) => {
  test("nothing is accepted until it is resumed", () =>
    leakFree(async () => {
      using opened = open();
      const server = serveOn(opened.listening, new Slow().start, { paused: true });
      using client = new HttpClient(opened.target);
      await client.connected();
      client.ask("/waited");
      const other = serveOn(opened.listening, (where) =>
        Bun.serve({ ...where, fetch: () => new Response("the other") }),
      );
      expect((await client.answer()).text).toBe("the other");
      await other.stop(true);
      using late = new HttpClient(opened.target);
      await late.connected();
      late.ask("/late");
      resumeServer(server);
      resumeServer(server);
      expect((await late.answer()).text).toBe("served /late");
      await server.stop(true);
    }));

  test("stopped before it was resumed", () =>
    leakFree(async () => {
      using opened = open();
      const server = serveOn(opened.listening, new Slow().start, { paused: true });
      await server.stop(true);
      expect(await codeOf(() => resumeServer(server))).toBe("ERR_CLOSED");
      expect(() => resumeServer({})).toThrow(TypeError);
    }));
});

describe("enough", () => {
  test.each(["timeoutMs", "signal"])("%s cuts off what still goes on", (how) =>
    leakFree(async () => {
      using opened = listeners[0]!.open();
      const slow = new Slow();
      const server = serveOn(opened.listening, slow.start);
      using busy = new HttpClient(opened.target);
      busy.ask("/slow");
      await eventually(() => slow.waiting === 1, "the request has come");
      const stop = new AbortController();
      const limit = how === "signal" ? { signal: stop.signal } : { timeoutMs: 30 };
      const gone = drain(server, { idleMs: 0, ...limit });
      stop.abort();
      await gone;
      await busy.end();
      slow.release();
    }),
  );
});

test("a WebSocket is waited for", () =>
  leakFree(async () => {
    using opened = listeners[0]!.open();
    let socket: Bun.ServerWebSocket<undefined> | undefined;
    const server = serveOn(opened.listening, (where) =>
      Bun.serve({
        ...where,
        fetch: (request, own) => (own.upgrade(request) ? undefined : new Response()),
        websocket: { open: (one) => void (socket = one), message() {} },
      }),
    );
    const client = net.connect(opened.target);
    const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";
    client.write(
      `GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n${key}\r\n`,
    );
    await eventually(() => socket !== undefined, "it is open");
    let over = false;
    const gone = drain(server, { idleMs: 0 }).then(() => void (over = true));
    await Bun.sleep(30);
    expect(over).toBe(false);
    socket?.close(1001, "going away");
    client.destroy();
    await gone;
  }));

test("drainable leaves what is no Response, and what may not be changed", async () => {
  using opened = listeners[0]!.open();
  const server = serveOn(opened.listening, (where) =>
    Bun.serve({
      ...where,
      fetch: drainable((request: Request, _server: Bun.Server<undefined>) =>
        request.url.endsWith("/redirect") ? Response.redirect("/there", 307) : new Response("x"),
      ),
    }),
  );
  using client = new HttpClient(opened.target);
  expect(await client.get("/redirect")).toMatchObject({
    status: 307,
    headers: { location: "/there" },
  });
  const gone = drain(server);
  const { status, headers } = await client.get("/redirect");
  expect([status, headers["location"], headers["connection"]]).toEqual([307, "/there", "close"]);
  client[Symbol.dispose]();
  await gone;
  const none = drainable((_request: Request, _server: object) => undefined);
  expect(none.call(server, new Request("http://x"), server)).toBeUndefined();
});

test("only what was adopted, only sensible times", async () => {
  const server = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response() });
  expect(await thrown(() => drain(server))).toBeInstanceOf(TypeError);
  await server.stop(true);
  using opened = listeners[0]!.open();
  const adopted = serveOn(opened.listening, new Slow().start);
  expect(await thrown(() => drain(adopted, { idleMs: -1 }))).toBeInstanceOf(RangeError);
  expect(await thrown(() => drain(adopted, { timeoutMs: 0.5 }))).toBeInstanceOf(RangeError);
  expect(await fetchOnce(opened.target)).toBe("served /");
  await adopted.stop(true);
  await drain(adopted, { idleMs: 0 }); // stopped already: nothing to wait for
});

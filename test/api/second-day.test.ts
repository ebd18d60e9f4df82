// Small things that scripts need on the second day: ports, late names, buffers, JSON, pairs.

import { describe, expect, test } from "bun:test";
import { existsSync, lstatSync } from "node:fs";
import {
  bindDatagram,
  connect,
  type Fd,
  listen,
  listenTcp,
  openDatagram,
  type StreamSocket,
  socketPair,
} from "../../src/index.ts";
import { runSource, succeeded } from "../support/child.ts";
import { tempDir } from "../support/tmp.ts";
import { kinds } from "./pairs.ts";
import { closeAll, codeOf, eventually, leakFree, must, thrown } from "./tools.ts";

describe("describe() says where a socket is", () => {
  const where = (fd: Fd) => {
    const { host, port } = fd.describe().socket ?? {};
    return { host, port };
  };

  test("the port that the kernel has chosen, with both families", () => {
    for (const host of ["127.0.0.1", "::1", "0.0.0.0", "::"]) {
      using fd = listenTcp({ hostname: host, port: 0 });
      const found = where(fd);
      expect(found.host).toBe(host);
      expect(found.port).toBeGreaterThan(0);
      expect(fd.describe().socket).not.toHaveProperty("address");
    }
  });

  test("a Unix socket's address; what has none is unnamed", () => {
    using dir = tempDir();
    using fd = listen(dir.file("s")).release();
    expect(fd.describe().socket).toEqual({
      ...{ family: "unix", type: "stream", listening: true },
      address: { kind: "path", path: dir.file("s") },
    });
    using pair = socketPair("stream");
    using other = pair[0].release();
    expect(other.describe().socket?.address).toEqual({ kind: "unnamed" });
  });
});

test("reusePort: several listen on one port, but only if all say so", async () => {
  using first = listenTcp({ hostname: "127.0.0.1", port: 0, reusePort: true });
  const port = first.describe().socket!.port!;
  listenTcp({ hostname: "127.0.0.1", port, reusePort: true }).close();
  const error = await thrown(() => listenTcp({ hostname: "127.0.0.1", port }));
  expect((error as { code?: string }).code).toBe("EADDRINUSE");
  const wrong = () => listenTcp({ port: 0, reusePort: 1 as never });
  expect(await thrown(wrong)).toBeInstanceOf(TypeError);
});

describe("a datagram socket that is bound late", () => {
  test("can be answered from then on; its file has the mode, and goes with it", () =>
    leakFree(async () => {
      using dir = tempDir();
      using server = openDatagram(dir.file("server"));
      const client = openDatagram();
      await client.send("before", { to: dir.file("server") });
      expect(must(await server.receive()).from).toBeUndefined();
      bindDatagram(client, dir.file("client"), { mode: 0o600 });
      expect(client.localAddress).toEqual({ kind: "path", path: dir.file("client") });
      expect(lstatSync(dir.file("client")).mode & 0o777).toBe(0o600);
      await client.send("after", { to: dir.file("server") });
      await server.send("answer", { to: must(await server.receive()).from! });
      expect(must(await client.receive()).text()).toBe("answer");
      expect(await codeOf(() => bindDatagram(client, dir.file("again")))).toBe("EINVAL");
      expect(existsSync(dir.file("again"))).toBe(false);
      client.close();
      expect(existsSync(dir.file("client"))).toBe(false);
      expect(await codeOf(() => bindDatagram(client, dir.file("client")))).toBe("ERR_CLOSED");
    }));

  test("an address that is in use is told by whom; it can be bound elsewhere then", async () => {
    using dir = tempDir();
    using _server = openDatagram(dir.file("server"));
    using client = openDatagram();
    expect(await codeOf(() => bindDatagram(client, dir.file("server")))).toBe("EADDRINUSE");
    bindDatagram(client, dir.file("elsewhere"));
    expect(client.localAddress).toEqual({ kind: "path", path: dir.file("elsewhere") });
    expect(await thrown(() => bindDatagram(client, "" as never))).toBeInstanceOf(TypeError);
  });
});

test("buffer sizes are read and set after opening, of every kind", async () => {
  for (const kind of kinds) {
    using pair = socketPair(kind);
    const [socket] = pair;
    for (const name of ["sendBufferBytes", "receiveBufferBytes"] as const) {
      const before = socket[name];
      expect(before).toBeGreaterThan(0);
      socket[name] = 16_384;
      expect(socket[name]).toBe(16_384);
      for (const wrong of [0, -1, 1.5, "1"]) {
        const set = () => void (socket[name] = wrong as number);
        expect(await thrown(set)).toBeInstanceOf(Error);
      }
    }
    socket.close();
    expect(await codeOf(() => socket.sendBufferBytes)).toBe("ERR_CLOSED");
    expect(await codeOf(() => void (socket.sendBufferBytes = 4096))).toBe("ERR_CLOSED");
  }
});

test("a message as JSON", async () => {
  using pair = socketPair("datagram");
  const [a, b] = pair;
  await a.send('{"n":[1,"ü"]}');
  expect(must(await b.receive()).json()).toEqual({ n: [1, "ü"] });
  await a.send("{");
  const message = must(await b.receive());
  expect(await thrown(() => message.json())).toBeInstanceOf(SyntaxError);
});

test("using pair closes both, and a pair is an array of two as before", () =>
  leakFree(() => {
    let kept: StreamSocket[] = [];
    {
      using pair = socketPair("stream");
      kept = [...pair];
      expect([pair.length, Object.keys(pair), Array.isArray(pair)]).toEqual([2, ["0", "1"], true]);
    }
    expect(kept.map(({ closed }) => closed)).toEqual([true, true]);
  }));

describe("serve does not wait for its handler", () => {
  test("all connections are served at the same time, where consume serves one", () =>
    leakFree(async () => {
      using dir = tempDir();
      const counts: Record<string, number> = {};
      for (const way of ["serve", "consume"] as const) {
        using listener = listen(dir.file(way));
        const gate = Promise.withResolvers<void>();
        let begun = 0;
        const done = listener[way](async (socket: StreamSocket) => {
          using _socket = socket;
          begun += 1;
          await gate.promise;
        });
        const clients = await Promise.all([1, 2, 3].map(() => connect(dir.file(way))));
        await eventually(() => begun >= (way === "serve" ? 3 : 1), "handlers");
        counts[way] = begun;
        gate.resolve();
        await eventually(() => begun === 3 && listener.connections === 0, "all are served");
        listener.close();
        await done.catch(() => {});
        closeAll(clients);
      }
      expect(counts).toEqual({ serve: 3, consume: 1 });
    }));

  test("what a handler throws closes its socket and is told; the others go on", () =>
    leakFree(async () => {
      using dir = tempDir();
      using listener = listen(dir.file("s"));
      const errors: unknown[] = [];
      let served = 0;
      const handler = (socket: StreamSocket): unknown => {
        served += 1;
        if (served === 1) throw new Error("at once");
        if (served === 2) return Promise.reject(new Error("later"));
        socket.close();
        return undefined;
      };
      void listener.serve(handler, { onError: (error) => errors.push(error) });
      for (let i = 0; i < 3; i++) {
        using client = await connect(dir.file("s"));
        expect(await client.receive()).toBeNull();
      }
      expect(errors.map(String)).toEqual(["Error: at once", "Error: later"]);
      expect(await thrown(() => listener.serve(1 as never))).toBeInstanceOf(TypeError);
    }));

  test("without onError it is an uncaught exception; a signal and close end it", async () => {
    using dir = tempDir();
    const program = `import { connect, listen } from "@/src/index.ts";
process.on("uncaughtException", (error) => console.log("uncaught", error.message));
const listener = listen("s");
const stop = new AbortController();
const done = listener.serve(() => { throw new Error("oops"); }, { signal: stop.signal });
const client = await connect("s");
console.log(await client.receive());
stop.abort("enough");
console.log(await done.catch((error) => error));
client.close();
listener.close();`;
    const { stdout } = await runSource(program, { cwd: dir.path }).then((one) => ({
      stdout: succeeded(one),
    }));
    expect(stdout.trim().split("\n").sort()).toEqual(["enough", "null", "uncaught oops"]);
  });
});

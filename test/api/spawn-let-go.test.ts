// Bun's own sockets handed to other processes: who closes what.

import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, rmSync, statSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { connect, Fd, probe, type StreamSocket } from "../../src/index.ts";
import { detachBunSocket } from "../../src/spawn/detach.ts";
import { spawn } from "../../src/spawn/spawn.ts";
import { root, run, slower, succeeded } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { noListeningOnFds, testUnless } from "../support/unless.ts";
import { eventually, isCloseOnExec, isOpen, leakFree, must, thrown } from "./tools.ts";

setDefaultTimeout(30_000 * slower);

const directory = tempDir();
afterAll(directory.remove);
let serial = 0;
const freshPath = (): string => directory.file(`s${++serial}`);

/** Bun's sockets have an fd and close(), which its types leave out. */
interface BunConnection {
  readonly fd: number;
  write(data: string): number;
  close(): void;
  end(): void;
}

const noData = { data() {} };

interface Accepted {
  readonly theirs: BunConnection;
  readonly closed: Promise<void>;
  readonly server: { stop(all?: boolean): void };
}

/** A connection that Bun.listen accepted, with whoever connects in `dial`. */
async function accepted<T>(
  where: object,
  dial: (port: number) => Promise<T>,
): Promise<Accepted & { peer: T }> {
  const opened = Promise.withResolvers<BunConnection>();
  const closed = Promise.withResolvers<void>();
  const server = Bun.listen({
    ...where,
    socket: {
      open: (socket: unknown) => opened.resolve(socket as BunConnection),
      data() {},
      close: () => closed.resolve(),
    },
  } as unknown as Parameters<typeof Bun.listen>[0]);
  const peer = await dial((server as unknown as { port: number }).port);
  return { theirs: await opened.promise, closed: closed.promise, server, peer };
}

const overUnix = (): Promise<Accepted & { peer: StreamSocket }> => {
  const unix = freshPath();
  return accepted({ unix }, () => connect(unix));
};

/** A Bun worker that takes its 3 up with Bun.connect({ fd }), shouts, and says what is left. */
const WORKER = [
  process.execPath,
  "-e",
  `const { fstatSync } = require("node:fs");
   await new Promise((done) => Bun.connect({ fd: 3, socket: {
     open(socket) { socket.write("hello from " + process.pid + "\\n"); },
     data(socket, data) {
       socket.write(data.toString().toUpperCase());
       if (data.toString().includes("bye")) socket.end();
     },
     close() { done(); },
   } }));
   await new Promise((resolve) => setImmediate(resolve));
   try { fstatSync(3); console.log("3 is still open"); } catch { console.log("3 is closed"); }`,
];

/** Bytes of `socket` until they contain `text`; "" at the end. */
async function until(socket: StreamSocket, text: string): Promise<string> {
  let all = "";
  while (!all.includes(text)) {
    using message = await socket.receive();
    if (message === null) throw new Error(`ended after ${JSON.stringify(all)}`);
    all += message.text();
  }
  return all;
}

describe("a connection", () => {
  test("goes on in a worker that takes it up with Bun.connect({ fd })", () =>
    leakFree(async () => {
      const { theirs, closed, server, peer } = await overUnix();
      const number = theirs.fd;
      using fd = detachBunSocket(theirs);
      await closed; // Bun's close handler
      expect([theirs.fd, isOpen(number), isCloseOnExec(fd.fd)]).toEqual([-1, false, true]);
      const worker = spawn(WORKER, { fds: [fd] });
      fd.close(); // ours; the worker has its own
      expect(await until(peer, "\n")).toBe(`hello from ${worker.pid}\n`);
      await peer.send("shout");
      expect(await until(peer, "SHOUT")).toBe("SHOUT");
      await peer.send("bye");
      expect(await until(peer, "BYE")).toBe("BYE");
      expect(await peer.receive()).toBeNull(); // the worker was the last to close
      expect(await worker.stdout.text()).toBe("3 is closed\n"); // Bun owns what it took up
      peer.close();
      server.stop(true);
    }));

  test("nothing is shut down, nothing reset, nothing lost that waited", () =>
    leakFree(async () => {
      for (const tcp of [false, true]) {
        const events: string[] = [];
        const where = tcp ? { hostname: "127.0.0.1", port: 0 } : { unix: freshPath() };
        const closed = Promise.withResolvers<void>();
        const { theirs, server, peer } = await accepted(where, (port) =>
          Bun.connect({
            ...(tcp ? { hostname: "127.0.0.1", port } : (where as { unix: string })),
            socket: {
              data: (_socket, data) => void events.push(data.toString()),
              end: () => void events.push("end"),
              error: (_socket, error) => void events.push(String(error)),
              close: () => closed.resolve(),
            },
          } as Parameters<typeof Bun.connect>[0]),
        );
        const fd = detachBunSocket(theirs);
        fd.nonBlocking = false; // head and sh know no better
        peer.write("waits for the next holder");
        expect(await spawn(["head", "-c", "25"], { fds: { 0: fd } }).stdout.text()).toBe(
          "waits for the next holder",
        );
        const echo = spawn(["sh", "-c", "echo one >&3; read answer <&3; echo two $answer >&3"], {
          fds: [fd],
        });
        await eventually(() => events.join("") === "one\n", "the first line");
        peer.write("ok\n");
        expect(await echo.exited).toBe(0);
        await eventually(() => events.join("") === "one\ntwo ok\n", "the answer");
        fd.close();
        await closed.promise;
        expect(events.at(-1)).toBe("end"); // and no reset
        server.stop(true);
      }
    }));

  test("why not shutdown(): it ends the connection for every holder", () =>
    leakFree(async () => {
      const { theirs, server, peer } = await overUnix();
      using mine = Fd.duplicate(theirs);
      (theirs as unknown as { shutdown(): void }).shutdown();
      expect(await peer.receive()).toBeNull(); // although this process still holds it
      expect(isOpen(mine.fd)).toBe(true);
      peer.close();
      server.stop(true);
    }));

  test("in the open handler, one after the other, to a worker", () =>
    leakFree(async () => {
      const unix = freshPath();
      const child = spawn(
        [
          process.execPath,
          "-e",
          `import { parentChannel } from "${root}/src/spawn.ts";
           for await (const message of parentChannel()) {
             const [fd] = message.takeFds();
             Bun.connect({ fd: fd.release(), socket: {
               open(socket) { socket.end("number " + message.text()); }, data() {},
             } });
           }`,
        ],
        { channel: true },
      );
      let count = 0;
      const server = Bun.listen({
        unix,
        socket: {
          open(socket) {
            child.channel.sendSync(String(count++), {
              fds: [detachBunSocket(socket)],
              transfer: true,
            });
          },
          data() {
            throw new Error("Bun was not to read");
          },
        },
      });
      for (let i = 0; i < 50; i++) {
        using client = await connect(unix);
        await client.send("read by the worker, if by anybody");
        expect(await until(client, `number ${i}`)).toBe(`number ${i}`);
      }
      child.channel.close();
      expect(await child.exited).toBe(0);
      server.stop(true);
    }));

  test("a connection of Bun.connect", () =>
    leakFree(async () => {
      const { theirs, server, peer } = await accepted({ unix: freshPath() }, async () => {
        return (await Bun.connect({
          unix: directory.file(`s${serial}`),
          socket: noData,
        })) as unknown as BunConnection;
      });
      using fd = detachBunSocket(peer);
      theirs.write("to whoever has it");
      fd.nonBlocking = false;
      const { stdout } = spawn(["head", "-c", "17"], { fds: { 0: fd } });
      expect(await stdout.text()).toBe("to whoever has it");
      theirs.close();
      server.stop(true);
    }));
});

describe("a listener", () => {
  const serve = `
    Bun.listen({ fd: 3, socket: {
      data(socket) { socket.end("served by " + process.pid); },
    } });
    console.log("up");`;

  for (const kind of ["a path", "an abstract name", "TCP"]) {
    testUnless(noListeningOnFds(), `${kind}: a worker serves on`, () =>
      leakFree(async () => {
        const unix = kind === "a path" ? freshPath() : `\0bunix-let-go-${process.pid}`;
        const tcp = kind === "TCP";
        const server = Bun.listen({
          ...(tcp ? { hostname: "127.0.0.1", port: 0 } : { unix }),
          socket: {
            open() {
              throw new Error("Bun was not to accept");
            },
            data() {},
          },
        } as Parameters<typeof Bun.listen>[0]);
        const { port } = server as unknown as { port: number };
        const inode = kind === "a path" ? statSync(unix).ino : 0;
        using fd = detachBunSocket(server as unknown as { fd: number; stop(): void });
        if (kind === "a path") {
          expect(statSync(unix).ino).toBe(inode);
          expect(existsSync(`${unix}.${process.pid}.kept`)).toBe(false);
          expect(probe(unix).state).toBe("listening");
        }
        const worker = spawn([process.execPath, "-e", serve], { fds: [fd] });
        fd.close();
        const reader = worker.stdout.getReader();
        expect(new TextDecoder().decode((await reader.read()).value)).toBe("up\n");
        const heard = Promise.withResolvers<string>();
        const socket = {
          open: (to: { write(text: string): number }) => void to.write("who?"),
          data: (_socket: unknown, data: Buffer) => heard.resolve(data.toString()),
        };
        await Bun.connect({
          ...(tcp ? { hostname: "127.0.0.1", port } : { unix }),
          socket,
        } as Parameters<typeof Bun.connect>[0]);
        expect(await heard.promise).toBe(`served by ${worker.pid}`);
        worker.kill();
        await worker.exited;
        while (!(await reader.read()).done);
      }),
    );
  }

  test("whose file is gone, or cannot be kept", () =>
    leakFree(async () => {
      const unix = freshPath();
      const server = Bun.listen({ unix, socket: noData });
      const listener = server as unknown as { fd: number; stop(): void };
      const second = `${unix}.${process.pid}.kept`;
      writeFileSync(second, "in the way");
      expect(await thrown(() => detachBunSocket(listener))).toMatchObject({ code: "EEXIST" });
      expect([isOpen(listener.fd), existsSync(unix)]).toEqual([true, true]); // as it was
      rmSync(second);
      rmSync(unix);
      detachBunSocket(listener).close();
      expect(existsSync(unix)).toBe(false);
    }));

  test("connections that Bun has stay Bun's", () =>
    leakFree(async () => {
      const { theirs, server, peer } = await overUnix();
      using fd = detachBunSocket(server as unknown as { fd: number; stop(): void });
      theirs.write("still here");
      expect(must(await peer.receive()).text()).toBe("still here");
      expect(isOpen(fd.fd)).toBe(true);
      theirs.end();
      peer.close();
    }));
});

describe("refused", () => {
  peerTest("TLS: its keys are here", ["openssl"], async () => {
    const [key, cert] = [directory.file("key"), directory.file("cert")];
    succeeded(
      await run([
        ...["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
        ...["-nodes", "-keyout", key, "-out", cert, "-subj", "/CN=localhost"],
      ]),
    );
    const tls = { key: Bun.file(key), cert: Bun.file(cert) };
    const where = { hostname: "127.0.0.1", port: 0, tls };
    const { theirs, server, peer } = await accepted(where, (port) =>
      Bun.connect({
        ...{ hostname: "127.0.0.1", port, tls: { rejectUnauthorized: false } },
        socket: noData,
      }),
    );
    expect(String(await thrown(() => detachBunSocket(theirs)))).toContain("a TLS connection");
    expect(isOpen(theirs.fd)).toBe(true);
    theirs.close();
    peer.end();
    server.stop(true);
  });

  test("twice, and what is none of Bun's", () =>
    leakFree(async () => {
      const { theirs, server, peer } = await overUnix();
      detachBunSocket(theirs).close();
      await using file = await open("/dev/null");
      expect(await thrown(() => detachBunSocket(theirs))).toMatchObject({ code: "ERR_CLOSED" });
      const others = [null, undefined, 3, "x", {}, { fd: 3, close() {} }, file, peer];
      for (const other of others) {
        expect(
          await thrown(() => detachBunSocket(other as unknown as BunConnection)),
        ).toBeInstanceOf(TypeError);
      }
      peer.close();
      server.stop(true);
    }));
});

// Listening: who gets in, what file there is, and that only our own file is ever removed.

import { describe, expect, test } from "bun:test";
import {
  existsSync,
  linkSync,
  lstatSync,
  readdirSync,
  renameSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { connect, type ListenOptions, listen, openDatagram } from "../../src/index.ts";
import { runSource, succeeded } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { freshAddress, freshPath } from "./pairs.ts";
import { closeAll, codeOf, eventually, failure, leakFree, must, thrown, turns } from "./tools.ts";

const types = ["stream", "seqpacket"] as const;

describe.each(types)("%s", (type) => {
  test("accept, tryAccept, acceptSync and the iterator give connections in their order", () =>
    leakFree(async () => {
      const path = freshPath();
      using server = listen(path, { type });
      expect(server.tryAccept()).toBeUndefined();
      expect(await codeOf(() => server.acceptSync({ timeoutMs: 1 }))).toBe("ETIMEDOUT");
      const clients = [];
      for (let i = 0; i < 4; i++) {
        const client = await connect(path, { type });
        await client.send(`${i}`);
        clients.push(client);
      }
      const accepted = [
        await server.accept(),
        server.tryAccept()!,
        server.acceptSync({ timeoutMs: 10_000 }),
        (await server[Symbol.asyncIterator]().next()).value!,
      ];
      const texts = accepted.map((socket) => must(socket.tryReceive()).text());
      expect(texts).toEqual(["0", "1", "2", "3"]);
      expect(server.connections).toBe(4);
      closeAll(accepted);
      closeAll(clients);
      expect(server.connections).toBe(0);
    }));

  test("an accept that waits gets the next connection; several are served in order", async () => {
    const path = freshPath();
    using server = listen(path, { type });
    const waiting = [server.accept(), server.accept()];
    using first = await connect(path, { type });
    using second = await connect(path, { type });
    await first.send("first");
    await second.send("second");
    const accepted = await Promise.all(waiting);
    const texts = await Promise.all(accepted.map(async (s) => must(await s.receive()).text()));
    expect(texts).toEqual(["first", "second"]);
    closeAll(accepted);
  });

  test("allow decides; the refused see the end, the others get in behind them", () =>
    leakFree(async () => {
      const path = freshPath();
      const asked: unknown[] = [];
      let admit = false;
      using server = listen(path, {
        type,
        allow: (peer) => {
          asked.push(peer);
          return admit;
        },
      });
      const refused = await Promise.all(Array.from({ length: 100 }, () => connect(path, { type })));
      const coming = server.accept();
      for (const client of refused) expect(await client.receive()).toBeNull();
      admit = true;
      using client = await connect(path, { type });
      using accepted = await coming;
      await client.send("in");
      expect(must(await accepted.receive()).text()).toBe("in");
      const self = { pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() };
      expect(asked).toEqual(Array(101).fill(self));
      closeAll(refused);
    }));

  test("an allow that throws refuses that one, and accept says why", () =>
    leakFree(async () => {
      const path = freshPath();
      const broken = new Error("cannot decide");
      using server = listen(path, {
        type,
        allow: () => {
          throw broken;
        },
      });
      using client = await connect(path, { type });
      expect(await thrown(() => server.accept())).toBe(broken);
      expect(await client.receive()).toBeNull();
    }));

  test("maxConnections: more wait until one closes", () =>
    leakFree(async () => {
      const path = freshPath();
      using server = listen(path, { type, maxConnections: 2 });
      const clients = await Promise.all([1, 2, 3].map(() => connect(path, { type })));
      using first = await server.accept();
      using second = await server.accept();
      expect(server.tryAccept()).toBeUndefined();
      let third: Awaited<ReturnType<typeof server.accept>> | undefined;
      const coming = server.accept().then((socket) => {
        third = socket;
      });
      await turns();
      expect([third, server.connections]).toEqual([undefined, 2]);
      first.close();
      await coming;
      expect(server.connections).toBe(2);
      second.release().close(); // released ones no longer count
      expect(server.connections).toBe(1);
      third?.close();
      closeAll(clients);
    }));

  test("close ends the accepts that wait, ends the iterator, and keeps the connections", () =>
    leakFree(async () => {
      const path = freshPath();
      const server = listen(path, { type });
      const seen: string[] = [];
      const loop = (async () => {
        for await (const socket of server) {
          seen.push("one");
          void socket.receive().then((message) => {
            seen.push(message?.text() ?? "end");
            socket.close();
          });
        }
        seen.push("ended");
      })();
      using client = await connect(path, { type });
      await eventually(() => seen.includes("one"), "accepted");
      const waiting = codeOf(() => server.accept());
      server.close();
      server.close();
      await loop;
      expect(await waiting).toBe("ERR_CLOSED");
      await client.send("goes on");
      await eventually(() => seen.includes("goes on"), "the connection goes on");
      expect([server.closed, server.fd]).toEqual([true, -1]);
      for (const use of [() => server.accept(), () => server.tryAccept(), () => server.release()]) {
        expect(await codeOf(use)).toBe("ERR_CLOSED");
      }
      expect(await codeOf(() => connect(path, { type }))).toBe("ENOENT");
    }));
});

describe("the socket's file", () => {
  const modeOf = (path: string): number => lstatSync(path).mode & 0o7777;

  test("has exactly the mode asked for, whatever the umask", () => {
    using dir = tempDir();
    const before = process.umask();
    try {
      for (const umask of [0o022, 0o077, 0]) {
        process.umask(umask);
        for (const mode of [0o666, 0o600, 0o660, 0o777, 0o000, 0o222]) {
          using _server = listen(dir.file("s"), { mode });
          using _datagram = openDatagram(dir.file("d"), { mode });
          expect([modeOf(dir.file("s")), modeOf(dir.file("d"))]).toEqual([mode, mode]);
        }
        using _plain = listen(dir.file("s"));
        expect(modeOf(dir.file("s"))).toBe(0o777 & ~umask);
      }
      expect(process.umask()).toBe(0);
    } finally {
      process.umask(before);
    }
  });

  peerTest("has the owner asked for", ["root"], () => {
    using dir = tempDir();
    for (const owner of [{ uid: 1234, gid: 4321 }, { gid: 77 }, { uid: 65534 }]) {
      using _server = listen(dir.file("s"), { owner, mode: 0o640 });
      const { uid, gid } = statSync(dir.file("s"));
      expect({ uid, gid }).toEqual({ uid: 0, gid: 0, ...owner });
      expect(modeOf(dir.file("s"))).toBe(0o640);
    }
  });

  peerTest("an owner that is not allowed: EPERM, and no file is left", ["root"], async () => {
    using dir = tempDir();
    const outcome = await runSource(
      `import { listen } from "@/src/index.ts";
       import { mkdirSync, readdirSync } from "node:fs";
       const dir = ${JSON.stringify(dir.path)};
       mkdirSync(dir + "/own");
       (await import("node:fs")).chownSync(dir + "/own", 65534, 65534);
       (await import("node:fs")).chmodSync(dir, 0o755);
       process.setgid(65534);
       process.setuid(65534);
       try {
         listen(dir + "/own/s", { owner: { uid: 0 } });
       } catch (error) {
         console.log(error.syscall, error.code, readdirSync(dir + "/own").length);
       }`,
    );
    expect(succeeded(outcome).trim()).toBe("chown EPERM 0");
  });

  test("is removed on close, unless unlinkOnClose is false", () => {
    const path = freshPath();
    listen(path).close();
    expect(existsSync(path)).toBe(false);
    listen(path, { unlinkOnClose: false }).close();
    expect(existsSync(path)).toBe(true);
    unlinkSync(path);
    const datagram = openDatagram(path);
    datagram.close();
    expect(existsSync(path)).toBe(false);
  });

  test("of a successor is not removed", async () => {
    for (let i = 0; i < 50; i++) {
      const path = freshPath();
      const old = listen(path);
      unlinkSync(path);
      using successor = listen(path);
      old.close();
      expect(existsSync(path)).toBe(true);
      using _client = await connect(path);
      using _accepted = await successor.accept();
    }
  });

  test("that was renamed or replaced by a file is left alone", () => {
    using dir = tempDir();
    const server = listen(dir.file("s"));
    renameSync(dir.file("s"), dir.file("moved"));
    writeFileSync(dir.file("s"), "precious");
    server.close();
    expect(readdirSync(dir.path).sort()).toEqual(["moved", "s"]);
  });

  test("release leaves it", async () => {
    const path = freshPath();
    using handle = listen(path).release();
    expect(existsSync(path)).toBe(true);
    expect(handle.describe().socket).toMatchObject({
      family: "unix",
      type: "stream",
      listening: true,
    });
    using _client = await connect(path);
  });

  test("with a second name serves both", async () => {
    using dir = tempDir();
    using server = listen(dir.file("s"));
    linkSync(dir.file("s"), dir.file("link"));
    unlinkSync(dir.file("s"));
    using _client = await connect(dir.file("link"));
    using _accepted = await server.accept();
  });

  test("a live address is EADDRINUSE, and the one who lives there is untouched", async () => {
    using dir = tempDir();
    const path = dir.file("s");
    using server = listen(path);
    const inode = lstatSync(path).ino;
    const error = await failure(() => listen(path));
    expect([error.code, error.address, error.path]).toEqual(["EADDRINUSE", path, path]);
    expect(await codeOf(() => listen(path, { type: "seqpacket" }))).toBe("EADDRINUSE");
    expect(await codeOf(() => openDatagram(path))).toBe("EADDRINUSE");
    expect(lstatSync(path).ino).toBe(inode);
    using _client = await connect(path);
    using _accepted = await server.accept();
  });

  test("never takes the place of something else", async () => {
    using dir = tempDir();
    writeFileSync(dir.file("file"), "precious");
    symlinkSync(dir.file("target"), dir.file("dangling"));
    for (const name of ["file", "dangling", "."]) {
      expect(await codeOf(() => listen(dir.file(name)))).toBe("EADDRINUSE");
    }
    expect(existsSync(dir.file("target"))).toBe(false);
    expect(readdirSync(dir.path).sort()).toEqual(["dangling", "file"]);
  });
});

describe("abstract names", () => {
  peerTest("let in the own user only, unless allow says otherwise", ["root"], async () => {
    const [closed, open] = [freshAddress("abstract"), freshAddress("abstract")];
    using strict = listen(closed);
    using lax = listen(open, { allow: () => true });
    const served = [strict.accept(), lax.accept()].map(async (accepting) => {
      using socket = await accepting;
      await socket.send(`uid ${socket.peerCredentials().uid}`);
    });
    const outcome = await runSource(
      `import { connect } from "@/src/index.ts";
       process.setuid(65534);
       for (const name of ${JSON.stringify([closed, open])}) {
         const socket = await connect(name);
         console.log((await socket.receive())?.text() ?? "turned away");
         socket.close();
       }`,
    );
    expect(succeeded(outcome).trim().split("\n")).toEqual(["turned away", "uid 65534"]);
    using own = await connect(closed);
    expect(must(await own.receive()).text()).toBe(`uid ${process.getuid?.()}`);
    await Promise.all(served);
  });
});

test("wrong options are refused before any socket is made", () =>
  leakFree(() => {
    const wrong: [unknown, new (...args: never[]) => Error][] = [
      [{ type: "datagram" }, TypeError],
      [{ type: 1 }, TypeError],
      [{ mode: 0o10000 }, RangeError],
      [{ mode: "600" }, TypeError],
      [{ backlog: -1 }, RangeError],
      [{ maxConnections: 0 }, RangeError],
      [{ owner: { uid: -1 } }, RangeError],
      [{ acceptFds: 300 }, RangeError],
    ];
    const path = freshPath();
    for (const [options, kind] of wrong) {
      expect(() => listen(path, options as ListenOptions), JSON.stringify(options)).toThrow(kind);
    }
    expect(existsSync(path)).toBe(false);
  }));

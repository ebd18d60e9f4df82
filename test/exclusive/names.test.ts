// Addresses that are long, relative or odd; modes and owners of the file; who may come.

import { describe, expect, test } from "bun:test";
import { lstatSync, mkdirSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { connectSync, listen, openDatagram, probe } from "../../src/index.ts";
import { codeOf, failure } from "../api/tools.ts";
import { ownCommand } from "../cli/tools.ts";
import { run, start } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { roundsSync } from "../support/rounds.ts";
import { tempDir } from "../support/tmp.ts";
import { noSockDiag } from "../support/unless.ts";
import { Scope } from "../syscalls/sockets.ts";
import { leaveStale, numberOf, open, serverCommand, types, visit } from "./crew.ts";

describe("paths", () => {
  test("longer than sun_path: exclusive, taken over, replaced, removed", async () => {
    for (const type of types) {
      using dir = tempDir();
      const long = join(dir.path, "d".repeat(200), "e".repeat(200), "s");
      mkdirSync(dirname(long), { recursive: true });
      const server = open(long, type);
      const error = await failure(() => open(long, type));
      expect([error.code, error.path]).toEqual(["EADDRINUSE", long]);
      const known = type !== "datagram" || noSockDiag() === null; // else a connection tells
      if (known) expect(error.message).toContain(`process ${process.pid} (${ownCommand}`);
      visit(long, type);
      const next = open(long, type, { replace: true });
      server.close();
      expect(readdirSync(dirname(long))).toEqual(["s"]);
      next.close();
      expect(readdirSync(dirname(long))).toEqual([]);
      open(long, type, { unlinkOnClose: false }).close();
      open(long, type).close();
      expect(readdirSync(dirname(long))).toEqual([]);
    }
  });

  test("relative, with a chdir between: its own file goes, and its address is absolute", () => {
    using dir = tempDir();
    const before = process.cwd();
    for (const type of types) {
      mkdirSync(dir.file(type));
      process.chdir(dir.file(type));
      const server = open("s", type);
      try {
        process.chdir(dir.path);
        using scope = new Scope();
        scope.bound("s", numberOf[type]);
        expect(probe(dir.file(`${type}/s`)).state).toBe("listening");
        server.close();
        expect(readdirSync(dir.file(type))).toEqual([]);
        expect(lstatSync("s").isSocket()).toBe(true);
        Bun.spawnSync(["rm", dir.file("s")]);
      } finally {
        process.chdir(before);
      }
    }
  });

  test("of bytes that are no UTF-8", async () => {
    for (const type of types) {
      using dir = tempDir();
      const bytes = Uint8Array.from([...Buffer.from(dir.file("s")), 0xff, 0xfe, 0x20, 0x0a, 0xc3]);
      const names = (): string[] => readdirSync(dir.path, { encoding: "latin1" });
      const server = open({ path: bytes }, type);
      expect(names()).toEqual(["s\xff\xfe \n\xc3"]);
      const { code, message } = await failure(() => open({ path: bytes }, type));
      expect(code).toBe("EADDRINUSE");
      expect(message).toContain("s\\xff\\xfe");
      const next = open({ path: bytes }, type, { replace: true });
      server.close();
      expect(names()).toHaveLength(1);
      next.close();
      expect(names()).toEqual([]);
      open({ path: bytes }, type, { unlinkOnClose: false }).close();
      open({ path: bytes }, type).close();
      expect(names()).toEqual([]);
    }
  });

  test("in a directory that bytes name, and a name of a hundred bytes", () => {
    using dir = tempDir();
    const odd = Buffer.concat([Buffer.from(`${dir.path}/`), Buffer.from([0xe9, 0x2f])]);
    mkdirSync(odd);
    const path = Buffer.concat([odd, Buffer.alloc(80, 0xe9)]);
    listen({ path }, { mode: 0o600 }).close();
    expect(readdirSync(odd)).toEqual([]);
  });

  test("where there is no directory, or none to write to", async () => {
    using dir = tempDir();
    for (const options of [{}, { exclusive: false }, { replace: true }, { mode: 0o600 }]) {
      const error = await failure(() => listen(dir.file("no/s"), options));
      expect([error.code, error.syscall, error.path]).toEqual(["ENOENT", "bind", dir.file("no/s")]);
      expect(await codeOf(() => listen("/dev/null/s", options))).toBe("ENOTDIR");
      expect(await codeOf(() => listen("/proc/s", options))).toMatch(/^E(ACCES|PERM|NOENT|ROFS)$/);
      const code = await codeOf(() => listen(dir.file("x".repeat(300)), options));
      expect(code).toBe("ENAMETOOLONG");
    }
    expect(readdirSync(dir.path)).toEqual([]);
  });
});

const watcher = "test/fixtures/exclusive-watch.py";
const octal = (mode: number): string => `0${mode.toString(8)}`;

describe("mode", () => {
  const umasks = [0o000, 0o022, 0o027, 0o077, 0o177, 0o777];
  const modes = [0o777, 0o666, 0o660, 0o600, 0o000, 0o1777, 0o711];

  test("exactly as asked, whatever the umask; without, what it leaves", () => {
    using dir = tempDir();
    const before = process.umask();
    try {
      for (const umask of umasks) {
        process.umask(umask);
        for (const type of types) {
          const modeOf = (options: object): number => {
            using _server = open(dir.file("s"), type, options);
            return lstatSync(dir.file("s")).mode & 0o7777;
          };
          for (const mode of modes) expect(octal(modeOf({ mode }))).toBe(octal(mode));
          expect(octal(modeOf({}))).toBe(octal(0o777 & ~umask));
        }
      }
    } finally {
      process.umask(before);
    }
  });

  peerTest("never wider than asked, from birth on", ["python3"], async () => {
    using dir = tempDir();
    await using child = start(["python3", watcher, dir.file("s")]);
    await child.lineWith("ready");
    const before = process.umask(0o022);
    try {
      roundsSync({ atLeast: 100, seconds: 2 }, (i) => {
        open(dir.file("s"), types[i % 3]!, { mode: 0o640, replace: i % 5 === 0 }).close();
      });
    } finally {
      process.umask(before);
    }
    child.write("stop\n");
    const seen = JSON.parse((await child.line()) ?? "") as { looks: number; modes: string[] };
    console.log(`note: ${seen.looks} looks, modes seen: ${seen.modes.join(", ")}`);
    expect(seen.looks).toBeGreaterThan(10);
    const wider = seen.modes.filter((mode) => (Number.parseInt(mode, 8) & ~0o640) !== 0);
    expect(wider).toEqual([]);
    expect(seen.modes).toContain(octal(0o640));
  });

  peerTest("owner, and both", ["root"], () => {
    using dir = tempDir();
    for (const type of types) {
      using _server = open(dir.file("s"), type, { mode: 0o620, owner: { uid: 1234, gid: 4321 } });
      const { mode, uid, gid } = lstatSync(dir.file("s"));
      expect([octal(mode & 0o7777), uid, gid]).toEqual([octal(0o620), 1234, 4321]);
      using _other = open(dir.file("t"), type, { owner: { gid: 4321 } });
      const { uid: kept, gid: changed } = lstatSync(dir.file("t"));
      expect([kept, changed]).toEqual([0, 4321]);
    }
  });

  peerTest("an owner who may not be: EPERM, and no file", ["root"], async () => {
    using dir = tempDir();
    await run(["chown", "65534", dir.path]);
    const options = { uid: 65_534, owner: { uid: 0 } };
    const { stdout } = await run(serverCommand(dir.file("s"), options));
    expect(stdout).toContain("chown EPERM");
    expect(readdirSync(dir.path)).toEqual([]);
  });
});

let names = 0;
const freshName = (): string => `@bunix-names-${process.pid}-${++names}`;

describe("abstract names", () => {
  test("this user may come by default, and others if they are let", () => {
    const name = freshName();
    using server = listen(name);
    using _client = connectSync(name);
    using accepted = server.tryAccept();
    expect(accepted?.peerCredentials().uid).toBe(process.getuid?.());
  });

  peerTest("another user is turned away, unless allowed", ["root", "python3"], async () => {
    const asks = `import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
s = socket.socket(socket.AF_UNIX); s.settimeout(20); s.connect("\\0" + sys.argv[1])
print("ended" if s.recv(10) == b"" else "served")`;
    for (const allow of [undefined, () => true, () => false]) {
      const name = freshName();
      using server = listen(name, { allow });
      const asking = run(["python3", "-c", asks, name.slice(1)]);
      const signal = AbortSignal.timeout(25_000);
      const coming = server.accept({ signal }).then(async (socket) => {
        await socket.send("hello");
        socket.close();
      });
      const closed = coming.catch(() => {}); // where it is turned away there is nothing to accept
      expect((await asking).stdout).toBe(allow?.() ? "served\n" : "ended\n");
      server.close();
      await closed;
    }
  });

  test("in use: each type apart, and who has it", async () => {
    for (const type of types) {
      const name = freshName();
      using _server = open(name, type);
      for (const other of types) {
        if (other !== type) {
          open(name, other).close();
          continue;
        }
        for (const options of [{}, { replace: true }, { takeOver: true }]) {
          const error = await failure(() => open(name, type, options));
          expect([error.code, error.address]).toEqual(["EADDRINUSE", name]);
          expect(error.message).toContain(`process ${process.pid} (${ownCommand}`);
        }
      }
    }
  });
});

describe("exclusive: false", () => {
  test("is bind as it is: a stale file is in the way, and stays", async () => {
    for (const type of types) {
      using dir = tempDir();
      leaveStale(dir.file("s"));
      const { ino } = lstatSync(dir.file("s"));
      expect(await codeOf(() => open(dir.file("s"), type, { exclusive: false }))).toBe(
        "EADDRINUSE",
      );
      expect(lstatSync(dir.file("s")).ino).toBe(ino);
      open(dir.file("t"), type, { exclusive: false, mode: 0o600 }).close();
      expect(readdirSync(dir.path)).toEqual(["s"]);
    }
  });
});

test("a datagram socket without a name, or with one that the kernel chose", () => {
  using unnamed = openDatagram();
  using chosen = openDatagram({ autobind: true });
  expect(unnamed.localAddress.kind).toBe("unnamed");
  expect(chosen.localAddress.kind).toBe("abstract");
});

test("a datagram socket that could not connect gives its name up", async () => {
  using dir = tempDir();
  const connect = dir.file("nobody");
  expect(await codeOf(() => openDatagram(dir.file("s"), { connect }))).toBe("ENOENT");
  expect(readdirSync(dir.path)).toEqual([]);
});

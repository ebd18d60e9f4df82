// Binding and listening: what the kernel lets two sockets do with one name, and with modes.

import { describe, expect, test } from "bun:test";
import { linkSync, mkdirSync, renameSync, statSync, unlinkSync, writeFileSync } from "node:fs";
import { file } from "../../native/file.ts";
import { connect, Fd, listen, makeFifo, openDatagram, probe } from "../../src/index.ts";
import { fchmod, open, tryLock } from "../../src/syscalls/fd.ts";
import { bind, connect as connectTo, listen as listenOn } from "../../src/syscalls/socket.ts";
import { freshPath } from "../api/pairs.ts";
import { codeOf, must } from "../api/tools.ts";
import { run, succeeded } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { setMode, tempDir } from "../support/tmp.ts";
import { olderThan, testUnless } from "../support/unless.ts";
import { at, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM } from "../syscalls/sockets.ts";
import { connections, done, fresh, more, Raw, said, setRaw } from "./raw.ts";

const types = [
  ["stream", SOCK_STREAM],
  ["seqpacket", SOCK_SEQPACKET],
  ["datagram", SOCK_DGRAM],
] as const;
const listening = types.filter(([kind]) => kind !== "datagram");

const O_TRUNC = 0o1000;

const int = (value: number): Uint8Array => new Uint8Array(new Int32Array([value]).buffer);
const modeOf = (path: string): number => statSync(path).mode & 0o777;

/** Run `body` with another umask; this process has one thread that makes files. */
function withUmask<T>(umask: number, body: () => T): T {
  const before = process.umask(umask);
  try {
    return body();
  } finally {
    process.umask(before);
  }
}

describe.each(types)("%s", (_kind, type) => {
  test.each(["path", "abstract"] as const)("a live owner's %s is taken (BND-01)", (where) => {
    using raw = new Raw();
    const address = fresh(where);
    raw.at(address, type);
    expect(said(bind(raw.socket(type), address))).toBe("EADDRINUSE");
  });

  test("after the owner has closed an abstract name is free, a path is not (BND-02)", () => {
    using raw = new Raw();
    for (const where of ["path", "abstract"] as const) {
      const address = fresh(where);
      raw.close(raw.at(address, type));
      const again = said(bind(raw.socket(type), address));
      expect(again).toBe(where === "path" ? "EADDRINUSE" : 0);
    }
  });

  test("a second name is EINVAL (BND-03)", () => {
    using raw = new Raw();
    for (const where of ["path", "abstract"] as const) {
      const fd = raw.at(fresh(where), type);
      expect(said(bind(fd, at(freshPath())))).toBe("EINVAL");
    }
  });

  testUnless(
    olderThan("6.1", "a refused second bind that leaves no file"),
    "a second name that is refused leaves no file (BND-03)",
    () => {
      using raw = new Raw();
      for (const where of ["path", "abstract"] as const) {
        const second = freshPath();
        bind(raw.at(fresh(where), type), at(second));
        expect(probe(second).state).toBe("free");
      }
    },
  );

  test("a directory, also as “.”, is in the way (BND-06)", () => {
    using raw = new Raw();
    const directory = freshPath();
    mkdirSync(directory);
    for (const path of [directory, `${directory}/.`]) {
      expect(said(bind(raw.socket(type), at(path)))).toBe("EADDRINUSE");
    }
  });

  test("a second link to the file reaches the socket when the first is gone (BND-21)", async () => {
    using raw = new Raw();
    const [path, other] = [freshPath(), freshPath()];
    const fd = raw.at(at(path), type);
    if (type !== SOCK_DGRAM) done(listenOn(fd, 4));
    linkSync(path, other);
    unlinkSync(path);
    expect(said(connectTo(raw.socket(type), at(path)))).toBe("ENOENT");
    expect(connectTo(raw.socket(type), at(other))).toBe(0);
    expect(probe(other).state).toBe("listening");
  });

  test("neither its file nor its number in /proc can be opened: ENXIO (BND-22, BND-23)", () => {
    using raw = new Raw();
    const path = freshPath();
    const fd = raw.at(at(path), type);
    for (const flags of [file.O_RDONLY, file.O_RDWR, file.O_WRONLY | O_TRUNC]) {
      expect(said(open(path, flags))).toBe("ENXIO");
      expect(said(open(`/proc/self/fd/${fd}`, flags))).toBe("ENXIO");
    }
    expect(raw.own(open(path, file.O_PATH!))).toBeGreaterThan(2);
  });

  test("SO_REUSEADDR does nothing (BND-29)", () => {
    using raw = new Raw();
    const address = fresh("path");
    raw.at(address, type);
    const second = raw.socket(type);
    expect(setRaw(second, more.SO_REUSEADDR, int(1))).toBe(0);
    expect(said(bind(second, address))).toBe("EADDRINUSE");
  });

  testUnless(
    olderThan("6.1", "refusing SO_REUSEPORT"),
    "SO_REUSEPORT is not known (BND-29)",
    () => {
      using raw = new Raw();
      expect(setRaw(raw.socket(type), more.SO_REUSEPORT, int(1))).toBe("EOPNOTSUPP");
    },
  );

  test("a lock on the socket itself locks no name (BND-13)", () => {
    using raw = new Raw();
    const path = freshPath();
    expect(said(tryLock(raw.at(at(path), type)))).toBe(0);
    expect(said(tryLock(raw.own(open(path, file.O_PATH!))))).toBe("EBADF");
  });

  test("the mode set before bind is the file's, without the umask's bits (MOD-01)", () => {
    using raw = new Raw();
    const path = freshPath();
    const fd = raw.socket(type);
    expect(fchmod(fd, 0o765)).toBe(0);
    withUmask(0o123, () => done(bind(fd, at(path))));
    expect(modeOf(path)).toBe(0o765 & ~0o123);
  });

  test("the mode set after bind says 0 and changes nothing (MOD-02)", () => {
    using raw = new Raw();
    const path = freshPath();
    const fd = withUmask(0, () => raw.at(at(path), type));
    expect(fchmod(fd, 0o600)).toBe(0);
    expect(modeOf(path)).toBe(0o777);
  });

  test("without one it is 0777 without the umask's bits (MOD-03)", () => {
    using raw = new Raw();
    for (const umask of [0, 0o077, 0o022]) {
      const path = freshPath();
      withUmask(umask, () => raw.at(at(path), type));
      expect(modeOf(path)).toBe(0o777 & ~umask);
    }
  });
});

describe.each(listening)("%s", (kind, type) => {
  test("refused says nothing of what is there: all of these are (BND-08)", () => {
    using raw = new Raw();
    const path = freshPath();
    const [plain, fifo, stale, bound] = ["plain", "fifo", "stale", "bound"].map(
      (n) => `${path}-${n}`,
    );
    mkdirSync(path);
    writeFileSync(plain!, "");
    makeFifo(fifo!);
    raw.close(raw.at(at(stale!), type, 1));
    raw.at(at(bound!), type);
    for (const one of [path, plain!, fifo!, stale!, bound!]) {
      expect(said(connectTo(raw.socket(type), at(one)))).toBe("ECONNREFUSED");
    }
    const states = [path, plain!, fifo!, stale!, bound!].map((one) => probe(one).state);
    expect(states).toEqual(["not-a-socket", "not-a-socket", "not-a-socket", "stale", "bound"]);
  });

  test.each([0o000, 0o022, 0o077, 0o777])("`mode` is exact under umask %o (MOD-08)", (umask) => {
    for (const mode of [0o600, 0o666, 0o777, 0]) {
      const path = freshPath();
      const before = process.umask();
      using _server = withUmask(umask, () => listen(path, { type: kind as "stream", mode }));
      expect([modeOf(path), process.umask()]).toEqual([mode, before]);
    }
  });

  test("listening again counts from then on (BND-26)", () => {
    using raw = new Raw();
    const address = fresh("path");
    const fd = raw.at(address, type, 0);
    expect(connectTo(raw.socket(type), address)).toBe(0);
    expect(said(connectTo(raw.socket(type), address))).toBe("EAGAIN");
    expect(listenOn(fd, 1)).toBe(0);
    expect(connectTo(raw.socket(type), address)).toBe(0);
    expect(said(connectTo(raw.socket(type), address))).toBe("EAGAIN");
    expect(listenOn(fd, 0)).toBe(0);
    expect(said(connectTo(raw.socket(type), address))).toBe("EAGAIN");
  });

  test("not bound: listen is EINVAL (BND-24)", () => {
    using raw = new Raw();
    expect(said(listenOn(raw.socket(type), 1))).toBe("EINVAL");
  });
});

describe.each(connections)("$name", ({ open: openPair }) => {
  test("what is connected does not listen, not even with a name: EINVAL (BND-25)", () => {
    using raw = new Raw();
    for (const fd of openPair(raw)) {
      expect(said(listenOn(fd, 1))).toBe("EINVAL");
      bind(fd, fresh("abstract")); // the accepted end has its listener's name already
      expect(said(listenOn(fd, 1))).toBe("EINVAL");
    }
  });
});

describe.each(["stream", "seqpacket"] as const)("%s, by the API", (type) => {
  test("a live server whose backlog is full is alive (BND-10)", async () => {
    using raw = new Raw();
    const path = freshPath();
    using server = listen(path, { type, backlog: 0 });
    const number = type === "stream" ? SOCK_STREAM : SOCK_SEQPACKET;
    while (connectTo(raw.socket(number), at(path)) === 0);
    expect(probe(path).state).toBe("listening");
    expect(await codeOf(() => listen(path, { type }))).toBe("EADDRINUSE");
    expect(server.closed).toBe(false);
  });

  test("a live socket of another type is alive (BND-11)", async () => {
    const path = freshPath();
    using _receiver = openDatagram(path);
    expect(await codeOf(() => connect(path, { type }))).toBe("EPROTOTYPE");
    expect(await codeOf(() => listen(path, { type }))).toBe("EADDRINUSE");
  });

  test("bound, not yet listening: nobody takes its name (BND-08, BND-09)", async () => {
    using raw = new Raw();
    const number = type === "stream" ? SOCK_STREAM : SOCK_SEQPACKET;
    const path = freshPath();
    const fd = raw.at(at(path), number);
    expect(said(connectTo(raw.socket(number), at(path)))).toBe("ECONNREFUSED");
    expect(await codeOf(() => listen(path, { type }))).toBe("EADDRINUSE");
    done(listenOn(fd, 1));
    expect(connectTo(raw.socket(number), at(path))).toBe(0);
  });

  test("the file may go while connections live, and the path is free (BND-19)", async () => {
    const path = freshPath();
    using server = listen(path, { type });
    using client = await connect(path, { type });
    using accepted = await server.accept();
    unlinkSync(path);
    using next = listen(path, { type });
    await client.send("still here");
    expect(must(await accepted.receive()).text()).toBe("still here");
    using _other = await connect(path, { type });
    expect(server.tryAccept()).toBeUndefined();
    (await next.accept()).close();
  });

  test("closing removes the owner's own file only (BND-17, BND-18)", async () => {
    const path = freshPath();
    const old = listen(path, { type });
    Fd.duplicate(old).close();
    expect(probe(path).state).toBe("listening");
    renameSync(path, `${path}-old`);
    const next = listen(path, { type });
    old.close();
    expect(probe(path).state).toBe("listening");
    next.close();
    expect(probe(path).state).toBe("free");
  });
});

/** As uid 65534, in Python: connect to, or bind, a path; what comes of it. */
const asNobody = `
import os, socket, sys, errno
os.setgroups([]); os.setgid(65534); os.setuid(65534)
call, kind, path = sys.argv[1:]
s = socket.socket(socket.AF_UNIX, getattr(socket, "SOCK_" + kind))
try:
    getattr(s, call)(path)
    print("ok")
except OSError as error:
    print(errno.errorcode[error.errno])
`;

const nobody = async (call: string, kind: string, path: string): Promise<string> =>
  succeeded(await run(["python3", "-c", asNobody, call, kind, path])).trim();

describe.each(types)("%s: another user", (_kind, type) => {
  const word = { [SOCK_STREAM]: "STREAM", [SOCK_SEQPACKET]: "SEQPACKET", [SOCK_DGRAM]: "DGRAM" };
  const kind = word[type]!;

  peerTest(
    "to connect takes write permission, nothing else (MOD-04)",
    ["root", "python3"],
    async () => {
      using raw = new Raw();
      for (const [mode, answer] of [
        [0o444, "EACCES"],
        [0o222, "ok"],
        [0o755, "EACCES"],
      ] as const) {
        using dir = tempDir();
        setMode(dir.path, 0o755);
        const path = dir.file("s");
        const fd = raw.socket(type);
        fchmod(fd, mode);
        withUmask(0, () => done(bind(fd, at(path))));
        if (type !== SOCK_DGRAM) done(listenOn(fd, 4));
        expect(await nobody("connect", kind, path)).toBe(answer);
      }
    },
  );

  peerTest(
    "a closed directory is EACCES, to connect and to bind (MOD-05, MOD-06)",
    ["root", "python3"],
    async () => {
      using raw = new Raw();
      const path = freshPath(); // in a directory that is root's, of mode 0700
      withUmask(0, () => raw.at(at(path), type, type === SOCK_DGRAM ? undefined : 4));
      expect(await nobody("connect", kind, path)).toBe("EACCES");
      expect(await nobody("bind", kind, `${path}-mine`)).toBe("EACCES");
    },
  );
});

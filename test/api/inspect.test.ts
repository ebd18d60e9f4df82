// probe: every state of an address, as seen from here, from where sock_diag is refused, and from
// another network namespace, where only a connection tells.

import { describe, expect, test } from "bun:test";
import {
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { socket as numbers } from "../../native/socket.ts";
import {
  connect,
  listen,
  openDatagram,
  type Probe,
  probe,
  UnsupportedError,
} from "../../src/index.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { connect as connectOnce, listen as listenOn, shutdown } from "../../src/syscalls/socket.ts";
import { run, startScript, writeSource } from "../support/child.ts";
import { type TempDir, tempDir } from "../support/tmp.ts";
import { asOnMac, lacking, noSockDiag, testsUnless, testUnless } from "../support/unless.ts";
import { at, Scope, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM } from "../syscalls/sockets.ts";
import { thrown, withLibc } from "./tools.ts";

const command = readFileSync("/proc/self/comm", "utf8").trimEnd();

const cli = "src/cli/main.ts";

const noDiag = noSockDiag();
const source = noDiag === null ? "sock_diag" : "proc";

/** Those that look from another network namespace. */
const { peerTest } = testsUnless(asOnMac("network namespaces are Linux's"));

/** What the tests compare of a probe. */
const short = ({ state, source, type }: Probe): string =>
  [state, source, type].filter((one) => one !== undefined).join(" ");

/** As a process that may not ask sock_diag. */
function refused<T>(body: () => T): Promise<Awaited<T>> {
  const real = libc.socket;
  const NO_SUCH_FAMILY = 9_999;
  const refusing = (family: number, type: number, protocol: number): number =>
    real(family === numbers.AF_NETLINK ? NO_SUCH_FAMILY : family, type, protocol);
  return withLibc({ socket: refusing as typeof libc.socket }, body);
}

/** As a process in a network namespace of its own. */
async function elsewhere(path: string, ...options: string[]): Promise<Probe> {
  const looking = ["unshare", "-n", process.execPath, cli, "probe", path, "--json", ...options];
  const { stdout, stderr } = await run(looking);
  if (stdout === "") throw new Error(stderr);
  return JSON.parse(stdout) as Probe;
}

let names = 0;
const freshName = (): string => `@bx-inspect-${process.pid}-${++names}`;

interface Place {
  readonly scope: Scope;
  readonly dir: TempDir;
  /** The path that is probed. */
  readonly path: string;
}

interface Case {
  readonly name: string;
  readonly make: (place: Place) => unknown;
  readonly here: string;
  /** Where sock_diag is refused; default: as here, but from /proc/net/unix. */
  readonly refused?: string;
  /** In another network namespace; null: not looked at. */
  readonly elsewhere: string | null;
  /** On macOS, where libproc knows it; default: as from another network namespace. */
  readonly mac?: string;
}

const alone = (name: string, make: Case["make"], says: string): Case => ({
  name,
  make,
  here: says,
  refused: says,
  elsewhere: says,
});

const fill = ({ scope, path }: Place): void => {
  scope.listener(path, SOCK_STREAM, 0);
  for (let i = 0; i < 2; i++) connectOnce(scope.socket(SOCK_STREAM), at(path));
};

const cases: readonly Case[] = [
  alone("nothing", () => {}, "free lstat"),
  alone("a regular file", ({ path }) => writeFileSync(path, "x"), "not-a-socket lstat"),
  alone("a directory", ({ path }) => mkdirSync(path), "not-a-socket lstat"),
  alone("a FIFO", ({ path }) => Bun.spawnSync(["mkfifo", path]), "not-a-socket lstat"),
  alone("a link to nowhere", ({ path }) => symlinkSync("nowhere", path), "not-a-socket lstat"),
  alone("a link to itself", ({ path }) => symlinkSync(path, path), "not-a-socket lstat"),
  alone("a link to a file", ({ path }) => symlinkSync("/dev/null", path), "not-a-socket lstat"),
  alone("a stale socket", ({ scope, path }) => scope.close(scope.listener(path)), "stale connect"),
  alone(
    "a link to a stale socket",
    ({ scope, path }) => {
      scope.close(scope.listener(`${path}2`));
      symlinkSync(`${path}2`, path);
    },
    "stale connect",
  ),
  {
    name: "a stream listener",
    make: ({ scope, path }) => scope.listener(path),
    here: "listening sock_diag stream",
    elsewhere: "listening connect stream",
  },
  {
    name: "a seqpacket listener",
    make: ({ scope, path }) => scope.listener(path, SOCK_SEQPACKET),
    here: "listening sock_diag seqpacket",
    elsewhere: "listening connect seqpacket",
  },
  {
    name: "a datagram socket",
    make: ({ scope, path }) => scope.bound(path, SOCK_DGRAM),
    here: "listening sock_diag datagram",
    elsewhere: "listening connect datagram",
  },
  {
    name: "a datagram socket that is connected to another",
    make: ({ scope, path }) => {
      scope.bound(`${path}2`, SOCK_DGRAM);
      expect(connectOnce(scope.bound(path, SOCK_DGRAM), at(`${path}2`))).toBe(0);
    },
    here: "bound sock_diag datagram",
    refused: "listening proc datagram", // /proc does not tell
    elsewhere: "bound connect datagram",
  },
  {
    name: "a listener whose backlog is full",
    make: fill,
    here: "listening sock_diag stream",
    mac: "listening libproc stream",
    elsewhere: "listening connect stream",
  },
  {
    // from outside it cannot be told from a stale one (facts: #refused-says-little)
    name: "a socket that is bound and does not listen",
    make: ({ scope, path }) => scope.bound(path, SOCK_STREAM),
    here: "bound sock_diag stream",
    elsewhere: "stale connect",
    mac: "bound libproc stream",
  },
  {
    name: "a listener that was shut down",
    make: ({ scope, path }) => expect(shutdown(scope.listener(path), numbers.SHUT_RD)).toBe(0),
    here: "bound sock_diag stream",
    refused: "listening proc stream", // /proc does not tell
    elsewhere: "stale connect",
    mac: "listening libproc stream", // nor does libproc
  },
  {
    name: "a link to a listener",
    make: ({ scope, path }) => {
      scope.listener(`${path}2`);
      symlinkSync(`${path}2`, path);
    },
    here: "listening sock_diag stream",
    refused: "listening connect stream", // bound under another name
    elsewhere: "listening connect stream",
  },
  {
    name: "a listener whose file was renamed",
    make: ({ scope, path }) => {
      scope.listener(`${path}2`);
      renameSync(`${path}2`, path);
    },
    here: "listening sock_diag stream",
    refused: "listening connect stream",
    elsewhere: "listening connect stream",
  },
  {
    name: "a second name of a bound socket's file",
    make: ({ scope, path }) => {
      scope.bound(`${path}2`, SOCK_SEQPACKET);
      linkSync(`${path}2`, path);
    },
    here: "bound sock_diag seqpacket",
    refused: "stale connect", // by its path alone nobody has it
    elsewhere: null,
  },
  {
    // the accepted connection still has the listener's name and file
    name: "a listener that is gone, with a connection that lives",
    make: async ({ path }) => {
      const listener = listen(path, { unlinkOnClose: false });
      const client = await connect(path);
      const accepted = await listener.accept();
      listener.close();
      kept.push(client, accepted);
    },
    here: "stale connect",
    refused: "stale connect",
    elsewhere: "stale connect",
    mac: "bound libproc stream", // it has no inode to be told by
  },
];

const kept: Disposable[] = [];

for (const one of cases) {
  describe(one.name, () => {
    const visit = async (look: (path: string) => unknown): Promise<void> => {
      using dir = tempDir();
      using scope = new Scope();
      const path = dir.file("s");
      await one.make({ scope, dir, path });
      try {
        await look(path);
      } finally {
        for (const socket of kept.splice(0)) socket[Symbol.dispose]();
      }
    };

    const onLinux = one.refused ?? one.here.replace("sock_diag", "proc");
    const without = asOnMac(one.mac ?? one.elsewhere ?? onLinux) ?? onLinux;
    const here = noDiag === null ? one.here : without;
    const { test } = testsUnless(/seqpacket/.test(one.here) ? lacking("seqpacket") : null);
    test("from here", () => visit((path) => expect(short(probe(path))).toBe(here)));

    test("without sock_diag", () =>
      visit(async (path) => expect(short(await refused(() => probe(path)))).toBe(without)));

    if (one.elsewhere === null) return;
    peerTest("from another network namespace", ["unshare", "root"], () =>
      visit(async (path) => expect(short(await elsewhere(path))).toBe(one.elsewhere!)),
    );
  });
}

describe("who has it", () => {
  test("the process, its name, its descriptor; the file and its birth", () => {
    using dir = tempDir();
    const began = Date.now();
    using listener = listen(dir.file("s"), { mode: 0o640 });
    const found = probe(dir.file("s"));
    const { dev, ino } = lstatSync(dir.file("s"));
    expect(found.holders).toEqual([{ pid: process.pid, command, fd: listener.fd }]);
    expect(found).toMatchObject({ mode: 0o640, owner: process.geteuid?.(), found: "a socket" });
    expect(found.file).toEqual({ dev, ino });
    expect(Math.abs(found.since!.getTime() - began)).toBeLessThan(60_000);
    expect(found.address).toEqual({ kind: "path", path: dir.file("s") });
  });

  const undisturbed = "looking does not disturb: nothing waits to be accepted afterwards";
  testUnless(asOnMac("it is looked at by connecting there"), undisturbed, () => {
    using listener = listen(freshName());
    expect(probe(listener.address).state).toBe("listening");
    expect(listener.tryAccept()).toBeUndefined();
  });

  test("a stopped server", async () => {
    using dir = tempDir();
    const script = writeSource(
      dir,
      `import { listen } from "@/src/index.ts";
listen(${JSON.stringify(dir.file("s"))}).accept();
console.log("listening");`,
    );
    await using child = startScript(script);
    await child.lineWith("listening");
    child.kill("SIGSTOP");
    const found = probe(dir.file("s"), { type: "stream" });
    expect(found.state).toBe("listening");
    expect(found.holders.map(({ pid }) => pid)).toEqual([child.pid]);
    child.kill("SIGCONT");
  });

  test("two processes with the same socket", async () => {
    using dir = tempDir();
    using listener = listen(dir.file("s"));
    const child = Bun.spawn(["sleep", "60"], {
      stdio: ["ignore", "ignore", "ignore", listener.fd],
    });
    try {
      const { holders } = probe(dir.file("s"));
      expect(new Set(holders.map(({ pid }) => pid))).toEqual(new Set([process.pid, child.pid]));
      expect(holders.find(({ pid }) => pid === child.pid)?.fd).toBe(3);
    } finally {
      child.kill();
      await child.exited;
    }
  });

  peerTest("a server in another network namespace: who listened", ["unshare", "root"], async () => {
    using dir = tempDir();
    using _listener = listen(dir.file("s"));
    const { holders } = await elsewhere(dir.file("s"));
    expect(holders).toEqual([{ pid: process.pid, command, fd: null }]);
  });
});

describe("types", () => {
  const types = { stream: SOCK_STREAM, seqpacket: SOCK_SEQPACKET, datagram: SOCK_DGRAM } as const;
  for (const [is, number] of Object.entries(types)) {
    testUnless(noDiag, `a ${is} socket, asked for each type`, async () => {
      using dir = tempDir();
      using scope = new Scope();
      const fd = scope.bound(dir.file("s"), number);
      if (number !== SOCK_DGRAM) expect(listenOn(fd, 4)).toBe(0);
      renameSync(dir.file("s"), dir.file("t")); // for /proc it is then unknown, and is connected to
      for (const type of Object.keys(types) as (keyof typeof types)[]) {
        const state = type === is ? "listening" : "wrong-type";
        const told = probe(dir.file("t"), { type });
        const tried = await refused(() => probe(dir.file("t"), { type }));
        expect([told, tried].map(short)).toEqual([
          `${state} sock_diag ${is}`,
          `${state} connect ${is}`,
        ]);
      }
    });
  }

  test("a type that there is not", async () => {
    const wrong = { type: "pipe" as "stream" };
    expect(await thrown(() => probe("/x", wrong))).toBeInstanceOf(TypeError);
    const [unnamed, error] = [{ autobind: true } as const, noNames ? UnsupportedError : TypeError];
    expect(await thrown(() => probe(unnamed))).toBeInstanceOf(error);
  });
});

const noNames = lacking("abstractNames");

describe("abstract names", () => {
  testUnless(
    noNames,
    "free, listening, bound by a datagram socket; with NULs and odd bytes",
    async () => {
      const name = freshName();
      expect(short(probe(name))).toBe(`free ${source}`);
      expect(short(await refused(() => probe(name)))).toBe("free proc");
      const odd = { abstract: Uint8Array.of(98, 120, 0, 255, names, 128 | (process.pid & 127), 0) };
      using _listener = listen(name, { type: "seqpacket" });
      using _datagram = openDatagram(odd);
      expect(short(probe(name))).toBe(`listening ${source} seqpacket`);
      expect(short(probe(odd))).toBe(`listening ${source} datagram`);
      expect(short(await refused(() => probe(name)))).toBe("listening proc seqpacket");
      expect(short(await refused(() => probe(odd)))).toBe("listening proc datagram");
      if (noDiag === null) expect(probe(odd)).toMatchObject({ owner: process.geteuid?.() });
      expect(probe(odd).holders.map(({ pid }) => pid)).toEqual([process.pid]);
    },
  );

  testUnless(noNames, "a line feed breaks a line of /proc: connecting tells", async () => {
    const name = { abstract: Buffer.from(`bx-inspect\n${process.pid}-${++names}`) };
    using _listener = listen(name);
    expect(short(await refused(() => probe(name)))).toBe("listening connect stream");
  });

  testUnless(noNames, "each type has names of its own", () => {
    const name = freshName();
    using _datagram = openDatagram(name);
    expect(short(probe(name, { type: "stream" }))).toBe(`free ${source}`);
    using _listener = listen(name);
    expect(short(probe(name, { type: "stream" }))).toBe(`listening ${source} stream`);
    expect(short(probe(name, { type: "datagram" }))).toBe(`listening ${source} datagram`);
  });

  peerTest("another network namespace has other names", ["unshare", "root"], async () => {
    using listener = listen(freshName());
    expect(probe(listener.address).state).toBe("listening");
    expect((await elsewhere(`@bx-inspect-${process.pid}-${names}`)).state).toBe("free");
  });
});

describe("paths", () => {
  testUnless(noDiag, "longer than sun_path, listening and stale; relative", async () => {
    using dir = tempDir();
    const long = join(dir.path, "d".repeat(150), "s");
    mkdirSync(dirname(long));
    using listener = listen(long, { unlinkOnClose: false });
    expect(short(probe(long))).toBe("listening sock_diag stream");
    expect(short(await refused(() => probe(long)))).toBe("listening connect stream");
    listener.close();
    expect(short(probe(long))).toBe("stale connect");
    const before = process.cwd();
    process.chdir(dirname(long));
    try {
      expect(short(probe(basename(long)))).toBe("stale connect");
    } finally {
      process.chdir(before);
    }
  });
});

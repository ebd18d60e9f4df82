// Which sockets hold a file, seen from where that is less than obvious; who holds a socket.

import { describe, expect, test } from "bun:test";
import {
  chmodSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  unlinkSync,
} from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { connect, listen, type Probe } from "../../src/index.ts";
import { holdersOf } from "../../src/inspect/holders.ts";
import {
  allSockets,
  holdsItsName,
  parseProcNetUnix,
  socketsAt,
} from "../../src/inspect/unix-sockets.ts";
import { isBoundTo, type UnixRecord } from "../../src/structs/unix-diag.ts";
import { root, run, runSource, succeeded, writeSource } from "../support/child.ts";
import { missing } from "../support/peers.ts";
import { fake } from "../support/seam.ts";
import { tempDir } from "../support/tmp.ts";
import { noCompiledPrograms, noSockDiag, testUnless } from "../support/unless.ts";
import { Scope, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM } from "../syscalls/sockets.ts";

/** This process's name: "bun", or whatever its file is called. */
const command = readFileSync("/proc/self/comm", "utf8").trimEnd();

const inodeOf = (fd: number): number => fstatSync(fd).ino;

/** Sockets of a file, whether it still has a name or not. */
const holding = ({ dev, ino }: { dev: number; ino: number }): UnixRecord[] =>
  allSockets()!.records.filter((one) => holdsItsName(one) && isBoundTo(one, { dev, ino }));

describe("sockets of a file", () => {
  const lacking = noSockDiag();

  for (const type of [SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM]) {
    testUnless(
      lacking,
      `type ${type}: from bind to close, after a rename, after the file was removed`,
      () => {
        using dir = tempDir();
        using scope = new Scope();
        const fd = scope.bound(dir.file("s"), type);
        const file = lstatSync(dir.file("s"));
        const inodes = () => holding(file).map(({ inode }) => inode);
        expect(inodes()).toEqual([inodeOf(fd)]);
        expect(socketsAt(dir.file("s"))?.records.map(({ inode }) => inode)).toEqual([inodeOf(fd)]);
        renameSync(dir.file("s"), dir.file("t"));
        expect(socketsAt(dir.file("s"))).toEqual({ records: [], source: "sock_diag" });
        expect(socketsAt(dir.file("t"))?.records.map(({ inode }) => inode)).toEqual([inodeOf(fd)]);
        unlinkSync(dir.file("t"));
        expect(inodes()).toEqual([inodeOf(fd)]);
        scope.close(fd);
        expect(inodes()).toEqual([]);
      },
    );
  }

  testUnless(lacking, "an accepted connection does not hold its listener's name", async () => {
    using dir = tempDir();
    const listener = listen(dir.file("s"), { unlinkOnClose: false });
    using client = await connect(dir.file("s"));
    using accepted = await listener.accept();
    listener.close();
    expect(socketsAt(dir.file("s"))?.records).toEqual([]);
    const all = allSockets()!.records;
    const still = all.find(({ inode }) => inode === inodeOf(accepted.fd))!;
    expect(still.file).toEqual({ dev: lstatSync(dir.file("s")).dev, ino: still.file!.ino });
    expect(holdsItsName(still)).toBe(false);
    expect(client.closed).toBe(false);
  });

  testUnless(lacking, "what is not found in an answer of many pieces is looked for again", () => {
    using dir = tempDir();
    using scope = new Scope();
    for (let i = 0; i < 200; i++) scope.pair(SOCK_STREAM);
    scope.listener(dir.file("s"));
    using sends = fake("send", []);
    expect(socketsAt(dir.file("s"))?.records).toHaveLength(1);
    expect(sends.calls).toHaveLength(1);
    expect(socketsAt(dir.path)?.records).toEqual([]); // a file that no socket is bound to
    expect(sends.calls).toHaveLength(3);
  });

  // stat says another device there than the kernel does; so does btrfs
  const mounting = missing(["unshare", "mount", "root"]);
  testUnless(lacking ?? mounting, "on an overlay over two file systems", async () => {
    const source = `
import { mkdirSync, statSync } from "node:fs";
import { allSockets, socketsAt } from "@/src/inspect/unix-sockets.ts";
import { isBoundTo } from "@/src/structs/unix-diag.ts";
import { listen, probe } from "@/src/index.ts";
const [base, path] = [process.argv[2], process.argv[2] + "/m/s"];
const mount = (...args) => {
  if (!Bun.spawnSync(["mount", "-t", ...args]).success) throw new Error("mount " + args);
};
for (const name of ["l", "u", "m"]) mkdirSync(base + "/" + name);
mount("tmpfs", "none", base + "/l");
mount("tmpfs", "none", base + "/u");
for (const name of ["u", "w"]) mkdirSync(base + "/u/" + name);
const parts = ["lowerdir=" + base + "/l", "upperdir=" + base + "/u/u", "workdir=" + base + "/u/w"];
mount("overlay", "overlay", "-o", parts.join(), base + "/m");
using listener = listen(path);
const { source, state } = probe(path);
const file = statSync(path);
const stat = allSockets().records.filter((one) => isBoundTo(one, file)).length;
console.log(JSON.stringify({ source, state, stat, at: socketsAt(path).records.length }));
`;
    using dir = tempDir();
    const apart = ["unshare", "-m", process.execPath, writeSource(dir, source), dir.path];
    const said = JSON.parse(succeeded(await run(apart)));
    expect(said).toEqual({ source: "sock_diag", state: "listening", stat: 0, at: 1 });
  });
});

describe("/proc/net/unix", () => {
  const head = "Num       RefCount Protocol Flags    Type St Inode Path\n";
  const parse = (text: string) => parseProcNetUnix(new TextEncoder().encode(head + text));
  const row = (rest: string): string => `0000000000000000: 00000002 00000000 ${rest}\n`;

  test("types, states, names; sockets that nobody holds are left out", () => {
    const found = parse(
      row("00010000 0001 01 4711 /run/x y") +
        row("00000000 0005 03    12 @na@me") +
        row("00000000 0002 01 13") +
        row("00000000 0001 02     0 /run/x"),
    );
    const kept = found.map(({ type, state, inode, name }) => ({ type, state, inode, name }));
    expect(kept).toEqual([
      {
        type: "stream",
        state: "listening",
        inode: 4711,
        name: { kind: "path", path: "/run/x y" },
      },
      {
        type: "seqpacket",
        state: "connected",
        inode: 12,
        name: { kind: "abstract", name: new TextEncoder().encode("na@me") },
      },
      { type: "datagram", state: "unconnected", inode: 13, name: null },
    ]);
  });

  test("any text", () => {
    const word = fc.constantFrom(
      "00010000",
      "0001",
      "01",
      "7",
      " ",
      "\n",
      ":",
      "/x",
      "@",
      "\u2028",
    );
    fc.assert(fc.property(fc.array(word), (words) => void parse(words.join(""))));
    expect(parse("0: x\n\n\n: 1")).toEqual([]);
  });
});

describe("holders", () => {
  test("of several sockets at once; of what is no socket's inode, none", () => {
    using scope = new Scope();
    const fds = [...scope.pair(SOCK_STREAM), scope.socket(SOCK_DGRAM)];
    const holders = holdersOf(new Set([...fds.map(inodeOf), 4_294_967_295]));
    expect(holders.size).toBe(3);
    for (const fd of fds) {
      expect(holders.get(inodeOf(fd))).toEqual([{ pid: process.pid, command, fd }]);
    }
    expect(holdersOf(new Set()).size).toBe(0);
  });

  test("a process's name may hold anything", async () => {
    const source = `
import { writeFileSync } from "node:fs";
import { holdersOf } from "@/src/inspect/holders.ts";
import { socketPair } from "@/src/index.ts";
import { fstatSync } from "node:fs";
writeFileSync("/proc/self/comm", "a b) S\\n1");
const [a] = socketPair("stream");
const { ino } = fstatSync(a.fd);
console.log(JSON.stringify(holdersOf(new Set([ino])).get(ino)[0].command));
process.exit();
`;
    expect(JSON.parse(succeeded(await runSource(source)))).toBe("a b) S\n1");
  });
});

const short = ({ state, source, type }: Probe): string =>
  [state, source, type].filter((one) => one !== undefined).join(" ");

describe("another user", () => {
  const lacking = noCompiledPrograms() ?? missing(["setpriv", "root"]);

  testUnless(lacking, "a live socket of mode 0600, a stale one, a closed directory", async () => {
    using dir = tempDir();
    chmodSync(dir.path, 0o755);
    const program = dir.file("bunix"); // of one file, which uid 65534 can read and run
    const build = ["build", "--compile", join(root, "src/cli/main.ts"), "--outfile", program];
    succeeded(await run([process.execPath, ...build], { cwd: dir.path }));
    const asNobody = async (path: string): Promise<Probe> => {
      const ids = ["--reuid=65534", "--regid=65534", "--clear-groups"];
      const { stdout, stderr } = await run(["setpriv", ...ids, program, "probe", path, "--json"]);
      if (stdout === "") throw new Error(stderr);
      return JSON.parse(stdout) as Probe;
    };
    using _listener = listen(dir.file("live"), { mode: 0o600 });
    const stale = listen(dir.file("stale"), { mode: 0o600, unlinkOnClose: false });
    stale.close();
    mkdirSync(dir.file("closed"), { mode: 0o700 });
    const live = await asNobody(dir.file("live"));
    expect([short(live), live.holders]).toEqual(["listening sock_diag stream", []]);
    expect(short(await asNobody(dir.file("stale")))).toBe("forbidden connect");
    expect(short(await asNobody(join(dir.file("closed"), "s")))).toBe("forbidden lstat");
  });
});

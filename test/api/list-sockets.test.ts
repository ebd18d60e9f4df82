// listSockets against ss.

import { describe, expect, test } from "bun:test";
import { fstatSync, lstatSync } from "node:fs";
import {
  connect,
  formatAddress,
  listen,
  listSockets,
  openDatagram,
  socketPair,
  type UnixSocketInfo,
} from "../../src/index.ts";
import { run, succeeded, writeSource } from "../support/child.ts";
import { missing } from "../support/peers.ts";
import { type TempDir, tempDir } from "../support/tmp.ts";
import { noSockDiag, testUnless } from "../support/unless.ts";
import { Scope, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM } from "../syscalls/sockets.ts";

interface Kept {
  readonly fd: number;
  close(): void;
}

/** Some of every kind there is: about 25 sockets. */
async function someOfEach(dir: TempDir, scope: Scope, round: number): Promise<Kept[]> {
  const kept: Kept[] = [];
  const keep = <T extends Kept>(one: T): T => {
    kept.push(one);
    return one;
  };
  const path = (name: string): string => dir.file(`${name}${round}`);
  for (const type of ["stream", "seqpacket"] as const) {
    for (const address of [path(type), `@bx-ls-${process.pid}-${type}-${round}`]) {
      const listener = keep(listen(address, { type, backlog: 10 + round }));
      const client = keep(
        await connect(address, { type, from: path(`${type}-client`) + kept.length }),
      );
      const accepted = keep(await listener.accept());
      client.trySend("to be received");
      if (round % 2 === 0) keep(await connect(address, { type })); // waits to be accepted
      if (round % 3 === 0) accepted.trySend("and back");
    }
  }
  for (const type of ["stream", "seqpacket", "datagram"] as const) {
    const [a, b] = socketPair(type);
    keep(a).trySend("x".repeat(100 * round));
    keep(b);
  }
  const server = keep(openDatagram(path("dgram")));
  keep(openDatagram(undefined, { connect: path("dgram") })).trySend("queued");
  keep(openDatagram({ autobind: true }));
  await server.send("to itself", { to: path("dgram") });
  scope.bound(path("bound"), SOCK_STREAM);
  for (const type of [SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET]) scope.socket(type);
  return kept;
}

interface Line {
  readonly type: string;
  readonly state: string;
  readonly receive: number;
  readonly send: number;
  readonly address: string;
  readonly inode: number;
  readonly peer: number;
  readonly holders: readonly string[];
}

const types: Readonly<Record<string, string>> = {
  u_str: "stream",
  u_seq: "seqpacket",
  u_dgr: "datagram",
};
const states: Readonly<Record<string, string>> = {
  LISTEN: "listening",
  ESTAB: "connected",
  UNCONN: "unconnected",
};

/** A line of `ss -x`: type, state, queues, address, inode, peer's address, peer's inode, users. */
function parseLine(line: string): Line {
  const [type = "", state = "", receive, send, address = "", inode, , peer, users = ""] =
    line.split(/\s+/);
  const holders = Array.from(
    users.matchAll(/\("([^"]*)",pid=(\d+),fd=(\d+)\)/g),
    ([, command, pid, fd]) => `${command} ${pid} ${fd}`,
  );
  return {
    type: types[type] ?? type,
    state: states[state] ?? state,
    receive: Number(receive),
    send: Number(send),
    address: address === "*" ? "" : address,
    inode: Number(inode),
    peer: Number(peer),
    holders: holders.sort(),
  };
}

const LOOKS = 10;
const inodes = (sockets: readonly UnixSocketInfo[]): number[] => sockets.map(({ inode }) => inode);

/** What ss says, until it has not missed any of `inodes`. */
async function ss(options: string, inodes: readonly number[]): Promise<Map<number, Line>> {
  for (let i = 1; ; i++) {
    const said = succeeded(await run(["ss", "-H", options], { timeoutMs: 60_000 }));
    const lines = said.trimEnd().split("\n").map(parseLine);
    const found = new Map(lines.map((line) => [line.inode, line]));
    if (i === LOOKS || inodes.every((inode) => found.has(inode))) return found;
  }
}

function lineOf(socket: UnixSocketInfo): Line {
  return {
    type: socket.type,
    state: socket.state,
    receive: socket.receiveQueue!,
    send: socket.sendQueue!,
    address: socket.address === null ? "" : formatAddress(socket.address),
    inode: socket.inode,
    peer: socket.peer?.inode ?? 0,
    holders: socket.holders.map(({ command, pid, fd }) => `${command} ${pid} ${fd}`).sort(),
  };
}

/** Those of this process; others come and go. */
const own = ({ holders }: UnixSocketInfo): boolean =>
  holders.some(({ pid }) => pid === process.pid);

/** The kernel answers in pieces, and while others come and go it may miss one: look again then. */
function look<T extends { fd: number }>(
  kept: readonly T[],
): { mine: UnixSocketInfo[]; missing: T[] } {
  for (let i = 1; ; i++) {
    const mine = listSockets().filter(own);
    const inodes = new Set(mine.map(({ inode }) => inode));
    const missing = kept.filter(({ fd }) => !inodes.has(fstatSync(fd).ino));
    if (missing.length === 0 || i === LOOKS) return { mine, missing };
  }
}

testUnless(
  noSockDiag() ?? missing(["ss"]),
  "500 sockets of every kind are what ss says",
  async () => {
    using dir = tempDir();
    using scope = new Scope();
    const kept: Kept[] = [];
    for (let round = 0; round < 20; round++) kept.push(...(await someOfEach(dir, scope, round)));
    try {
      const { mine, missing } = look(kept);
      const all = await ss("-xap", inodes(mine));
      expect(mine.length).toBeGreaterThanOrEqual(500);
      expect(missing).toEqual([]);
      for (const socket of mine) expect(lineOf(socket)).toEqual(all.get(socket.inode)!);
      const listeners = mine.filter(({ state }) => state === "listening");
      expect(listeners.length).toBe(80);
      const listening = await ss("-xlp", inodes(listeners));
      for (const { inode } of listeners) expect(listening.has(inode)).toBe(true);
      console.log(`note: ${mine.length} sockets compared with ss`);
    } finally {
      for (const one of kept) one.close();
    }
  },
  90_000,
);

describe("one of them", () => {
  testUnless(noSockDiag(), "the other end, the file, the user, the queues", async () => {
    using dir = tempDir();
    using listener = listen(dir.file("s"), { backlog: 7 });
    using client = await connect(dir.file("s"), { from: dir.file("c") });
    using waiting = await connect(dir.file("s"));
    const at = (fd: number): UnixSocketInfo => {
      const wanted = fstatSync(fd).ino;
      const { mine } = look([{ fd }]);
      return mine.find(({ inode }) => inode === wanted)!;
    };
    expect(at(listener.fd)).toMatchObject({ receiveQueue: 2, sendQueue: 7, peer: null });
    expect(at(client.fd)).toMatchObject({ state: "connected", peer: null, holders: [{}] });
    using accepted = await listener.accept();
    const { dev, ino } = lstatSync(dir.file("s"));
    expect(at(accepted.fd)).toMatchObject({
      address: { kind: "path", path: dir.file("s") },
      peer: { inode: fstatSync(client.fd).ino, address: { kind: "path", path: dir.file("c") } },
      file: { dev, ino },
      uid: process.geteuid?.(),
      shutdown: "none",
    });
    client.end();
    expect(at(client.fd).shutdown).toBe("write");
    expect(at(accepted.fd).shutdown).toBe("read");
    expect(at(waiting.fd).address).toBeNull();
  });

  test("holders: false leaves them out", () => {
    const [a, b] = socketPair("stream");
    const found = listSockets({ holders: false });
    expect(found.some(({ inode }) => inode === fstatSync(a.fd).ino)).toBe(true);
    expect(found.every(({ holders }) => holders.length === 0)).toBe(true);
    a.close();
    b.close();
  });
});

test("10,000 sockets: each is found, and who has it", async () => {
  const source = `
import { fstatSync } from "node:fs";
import { listSockets, socketPair } from "@/src/index.ts";
const kept = [];
try {
  while (kept.length < 10_000) kept.push(...socketPair("stream"));
} catch {}
const inodes = new Set(kept.map(({ fd }) => fstatSync(fd).ino));
const found = listSockets().filter(({ inode }) => inodes.has(inode));
const held = found.filter(({ holders }) => holders.some(({ pid }) => pid === process.pid));
console.log(inodes.size, found.length, held.length);
process.exit();
`;
  const apart = missing(["unshare", "root"]) === null ? ["unshare", "-n"] : []; // from ss above
  const limit = [
    ...apart,
    "sh",
    "-c",
    'ulimit -n 12000 2>/dev/null; exec "$0" "$1"',
    process.execPath,
  ];
  using dir = tempDir();
  const said = succeeded(await run([...limit, writeSource(dir, source)]));
  const [made, found, held] = said.trim().split(" ").map(Number);
  expect(made).toBeGreaterThanOrEqual(1_000); // as many as the limit lets there be
  expect([found, held]).toEqual([made!, made!]);
});

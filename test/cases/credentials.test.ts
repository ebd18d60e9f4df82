// Who sent it, as the kernel says it: when the option counts, what room it takes, who may claim
// what.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { option } from "../../native/socket.ts";
import { connect, listen, type StreamSocket } from "../../src/index.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { Memory } from "../../src/syscalls/memory.ts";
import { result } from "../../src/syscalls/result.ts";
import {
  accept,
  connect as connectTo,
  getOption,
  setOption,
  socketName,
} from "../../src/syscalls/socket.ts";
import { freshPath } from "../api/pairs.ts";
import { openAtMost, openFds } from "../api/tools.ts";
import { start } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { noPidfds, testUnless } from "../support/unless.ts";
import { SOCK_DGRAM, SOCK_STREAM } from "../syscalls/sockets.ts";
import {
  connections,
  done,
  fresh,
  MSG_PEEK,
  ofKind,
  Raw,
  rawVariants,
  said,
  send,
  translated,
} from "./raw.ts";

const PASS = option.SO_PASSCRED!;
const PASSPIDFD = option.SO_PASSPIDFD ?? -1;
const own = { pid: process.pid, uid: process.getuid?.() ?? -1, gid: process.getgid?.() ?? -1 };

/** An option's bytes in so much room: the answer, the length it says, the words. */
function ask(fd: number, which: number, room: number) {
  const value = new Memory(64);
  const length = new Memory(8);
  value.words.fill(-2);
  length.words[0] = room;
  const answer = said(result(libc.getsockopt(fd, 1, which, value.address, length.address)));
  return { answer, length: length.words[0]!, words: [...value.words.slice(0, 3)] };
}

/** Pid, uid, gid as they stand in the control data, whatever this library makes of them. */
function ucred(control: Buffer): number[] {
  const at = 16; // behind the first header
  return [0, 4, 8].map((offset) => control.readInt32LE(at + offset));
}

describe.each(rawVariants)("$name", ({ open, stream, kind, name }) => {
  test("SO_PEERCRED: who made it, or nobody (CRD-01, CRD-06, CRD-07, PID-03)", () => {
    using raw = new Raw();
    const [near] = open(raw);
    const known = kind !== "datagram" || name.includes("pair");
    const whole = known ? [own.pid, own.uid, own.gid] : [0, -1, -1];
    expect(ask(near, option.SO_PEERCRED!, 12)).toEqual({ answer: 0, length: 12, words: whole });
    if (!known && noPidfds() === null) {
      expect(ask(near, option.SO_PEERPIDFD!, 4).answer).toBe("ENODATA");
    }
    const cut = ask(near, option.SO_PEERCRED!, 2);
    expect([cut.answer, cut.length]).toEqual([0, 2]);
  });

  test("each end has its own option, and only who has it is told (CRD-09, CRD-18, CRD-21)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    done(setOption(far, PASS, 1));
    expect([getOption(near, PASS), getOption(far, PASS)]).toEqual([0, 1]);
    send(near);
    expect(raw.receive(far).credentials).toEqual(own);
    send(far);
    expect(raw.receive(near).controlBytes).toBe(0);
  });

  test("sent before either had the option: nobody; the receiver not: all (CRD-13)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    send(near);
    done(setOption(far, PASS, 1));
    expect(ucred(raw.receive(far).control)).toEqual([0, 65534, 65534]);
    done(setOption(far, PASS, 0));
    done(setOption(near, PASS, 1));
    send(near);
    send(near, { data: "y" });
    expect(raw.receive(far, { bytes: 1 }).controlBytes).toBe(0);
    done(setOption(far, PASS, 1));
    expect(raw.receive(far).credentials).toEqual(own);
  });

  testUnless(translated(), "room for part of them: part of them, and the flag (CRD-16)", () => {
    for (const room of [8, 16, 20, 24, 28, 32]) {
      using raw = new Raw();
      const [near, far] = open(raw);
      done(setOption(far, PASS, 1));
      send(near);
      const got = raw.receive(far, { room });
      expect([room, got.text, got.controlCut]).toEqual([room, "x", room < 28]);
      expect(got.credentials === null).toBe(room < 28);
    }
  });

  testUnless(
    translated(),
    "with room for them alone, descriptors are lost, and closed (CRD-17)",
    async () => {
      using raw = new Raw();
      const [near, far] = open(raw);
      done(setOption(far, PASS, 1));
      const before = openFds();
      send(near, { fds: [0, 1] });
      const got = raw.receive(far, { room: 32 });
      expect([got.credentials, got.fds, got.controlCut]).toEqual([own, [], true]);
      await openAtMost(before);
    },
  );

  test("every part of a message has them (CRD-15)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    done(setOption(far, PASS, 1));
    send(near, { data: "ab" });
    expect(raw.receive(far, { bytes: 1 }).credentials).toEqual(own);
    if (stream) expect(raw.receive(far, { bytes: 1 }).credentials).toEqual(own);
  });

  test("one's own, given or not, are fine (CRD-09, CRD-19)", () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    done(setOption(far, PASS, 1));
    expect(send(near, { credentials: own, data: "mine" })).toBe(4);
    expect(raw.receive(far).credentials).toEqual(own);
    expect(send(near, { control: Buffer.from(header(0)) })).toBe("EINVAL");
  });

  peerTest("root may claim others, not those that are not (CRD-10, CRD-11)", ["root"], () => {
    using raw = new Raw();
    const [near, far] = open(raw);
    done(setOption(far, PASS, 1));
    const claim = { pid: 1, uid: 1234, gid: 1234 };
    expect(send(near, { credentials: claim })).toBe(1);
    expect(raw.receive(far).credentials).toEqual(claim);
    const gone = Bun.spawnSync(["true"]).pid;
    for (const pid of [gone, 0, -1]) {
      expect(send(near, { credentials: { ...own, pid } })).toBe("ESRCH");
    }
  });

  testUnless(
    noPidfds(),
    "each receive and each peek makes a pidfd; read(2) none (PID-04, PID-05)",
    async () => {
      using raw = new Raw();
      const [near, far] = open(raw);
      done(setOption(far, PASSPIDFD, 1));
      done(setOption(far, PASS, 1));
      send(near, { fds: [0] });
      const seen = [MSG_PEEK, MSG_PEEK, 0].map((flags) => raw.receive(far, { flags }));
      expect(new Set(seen.map(({ pidfd }) => pidfd)).size).toBe(3);
      for (const { pidfd, credentials, fds } of seen) {
        expect([credentials, fds.length]).toEqual([own, 1]);
        const info = readFileSync(`/proc/self/fdinfo/${pidfd}`, "latin1");
        expect(info).toContain(`Pid:\t${process.pid}\n`);
        expect(info).toMatch(/flags:\t0?2\d{6}\n/); // O_CLOEXEC, without having asked
      }
      const before = openFds();
      send(near);
      const room = new Memory(8);
      expect(said(result(libc.read(far, room.address, 8)))).toBe(1);
      await openAtMost(before);
    },
  );

  testUnless(
    noPidfds(),
    "no room for the pidfd: the flag, and none is left open (PID-07)",
    async () => {
      using raw = new Raw();
      const [near, far] = open(raw);
      done(setOption(far, PASSPIDFD, 1));
      for (const room of [0, 8, 16]) {
        send(near);
        const before = openFds();
        const got = raw.receive(far, { room });
        expect([got.pidfd, got.controlCut]).toEqual([null, true]);
        await openAtMost(before);
      }
    },
  );
});

/** SCM_CREDENTIALS with so many bytes of payload. */
function header(bytes: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(16 + bytes));
  view.setUint32(0, 16 + bytes, true);
  view.setInt32(8, option.SOL_SOCKET, true);
  view.setInt32(12, 2, true);
  return new Uint8Array(view.buffer);
}

describe.each(ofKind("stream"))("$name", ({ open }) => {
  peerTest(
    "with the option a receive never mixes senders, without it does (CRD-14)",
    ["root"],
    () => {
      using raw = new Raw();
      const [near, far] = open(raw);
      const other = { ...own, uid: 1234 };
      const both = (): void => {
        send(near, { data: "a", credentials: own });
        send(near, { data: "b", credentials: other });
        send(near, { data: "c", credentials: other });
      };
      done(setOption(far, PASS, 1));
      both();
      const seen = [raw.receive(far), raw.receive(far)];
      expect(seen.map(({ text, credentials }) => [text, credentials])).toEqual([
        ["a", own],
        ["bc", other],
      ]);
      done(setOption(far, PASS, 0));
      both();
      expect(raw.text(far)).toBe("abc");
    },
  );
});

describe.each(connections)("$name", ({ open }) => {
  test("groups: too little room is ERANGE; no label without a security module (CRD-08)", () => {
    using raw = new Raw();
    const [near] = open(raw);
    const groups = process.getgroups?.() ?? [];
    const asked = ask(near, option.SO_PEERGROUPS!, 0);
    expect(asked.answer).toBe(groups.length === 0 ? 0 : "ERANGE");
    expect(asked.length).toBe(4 * groups.length);
    if (groups.length > 0) {
      const { words } = ask(near, option.SO_PEERGROUPS!, asked.length);
      expect(words[0]).toBe(groups[0]!);
    }
    const label = ask(near, option.SO_PEERSEC!, 64).answer;
    expect(["ENOPROTOOPT", 0]).toContain(label);
  });
});

test("sockets that nobody made a connection of: nobody, and ENODATA (CRD-01, PID-03)", () => {
  using raw = new Raw();
  const address = fresh("path");
  const lonely = [raw.socket(SOCK_STREAM), raw.socket(SOCK_DGRAM), raw.at(address, SOCK_STREAM)];
  for (const fd of lonely) {
    expect(ask(fd, option.SO_PEERCRED!, 12).words).toEqual([0, -1, -1]);
    if (noPidfds() === null) expect(ask(fd, option.SO_PEERPIDFD!, 4).answer).toBe("ENODATA");
  }
  const listener = raw.at(fresh("path"), SOCK_STREAM, 1);
  expect(ask(listener, option.SO_PEERCRED!, 12).words).toEqual([own.pid, own.uid, own.gid]);
});

test.each(["path", "abstract"] as const)(
  "the option gives a sender a name (%s), without being asked to (CRD-20)",
  (where) => {
    using raw = new Raw();
    const to = fresh(where);
    const receiver = raw.at(to, SOCK_DGRAM);
    const sender = raw.socket(SOCK_DGRAM);
    send(sender, { to });
    expect(raw.receive(receiver).nameBytes).toBe(0);
    done(setOption(sender, PASS, 1));
    send(sender, { to });
    expect(raw.receive(receiver).nameBytes).toBe(8);
    const address = fresh(where);
    const listener = raw.at(address, SOCK_STREAM, 1);
    const client = raw.socket(SOCK_STREAM);
    done(setOption(client, PASS, 1));
    expect(socketName(client, "getsockname")).toEqual({ kind: "unnamed" });
    done(connectTo(client, address));
    expect(socketName(client, "getsockname")).toMatchObject({ kind: "abstract" });
    expect(getOption(raw.own(accept(listener)), PASS)).toBe(0);
  },
);

const client = `
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
print("connected", flush=True)
sys.stdin.readline()
`;

const server = `
import socket, struct, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
print("ready", flush=True)
c = s.accept()[0]
print(*struct.unpack("iii", c.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)), flush=True)
sys.stdin.readline()
`;

const needs = ["python3", "unshare", "root"];

peerTest(
  "a peer in a pid namespace below has the pid that is seen here (CRD-05)",
  needs,
  async () => {
    const path = freshPath();
    using listener = listen(path);
    await using child = start([
      "unshare",
      "-p",
      "-f",
      "--kill-child",
      "python3",
      "-c",
      client,
      path,
    ]);
    using accepted = (await listener.accept()) as StreamSocket;
    await child.lineWith("connected");
    const { pid } = accepted.peerCredentials();
    expect(readFileSync(`/proc/${pid}/comm`, "latin1")).toStartWith("python3");
    expect(readFileSync(`/proc/${pid}/status`, "latin1")).toMatch(/^NSpid:\t\d+\t1$/m);
    child.endInput();
    await child.exited;
  },
);

peerTest(
  "from inside, a peer outside has pid 0; unmapped ids are 65534 (CRD-05)",
  needs,
  async () => {
    for (const [options, answer] of [
      [["-p", "-f"], `0 ${own.uid} ${own.gid}`],
      [["-U", "-p", "-f"], "0 65534 65534"],
    ] as const) {
      const path = freshPath();
      await using child = start([
        "unshare",
        ...options,
        "--kill-child",
        "python3",
        "-c",
        server,
        path,
      ]);
      await child.lineWith("ready");
      using _socket = await connect(path);
      expect(await child.line()).toBe(answer);
      child.endInput();
      await child.exited;
    }
  },
);

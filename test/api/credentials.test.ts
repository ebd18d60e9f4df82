// Who is at the other end, and who sent this: what the kernel recorded and what senders claim.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { system } from "../../native/platform.ts";
import {
  adoptSocket,
  connect,
  type Fd,
  listen,
  openDatagram,
  peerCredentials,
  peerGroups,
  peerPidfd,
  peerSecurity,
  socketPair,
  UnsupportedError,
  verifyPeer,
} from "../../src/index.ts";
import { lastError } from "../../src/syscalls/libc.ts";
import { start } from "../support/child.ts";
import { missing, peerTest } from "../support/peers.ts";
import {
  asOnMac,
  noLongOptions,
  noPeerPidfd,
  noPidfds,
  olderThan,
  testUnless,
} from "../support/unless.ts";
import { forms, freshAddress, freshPath, pairVariants, variants } from "./pairs.ts";
import {
  closeAll,
  codeOf,
  eventually,
  failure,
  isCloseOnExec,
  leakFree,
  must,
  withLibc,
} from "./tools.ts";

const self = {
  pid: process.pid,
  uid: process.getuid?.() ?? -1,
  gid: process.getgid?.() ?? -1,
};

/** The process that a pidfd stands for; −1 once it was reaped. */
const pidOf = (pidfd: Fd): number =>
  Number(readFileSync(`/proc/self/fdinfo/${pidfd.fd}`, "utf8").match(/^Pid:\s*(-?\d+)/m)?.[1]);

describe.each(variants)("$name", ({ kind, route, open }) => {
  const recorded = kind !== "datagram" || route === "pair";

  test(recorded ? "the peer is who made the connection" : "nobody is recorded: ENODATA", () =>
    leakFree(async () => {
      using pair = await open();
      const ways = [pair.near.peerCredentials.bind(pair.near), () => peerCredentials(pair.near.fd)];
      if (!recorded) {
        const calls = [...ways, () => pair.near.peer(), () => verifyPeer(pair.near)];
        for (const call of calls) {
          const error = await failure(call);
          expect([error.code, error.errno]).toEqual(["ENODATA", -errno.ENODATA]);
          expect(error.syscall).toBe("getsockopt");
          expect(error.message).toContain("passCredentials");
        }
        return;
      }
      for (const way of ways) expect(way()).toEqual(self);
      expect(pair.near.peerGroups()).toEqual(peerGroups(pair.near));
      expect(pair.near.peerSecurity()).toBe(peerSecurity(pair.near.fd));
    }),
  );

  testUnless(noPeerPidfd(), "the peer's pidfd, or ENODATA", () =>
    leakFree(async () => {
      using pair = await open();
      for (const way of [pair.near.peerPidfd.bind(pair.near), () => peerPidfd(pair.near)]) {
        if (!recorded) {
          expect((await failure(way)).code).toBe("ENODATA");
          continue;
        }
        using pidfd = way();
        expect(pidOf(pidfd)).toBe(process.pid);
        expect(isCloseOnExec(pidfd.fd)).toBe(true);
      }
    }),
  );

  for (const form of forms) {
    test(`${form.name}: passCredentials says who sent each message, both ways`, async () => {
      using pair = await open({ passCredentials: true });
      for (const [from, to] of [
        [pair.near, pair.far],
        [pair.far, pair.near],
      ] as const) {
        await form.send(from, "x");
        const message = must(await form.receive(to));
        expect(message.credentials).toEqual(self);
        expect(message.pidfd).toBeUndefined();
      }
    });
  }

  testUnless(noPidfds(), "passPidfd brings the sender's process, closed with the message", () =>
    leakFree(async () => {
      using pair = await open({ passPidfd: true });
      await pair.near.send("x");
      const message = must(pair.far.tryReceive());
      const pidfd = message.pidfd!;
      expect(pidOf(pidfd)).toBe(process.pid);
      expect(pidfd.describe().kind).toBe("pidfd");
      message.close();
      expect(pidfd.closed).toBe(true);
    }),
  );
});

describe.each(pairVariants)("$name", ({ open, stream }) => {
  test("only the end that asked is told", async () => {
    using pair = await open();
    using asking = adoptSocket(pair.far.fd, { passCredentials: true });
    if (!("tryReceive" in asking)) throw new Error("a listener?");
    pair.near.trySend("x", { credentials: {} });
    expect(must(asking.tryReceive()).credentials).toEqual(self);
    asking.trySend("y", { credentials: {} });
    expect(must(pair.near.tryReceive()).credentials).toBeUndefined();
    asking.release().release(); // pair.far owns the number
  });

  test("a message from before the option was on has an unknown sender", async () => {
    using pair = await open();
    await pair.near.send("early");
    using asking = adoptSocket(pair.far.fd, { passCredentials: true });
    if (!("tryReceive" in asking)) throw new Error("a listener?");
    const { credentials } = must(asking.tryReceive());
    // the kernel fills in pid 0 and the overflow ids: that is nobody
    expect(credentials?.pid ?? null).toBeNull();
    asking.release().release();
  });

  test("credentials and descriptors come together", () =>
    leakFree(async () => {
      const passPidfd = noPidfds() === null;
      using pair = await open({ passCredentials: true, passPidfd });
      const fds = Array.from({ length: 253 }, () => 0);
      await pair.near.send("x", { fds, credentials: {} });
      using message = must(pair.far.tryReceive());
      expect([message.fds.length, message.fdsTruncated]).toEqual([253, false]);
      expect(message.credentials).toEqual(self);
      if (passPidfd) expect(pidOf(message.pidfd!)).toBe(process.pid);
    }));

  test("every part of a message has its sender", async () => {
    using pair = await open({ passCredentials: true });
    await pair.near.send("0123");
    expect(must(pair.far.tryReceive({ maxBytes: 2 })).credentials).toEqual(self);
    if (stream) expect(must(pair.far.tryReceive()).credentials).toEqual(self);
  });

  test("credentials are checked before any system call", async () => {
    using pair = await open();
    for (const credentials of [{ pid: -1 }, { uid: 2 ** 32 }, { gid: 1.5 }]) {
      expect(() => pair.near.trySend("x", { credentials })).toThrow(RangeError);
    }
    if (stream) expect(() => pair.near.trySend("", { credentials: {} })).toThrow(RangeError);
    expect(pair.far.tryReceive()).toBeUndefined();
  });

  peerTest("root may claim another live pid, uid and gid", ["root"], async () => {
    using pair = await open({ passCredentials: true });
    const claim = { pid: 1, uid: 1234, gid: 4321 };
    for (const form of forms) {
      await form.send(pair.near, "x", { credentials: claim });
      expect(must(await form.receive(pair.far)).credentials).toEqual(claim);
    }
    const dead = Bun.spawnSync(["true"]);
    const error = await failure(() => pair.near.trySend("x", { credentials: { pid: dead.pid } }));
    expect([error.code, error.syscall]).toEqual(["ESRCH", "sendmsg"]);
    expect(error.message).toContain("no live process");
  });

  peerTest("nobody else may: EPERM, and the socket goes on", ["root"], async () => {
    using pair = await open({ passCredentials: true });
    const file = new URL("../fixtures/unprivileged.ts", import.meta.url).pathname;
    const child = Bun.spawn([process.execPath, file], {
      stdio: ["ignore", "pipe", "inherit", pair.near.fd],
    });
    const codes = JSON.parse(await new Response(child.stdout).text());
    await child.exited;
    expect(codes).toEqual(["EPERM", "EPERM", "EPERM", "sent"]);
    const message = must(await pair.far.receive());
    expect(message.text()).toBe("as myself");
    expect(message.credentials).toEqual({ pid: child.pid, uid: 65534, gid: 65534 });
  });
});

/** A Python program that runs `body` with `sys.argv[1]` and waits for a line. */
const python = (body: string, argument: string) =>
  start(["python3", "-c", `import socket, sys, os\n${body}\n`, argument]);

const client = `
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
print("connected", flush=True)
sys.stdin.readline()
`;

/** Before Linux 6.5 there is only the pid to go by; XNU has the pid's version. */
const withoutPidfd = system === "darwin" ? "peertoken" : "peercred";
const source = noPeerPidfd() === null ? "peerpidfd" : withoutPidfd;

describe("another process", () => {
  peerTest("the server sees who connected, also after that process has gone", ["python3"], () =>
    leakFree(async () => {
      using server = listen(freshPath());
      const { path } = server.address as { path: string };
      const child = python(client, path);
      using accepted = await server.accept();
      await child.lineWith("connected");
      const seen = accepted.peer();
      expect([seen.pid, seen.uid, seen.alive, seen.source]).toEqual([
        child.pid,
        self.uid,
        true,
        source,
      ]);
      expect(seen.executable).toMatch(/\/python3[.\d]*$/);
      expect(seen.command).toStartWith("python3");
      if (system === "linux") expect(seen.arguments?.at(-1)).toBe(path);
      expect(seen.groups).toEqual(accepted.peerGroups());
      const hasPidfd = source === "peerpidfd";
      expect(seen.pidfd === null ? null : pidOf(seen.pidfd)).toBe(hasPidfd ? child.pid : null);
      seen.close();
      expect(seen.pidfd?.closed).toBe(hasPidfd ? true : undefined);
      child.write("end\n");
      await child.exited;
      expect(accepted.peerCredentials().pid).toBe(child.pid);
      const gone = accepted.peer();
      expect([gone.pid, gone.alive, gone.executable, gone.arguments, gone.source]).toEqual([
        child.pid,
        false,
        null,
        null,
        hasPidfd ? source : "peercred", // XNU has no last user of its socket any more
      ]);
      gone.close();
    }),
  );

  peerTest("the client sees who listens", ["python3"], async () => {
    const path = freshPath();
    const child = python(
      `s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
print("listening", flush=True)
sys.stdin.readline()`,
      path,
    );
    await child.lineWith("listening");
    using socket = await connect(path);
    expect(socket.peerCredentials()).toEqual({ ...self, pid: child.pid });
    child.write("end\n");
    await child.exited;
  });

  const short = asOnMac("XNU tells 16 groups") ?? noLongOptions() ?? missing(["python3", "root"]);
  testUnless(short, "identity is as of connect time; groups come whole", async () => {
    const many = Array.from({ length: 100 }, (_, i) => i + 1); // more than fit at the first try
    using server = listen(freshPath());
    const path = (server.address as { path: string }).path;
    const child = python(
      `os.setgroups(range(1, 101))
os.setgid(77)
${client.replace("print(", "os.setuid(1234)\nprint(")}`,
      path,
    );
    using accepted = await server.accept();
    await child.lineWith("connected");
    expect(accepted.peerCredentials()).toEqual({ pid: child.pid, uid: 0, gid: 77 });
    expect([...accepted.peerGroups()].sort((a, b) => a - b)).toEqual(many);
    child.write("end\n");
    await child.exited;
  });

  const lacking =
    noPidfds() ?? olderThan("6.17", "the pidfd of a sender that is gone") ?? missing(["python3"]);
  testUnless(lacking, "a pidfd that came with a message outlives its sender", async () => {
    using receiver = openDatagram(freshAddress("abstract"), { passPidfd: true });
    const name = (receiver.localAddress as { name: Uint8Array }).name;
    const open = "socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)";
    const send = `${open}.sendto(b"x", "\\0" + sys.argv[1])`;
    const child = python(send, Buffer.from(name).toString());
    child.endInput();
    await child.exited;
    using message = must(await receiver.receive());
    expect(message.pidfd?.describe().kind).toBe("pidfd");
    expect(pidOf(message.pidfd!)).toBe(-1);
  });
});

describe("plain functions over sockets that Bun opened", () => {
  test("a Bun server asks its client's identity by the socket's number", async () => {
    const path = freshPath();
    const opened = Promise.withResolvers<number>();
    const server = Bun.listen({
      unix: path,
      socket: {
        open: (socket) => opened.resolve((socket as unknown as { fd: number }).fd),
        data: () => {},
      },
    });
    using socket = await connect(path);
    const fd = await opened.promise;
    expect(peerCredentials(fd)).toEqual(self);
    const peer = verifyPeer({ fd });
    expect([peer.pid, peer.source]).toEqual([process.pid, source]);
    if (peer.pidfd !== null) expect(pidOf(peer.pidfd)).toBe(process.pid);
    peer.close();
    socket.close();
    server.stop(true);
  });
});

describe("what is no connected socket", () => {
  test("a listener's identity is its own; unconnected sockets have none", async () => {
    using server = listen(freshPath());
    expect(peerCredentials(server)).toEqual(self);
    using lonely = openDatagram();
    expect(await codeOf(() => lonely.peerCredentials())).toBe("ENODATA");
    if (noPeerPidfd() === null) expect(await codeOf(() => peerPidfd(lonely))).toBe("ENODATA");
  });

  test("no socket is ENOTSOCK, a closed number EBADF, nonsense a TypeError", async () => {
    const linuxOnly = system === "linux" ? [peerPidfd, peerSecurity] : [];
    for (const ask of [peerCredentials, peerGroups, verifyPeer, ...linuxOnly]) {
      expect(await codeOf(() => ask(0))).toBe("ENOTSOCK");
      expect(await codeOf(() => ask(99_999))).toBe("EBADF");
      expect(() => ask("3" as unknown as number)).toThrow(TypeError);
      expect(() => ask(-1)).toThrow(RangeError);
    }
  });

  test("a kernel without an option is an UnsupportedError that names the capability", async () => {
    const sockets = socketPair("stream");
    const real = lastError.read;
    const error = await withLibc({ getsockopt: () => -1 }, () => {
      lastError.read = () => 92; // ENOPROTOOPT
      try {
        return peerPidfd(sockets[0]);
      } catch (thrown) {
        return thrown;
      } finally {
        lastError.read = real;
      }
    });
    expect(error).toBeInstanceOf(UnsupportedError);
    expect((error as UnsupportedError).capability).toBe("peerPidfd");
    closeAll(sockets);
  });
});

test("the autobound name that passCredentials gives a sender reaches the receiver", async () => {
  using receiver = openDatagram(freshPath(), { passCredentials: true });
  using sender = openDatagram(undefined, { passCredentials: true });
  const to = receiver.localAddress;
  await sender.send("x", { to });
  const message = must(receiver.tryReceive());
  expect(message.from?.kind).toBe("abstract");
  expect(message.from).toEqual(sender.localAddress);
  await eventually(() => message.credentials?.pid === process.pid, "the sender's pid");
});

// Descriptors that a manager passes to a program: what becomes of them, and what is refused. Each
// program is a process of its own, for only at its start can it be given descriptors.

import { describe, expect, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import { release } from "node:os";
import { connect, listen, openDatagram } from "../../src/index.ts";
import { type Outcome, type RunOptions, run, start, succeeded } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { noListeningOnFds, opensInheritable, testUnless } from "../support/unless.ts";
import { activated, program, runActivated } from "./managers.ts";
import { freshAddress, freshPath } from "./pairs.ts";
import { marked, must } from "./tools.ts";

/** Says what it was given, as JSON. */
const LOOK = `
import { inheritedFds, UnixError } from "@/src/index.ts";
import { isCloseOnExec, isOpen, markOf } from "@/test/api/tools.ts";
const listed = () => Object.keys(process.env).filter((name) => name.startsWith("LISTEN_")).sort();
const look = () => {
  try {
    return inheritedFds().map(({ name, fd, description: { kind, socket } }) => {
      return { name, fd: fd.fd, kind, socket, exec: isCloseOnExec(fd.fd) };
    });
  } catch (error) {
    if (!(error instanceof UnixError)) throw error;
    return { code: error.code, syscall: error.syscall, message: error.message };
  }
};
console.log(JSON.stringify({ first: look(), again: look(), left: listed(), open: isOpen(3) }));
`;

interface Seen {
  readonly name: string;
  readonly fd: number;
  readonly kind: string;
  readonly socket?: object;
  readonly exec: boolean;
}

interface Look {
  readonly first: Seen[] & { code?: string; syscall?: string; message?: string };
  readonly again: Look["first"];
  /** The variables that are left. */
  readonly left: string[];
  /** Whether descriptor 3 is open. */
  readonly open: boolean;
}

const said = (outcome: Outcome): unknown => JSON.parse(succeeded(outcome));
const look = async (options: RunOptions): Promise<Look> =>
  said(await runActivated(LOOK, options)) as Look;

describe("what was passed", () => {
  test("in order, by name, for what it is, close-on-exec; the variables are consumed", async () => {
    using stream = listen(freshPath());
    using packets = listen(freshAddress("abstract"), { type: "seqpacket" });
    using datagrams = openDatagram(freshPath());
    const tcp = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    const tcpFd = (tcp as unknown as { fd: number }).fd;
    using memory = marked("stored");
    const fds = [stream.fd, packets.fd, datagrams.fd, tcpFd, memory.fd];
    const names = "http:control:log:web:state";
    const { first, again, left } = await look({ fds, env: { LISTEN_FDNAMES: names } });
    tcp.stop(true);
    const unix = (type: string, listening: boolean): object => ({
      kind: "socket",
      socket: { family: "unix", type, listening },
      exec: true,
    });
    expect(first).toMatchObject([
      { name: "http", fd: 3, ...unix("stream", true) } as Seen,
      { name: "control", fd: 4, ...unix("seqpacket", true) } as Seen,
      { name: "log", fd: 5, ...unix("datagram", false) } as Seen,
      {
        name: "web",
        fd: 6,
        kind: "socket",
        socket: { family: "inet", type: "stream", listening: true },
        exec: true,
      },
      { name: "state", fd: 7, kind: "memfd", exec: true },
    ]);
    expect(again).toEqual(first);
    expect(left).toEqual([]);
  });

  test("without names each is unknown", async () => {
    using a = marked("a");
    const { first } = await look({ fds: [a.fd, a.fd] });
    expect(first.map(({ name }) => name)).toEqual(["unknown", "unknown"]);
  });

  test("two hundred", async () => {
    using a = marked("a");
    const { first } = await look({ fds: new Array(200).fill(a.fd) });
    expect(first.map(({ fd }) => fd)).toEqual(Array.from({ length: 200 }, (_, i) => i + 3));
  });

  test("the same objects each time, also those that were taken", async () => {
    using a = marked("a");
    using b = marked("b");
    const source = `
import { inheritedFds } from "@/src/index.ts";
const once = inheritedFds();
once[0].fd.close();
once.pop();
const again = inheritedFds();
console.log(JSON.stringify([again.length, again[0] === once[0], again.map((e) => e.fd.closed)]));`;
    expect(said(await runActivated(source, { fds: [a.fd, b.fd] }))).toEqual([
      2,
      true,
      [true, false],
    ]);
  });

  test("children do not take it for theirs", async () => {
    using a = marked("a");
    const source = `
import { inheritedFds } from "@/src/index.ts";
const count = inheritedFds().length;
const script = "import { inheritedFds } from '@/src/index.ts';" +
  "console.log(process.env.LISTEN_FDS ?? 'none', inheritedFds().length)";
const child = (options) => {
  return Bun.spawnSync([process.execPath, "-e", script], options).stdout.toString().trim();
};
const [passed, own] = [child({ env: process.env }), child({})];
console.log(JSON.stringify([count, passed, own.split(" ")[1]]));`;
    expect(said(await runActivated(source, { fds: [a.fd] }))).toEqual([1, "none 0", "0"]);
  });

  test("in a Worker they are refused, and the main thread still gets them", async () => {
    using a = marked("a");
    const source = `
import { inheritedFds, UnsupportedError } from "@/src/index.ts";
if (Bun.isMainThread) {
  const worker = new Worker(import.meta.url);
  const told = await new Promise((resolve) => (worker.onmessage = (event) => resolve(event.data)));
  worker.terminate();
  console.log(JSON.stringify([told, inheritedFds().length]));
} else {
  try {
    postMessage(inheritedFds().length);
  } catch (error) {
    postMessage([error instanceof UnsupportedError, error.capability]);
  }
}`;
    expect(said(await runActivated(source, { fds: [a.fd] }))).toEqual([[true, "inheritedFds"], 1]);
  });
});

describe("not for this process: nothing, and the variables stay", () => {
  const nothing: Readonly<Record<string, Readonly<Record<string, string | undefined>>>> = {
    "another process": { LISTEN_PID: "1" },
    "no process": { LISTEN_PID: undefined },
    "no process of this number": { LISTEN_PID: "99999999999999999999" },
  };
  for (const [name, env] of Object.entries(nothing)) {
    test(name, async () => {
      using a = marked("a");
      const options = { fds: [a.fd], env: { LISTEN_FDS: "1", ...env } };
      const { first, left, open } = said(await run(program(LOOK), options)) as Look;
      expect(first).toEqual([]);
      expect(left).toEqual(
        env["LISTEN_PID"] === undefined ? ["LISTEN_FDS"] : ["LISTEN_FDS", "LISTEN_PID"],
      );
      expect(open).toBe(true);
    });
  }

  test("a process but no number of descriptors", async () => {
    using a = marked("a");
    const { first, left } = await look({ fds: [a.fd], env: { LISTEN_FDS: undefined } });
    expect(first).toHaveLength(0);
    expect(left).toEqual(["LISTEN_PID"]);
  });
});

describe("under a wrapper", () => {
  for (const wrapper of [
    ["run", "start"],
    ["run", "--silent", "start"],
  ]) {
    test(`bun ${wrapper.join(" ")}: nothing, and a warning says why`, async () => {
      using dir = tempDir();
      const script = { scripts: { start: `${program(LOOK).join(" ")} && true` } };
      writeFileSync(dir.file("package.json"), JSON.stringify(script));
      using a = marked("a");
      const command = activated([process.execPath, ...wrapper]);
      const env = { LISTEN_FDS: "1" };
      const outcome = await run(command, { cwd: dir.path, fds: [a.fd], env });
      expect((said(outcome) as Look).first).toEqual([]);
      expect(outcome.stderr.match(/InheritedFdsWarning/g)).toHaveLength(1);
      expect(outcome.stderr).toMatch(/LISTEN_FDS=1 is for process \d+/);
      expect(outcome.stderr).toContain("ExecStart=bun server.ts");
    });
  }

  test("no descriptors, no warning", async () => {
    const env = { LISTEN_FDS: "0", LISTEN_PID: "1" };
    const { stderr } = await run(program(LOOK), { env });
    expect(stderr).toBe("");
  });
});

test("none at all, said in so many words", async () => {
  const { first, left } = await look({});
  expect(first).toHaveLength(0);
  expect(left).toEqual([]);
});

describe("nonsense is refused, and changes nothing", () => {
  const nonsense: readonly (readonly [env: Record<string, string>, saying: string])[] = [
    [{ LISTEN_FDS: "two" }, 'LISTEN_FDS is "two"'],
    [{ LISTEN_FDS: "" }, 'LISTEN_FDS is ""'],
    [{ LISTEN_FDS: "-1" }, 'LISTEN_FDS is "-1"'],
    [{ LISTEN_FDS: "1 " }, 'LISTEN_FDS is "1 "'],
    [{ LISTEN_FDNAMES: "a:b" }, "LISTEN_FDNAMES has 2"],
    [{ LISTEN_FDNAMES: "" }, "LISTEN_FDNAMES has 0"],
    [{ LISTEN_FDNAMES: "a:" }, "LISTEN_FDNAMES has 2"],
    [{ LISTEN_FDNAMES: "a\\" }, "lone backslash"],
    [{ LISTEN_PIDFDID: "x" }, 'LISTEN_PIDFDID is "x"'],
  ];
  test.each(nonsense)("%j", async (env, saying) => {
    using a = marked("a");
    const { first, again, left, open } = await look({ fds: [a.fd], env });
    expect([first.code, first.syscall]).toEqual(["EINVAL", "inheritedFds"]);
    expect(first.message).toContain(saying);
    expect(again).toEqual(first);
    expect(left).toEqual(Object.keys({ LISTEN_FDS: "", LISTEN_PID: "", ...env }).sort());
    expect(open).toBe(true);
  });

  test("a LISTEN_PID that is no number", async () => {
    using a = marked("a");
    const options = { fds: [a.fd], env: { LISTEN_FDS: "1", LISTEN_PID: "me" } };
    const { first } = said(await run(program(LOOK), options)) as Look;
    expect(first.code).toBe("EINVAL");
  });

  for (const count of ["2", "1000000", "99999999999999999999999"]) {
    const promised = `${count} promised, 1 passed: Bun's own are not taken for it`;
    testUnless(opensInheritable(), promised, async () => {
      using a = marked("a");
      const { first, again, open } = await look({ fds: [a.fd], env: { LISTEN_FDS: count } });
      expect(first.code).toBe("EBADF");
      expect(first.message).toContain("descriptor 4 was not passed");
      expect(again).toEqual(first);
      expect(open).toBe(true);
    });
  }

  testUnless(opensInheritable(), "promised, and none passed", async () => {
    const { first } = await look({ env: { LISTEN_FDS: "1" } });
    expect(first.message).toContain("descriptor 3 was not passed");
  });

  test("where close-on-exec cannot be set nothing is taken over", async () => {
    using a = marked("a");
    const source = `
import { file } from "@/native/file.ts";
import { inheritedFds } from "@/src/index.ts";
import { codeOf, isOpen } from "@/test/api/tools.ts";
import { libc } from "@/src/syscalls/libc.ts";
const real = libc.fcntl;
let failing = true;
libc.fcntl = (fd, command, value) => {
  return real(failing && command === file.F_SETFD ? -1 : fd, command, value);
};
const code = await codeOf(inheritedFds);
failing = false;
console.log(JSON.stringify([code, isOpen(3), inheritedFds().length]));`;
    expect(said(await runActivated(source, { fds: [a.fd] }))).toEqual(["EBADF", true, 1]);
  });
});

describe("LISTEN_PIDFDID", () => {
  /** Starts the rest of its arguments with the inode of its own pidfd, plus argv[1]. */
  const LAUNCHER = `
import os, sys
pidfd = os.pidfd_open(os.getpid())
os.environ["LISTEN_PIDFDID"] = str(os.fstat(pidfd).st_ino + int(sys.argv[1]))
os.environ["LISTEN_PID"] = str(os.getpid())
os.close(pidfd)
os.execvp(sys.argv[2], sys.argv[2:])`;
  const launched = async (offset: string): Promise<Look> => {
    using a = marked("a");
    const command = ["python3", "-c", LAUNCHER, offset, ...program(LOOK)];
    return said(await run(command, { fds: [a.fd], env: { LISTEN_FDS: "1" } })) as Look;
  };

  peerTest("of this process", ["python3"], async () => {
    const { first, left } = await launched("0");
    expect(first.map(({ fd }) => fd)).toEqual([3]);
    expect(left).toEqual([]);
  });

  peerTest("of another that had the same pid", ["python3"], async () => {
    const { first, left } = await launched("1");
    const source = `
import { ownPidfdInode } from "@/src/process/pidfd-inode.ts";
console.log(ownPidfdInode() !== null);`;
    const known = said(await run(program(source)));
    const [major = 0, minor = 0] = release().split(".").map(Number);
    if (major > 6 || (major === 6 && minor >= 9)) expect(known).toBe(true);
    expect(first).toHaveLength(known === true ? 0 : 1); // before Linux 6.9 nobody can tell
    if (known === true) expect(left).toEqual(["LISTEN_FDS", "LISTEN_PID", "LISTEN_PIDFDID"]);
  });
});

describe("what can be made of them", () => {
  test("a listener, which leaves the manager's file alone", async () => {
    const path = freshPath();
    using listener = listen(path);
    const source = `
import { adoptSocket, inheritedFds, Listener } from "@/src/index.ts";
const [entry] = inheritedFds();
using listener = adoptSocket(entry.fd);
if (!(listener instanceof Listener)) throw new Error("no listener");
using socket = await listener.accept();
await socket.send("from " + entry.name);`;
    const env = { LISTEN_FDS: "1", LISTEN_FDNAMES: "main" };
    await using child = start(activated(program(source)), { fds: [listener.fd], env });
    using client = await connect(path);
    expect(must(await client.receive()).text()).toBe("from main");
    succeeded(await child.exited);
    expect(existsSync(path)).toBe(true);
    using later = await connect(path); // the socket still listens, here
    expect(later.closed).toBe(false);
  });

  test("a datagram socket", async () => {
    const path = freshPath();
    using bound = openDatagram(path);
    const source = `
import { adoptSocket, DatagramSocket, inheritedFds } from "@/src/index.ts";
using socket = adoptSocket(inheritedFds()[0].fd);
if (!(socket instanceof DatagramSocket)) throw new Error("no datagram socket");
using message = await socket.receive();
console.log(message.text());`;
    using sender = openDatagram();
    await sender.send("here it is", { to: path });
    const outcome = await runActivated(source, { fds: [bound.fd] });
    expect(succeeded(outcome)).toBe("here it is\n");
  });

  testUnless(noListeningOnFds(), "Bun's own listener, for TCP and for a path", async () => {
    const path = freshPath();
    using unix = listen(path);
    const tcp = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    const source = `
import { inheritedFds } from "@/src/index.ts";
const servers = inheritedFds().map(({ name, fd }) => Bun.listen({
  fd: fd.release(),
  socket: { data: (socket) => void socket.end(name), close: () => ended() },
}));
let left = 2;
const ended = () => --left || servers.forEach((server) => server.stop(true));
console.log("ready");`;
    const fds = [(tcp as unknown as { fd: number }).fd, unix.fd];
    const env = { LISTEN_FDS: "2", LISTEN_FDNAMES: "tcp:unix" };
    await using child = start(activated(program(source)), { fds, env });
    await child.lineWith("ready");
    const { port } = tcp;
    tcp.stop(true); // this process's end of it
    // They are asked first: Bun.connect fails where the server ends before it has looked.
    const { promise, resolve } = Promise.withResolvers<string>();
    const asking = {
      open: (socket: { write(text: string): unknown }) => void socket.write("?"),
      data: (_: unknown, bytes: Buffer) => resolve(bytes.toString()),
    };
    await Bun.connect({ hostname: "127.0.0.1", port, socket: asking });
    expect(await promise).toBe("tcp");
    using client = await connect(path);
    await client.send("?");
    expect(must(await client.receive()).text()).toBe("unix");
    succeeded(await child.exited);
  });
});

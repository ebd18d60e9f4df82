// systemd's own tools and library, and a manager in Python: they start what is written with this
// library, hear what it says, and see what it sees.

import { describe, expect } from "bun:test";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { resolve } from "node:path";
import { connect, openDatagram, type SocketType } from "../../src/index.ts";
import { activated, manager, program } from "../api/managers.ts";
import { freshAddress, freshPath } from "../api/pairs.ts";
import { marked, must } from "../api/tools.ts";
import { type Child, root, run, start, succeeded } from "../support/child.ts";
import { compileC, missing, peerTest } from "../support/peers.ts";
import { noListeningOnFds, opensInheritable, testUnless } from "../support/unless.ts";

const SERVER = resolve(root, "test/fixtures/activation-server.ts");
const waker = process.env["BUNIX_WAKER"];

/** systemd-socket-activate, which says on its standard error when it is ready. */
function activator(options: readonly string[], command = [process.execPath, SERVER]): Child {
  const environment = waker === undefined ? [] : ["-E", `BUNIX_WAKER=${waker}`];
  const words = [...options, ...environment, "-E", `NOTIFY_SOCKET=${notified()}`, ...command];
  return start(["sh", "-c", 'exec systemd-socket-activate "$@" 2>&1', "sh", ...words]);
}

const notified = (): string => process.env["NOTIFY_SOCKET"] ?? "";

/** A port that nobody listens on, most probably. */
async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as { port: number };
  await new Promise((done) => server.close(done));
  return port;
}

const TRIES = 5;

/** One that listens on a free port as well. Another may take the port first: then once more. */
async function onPort(
  options: (port: number) => readonly string[],
  command?: string[],
): Promise<{ child: Child; port: number }> {
  for (let left = TRIES; ; left--) {
    const port = await freePort();
    const child = activator(options(port), command);
    let expected = options(port).filter((word) => word === "-l").length;
    for (let line = await child.line(); line !== null; line = await child.line()) {
      if (line.startsWith("Listening on")) expected -= 1;
      if (expected === 0) return { child, port };
    }
    const { stdout } = await child.exited;
    if (left === 0 || !stdout.includes("in use")) throw new Error(stdout);
  }
}

const tool = ["systemd-socket-activate"];

/** Ask once over a Unix socket. */
async function ask(address: string, type: SocketType, question: string): Promise<string> {
  const socket =
    type === "datagram"
      ? openDatagram({ autobind: true }, { connect: address })
      : await connect(address, { type });
  using open = socket;
  await open.send(question);
  using answer = must(await open.receive());
  return answer.text();
}

const get = async (port: number, path: string): Promise<string> =>
  await (await fetch(`http://127.0.0.1:${port}/${path}`)).text();

describe("systemd-socket-activate starts a server", () => {
  const kinds: readonly (readonly [SocketType, flags: string[]])[] = [
    ["stream", []],
    ["seqpacket", ["--seqpacket"]],
    ["datagram", ["-d"]],
  ];
  for (const [type, flags] of kinds) {
    for (const route of ["path", "abstract"] as const) {
      peerTest(`${type}, ${route}`, tool, async () => {
        using status = manager();
        const address = freshAddress(route);
        await using child = activator([...flags, "-l", address]);
        await child.lineWith("Listening on");
        expect(await ask(address, type, "hello")).toBe("unknown: hello");
        const listening = type === "datagram" ? "talking" : "listening";
        await child.lineWith(`got unknown unix ${type} ${listening}`);
        using told = must(await status.receive());
        expect(told.text()).toBe("READY=1\nSTATUS=serving 1");
        expect(told.credentials?.pid).toBe(child.pid);
        expect(await ask(address, type, "quit")).toBe("unknown: quit");
        succeeded(await child.exited);
        if (route === "path") expect(existsSync(address)).toBe(true); // it is the manager's
      });
    }
  }

  testUnless(noListeningOnFds() ?? missing(tool), "HTTP over TCP", async () => {
    using _status = manager();
    const { child, port } = await onPort((port) => ["-l", `127.0.0.1:${port}`]);
    await using _child = child;
    expect(await get(port, "hello")).toBe("unknown: hello");
    await child.lineWith("got unknown inet stream listening");
    expect(await get(port, "again")).toBe("unknown: again");
    expect(await get(port, "quit")).toBe("unknown: quit");
    succeeded(await child.exited);
  });

  peerTest("Bun.serve, on TCP and on a path", tool, async () => {
    using _status = manager();
    const path = freshPath();
    const source = `
import { serveOn, inheritedFds } from "@/src/index.ts";
for (const { name, fd } of inheritedFds()) serveOn(fd, (where) => Bun.serve({
  ...where,
  fetch: (request) => new Response(name + " " + new URL(request.url).pathname),
}));`;
    const names = ["--fdname=web:local", "-l"];
    const { child, port } = await onPort(
      (port) => [...names, `127.0.0.1:${port}`, "-l", path],
      program(source),
    );
    await using _child = child;
    expect(await get(port, "hello")).toBe("web /hello");
    const local = await fetch("http://local/there", { unix: path, keepalive: false });
    expect(await local.text()).toBe("local /there");
    child.kill();
    await child.exited;
    expect(existsSync(path)).toBe(true);
  });

  testUnless(noListeningOnFds() ?? missing(tool), "several sockets, by name", async () => {
    using _status = manager();
    const [path, name] = [freshPath(), freshAddress("abstract")];
    const { child, port } = await onPort((port) => {
      const addresses = [path, name, `127.0.0.1:${port}`].flatMap((one) => ["-l", one]);
      return ["--fdname=control:metrics:web", ...addresses];
    });
    await using _child = child;
    expect(await ask(name, "stream", "1")).toBe("metrics: 1");
    expect(await ask(path, "stream", "2")).toBe("control: 2");
    expect(await get(port, "3")).toBe("web: 3");
    expect(await ask(path, "stream", "quit")).toBe("control: quit");
    const { stdout } = await child.exited;
    expect(stdout.match(/^got .*$/gm)).toEqual([
      "got control unix stream listening",
      "got metrics unix stream listening",
      "got web inet stream listening",
    ]);
  });

  peerTest("one for each connection (--accept)", tool, async () => {
    using status = manager();
    const address = freshPath();
    await using child = activator(["--accept", "--fdname=conn", "-l", address]);
    await child.lineWith("Listening on");
    const pids = new Set<number | null | undefined>();
    for (const question of ["one", "two"]) {
      expect(await ask(address, "stream", question)).toBe(`conn: ${question}`);
      await child.lineWith("got conn unix stream talking");
      using told = must(await status.receive());
      pids.add(told.credentials?.pid);
    }
    expect(pids.size).toBe(2);
    expect(pids.has(child.pid)).toBe(false);
  });

  peerTest("one for each connection, as standard input (--inetd)", tool, async () => {
    using _status = manager();
    const address = freshPath();
    const source = `
import { adoptSocket, inheritedFds } from "@/src/index.ts";
using socket = adoptSocket(0);
using message = await socket.receive();
await socket.send(inheritedFds().length + " " + message.text());`;
    await using child = activator(["--accept", "--inetd", "-l", address], program(source));
    await child.lineWith("Listening on");
    expect(await ask(address, "stream", "hello")).toBe("0 hello");
    expect(await ask(address, "stream", "again")).toBe("0 again");
  });
});

/** The program in C that asks libsystemd. */
const library = (...words: string[]): string[] => [
  compileC("test/fixtures/activation-peer.c", ["-l:libsystemd.so.0"]),
  ...words,
];
const withLibrary = ["systemd-socket-activate", "cc"];

describe("libsystemd sees the same", () => {
  const cases: readonly Readonly<Record<string, string | undefined>>[] = [
    {},
    { LISTEN_FDNAMES: "a:b" },
    { LISTEN_FDNAMES: ":" },
    { LISTEN_FDNAMES: "a:" },
    { LISTEN_FDNAMES: "a\\:b:c" },
    { LISTEN_FDNAMES: "a\\\\b:c\\x41" },
    { LISTEN_FDNAMES: '"a b": \'c' },
    { LISTEN_FDNAMES: "ä:b" },
    { LISTEN_FDNAMES: "" },
    { LISTEN_FDNAMES: "a" },
    { LISTEN_FDNAMES: "a:b:" },
    { LISTEN_FDNAMES: "a:b\\" },
    { LISTEN_FDS: "3" },
    { LISTEN_FDS: "2x" },
    { LISTEN_FDS: "-1" },
    { LISTEN_FDS: undefined },
  ];
  const source = `
import { errno } from "@/native/errno.ts";
import { inheritedFds } from "@/src/index.ts";
const is = (socket, type, listening) => {
  return socket?.family === "unix" && socket.type === type && socket.listening === listening;
};
try {
  const entries = inheritedFds();
  console.log(entries.length);
  for (const { name, description: { socket } } of entries) {
    const facts = [is(socket, "stream", true), is(socket, "datagram", false)];
    console.log(facts.map(Number).join("") + name);
  }
} catch (error) {
  console.log(error.errno);
}`;
  for (const env of cases) {
    // more than were passed: Bun 1.3 has descriptors of its own there
    const reason = env["LISTEN_FDS"] === undefined ? null : opensInheritable();
    testUnless(reason ?? missing(withLibrary), JSON.stringify(env), async () => {
      using a = openDatagram(freshPath());
      using b = marked("b");
      const options = { fds: [a.fd, b.fd], env: { LISTEN_FDS: "2", ...env } };
      const theirs = await run(activated(library("listen")), options);
      const ours = await run(activated(program(source)), options);
      expect(succeeded(ours)).toBe(succeeded(theirs));
    });
  }

  const watched: readonly Readonly<Record<string, string>>[] = [
    { WATCHDOG_USEC: "3000000" },
    { WATCHDOG_USEC: "1", WATCHDOG_PID: "1" },
    { WATCHDOG_USEC: "0" },
    { WATCHDOG_USEC: "18446744073709551615" },
    { WATCHDOG_USEC: "x" },
    { WATCHDOG_USEC: "1", WATCHDOG_PID: "x" },
    {},
  ];
  const asking = `
import { watchdog } from "@/src/index.ts";
try {
  const dog = watchdog();
  console.log(dog ? 1 : 0, dog ? dog.timeoutMs * 1000 : 0);
} catch (error) {
  console.log(error.errno, 0);
}`;
  for (const env of watched) {
    peerTest(JSON.stringify(env), withLibrary, async () => {
      const theirs = await run(library("watchdog"), { env });
      expect(succeeded(await run(program(asking), { env }))).toBe(succeeded(theirs));
    });
  }
});

// Servers that are not ours: none is ever disturbed, and the error says who they are.

import { describe, expect, test } from "bun:test";
import { lstatSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { socket as numbers } from "../../native/socket.ts";
import { AddressInUseError } from "../../src/bind/in-use.ts";
import { connectSync, type ListenOptions, type SocketType } from "../../src/index.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { eventually, thrown, withLibc } from "../api/tools.ts";
import { type Child, run, start } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { type TempDir, tempDir } from "../support/tmp.ts";
import { leaveStale, open, types, visit } from "./crew.ts";

/** What lstat must say the same before and after. */
function identity(path: string): string {
  const { dev, ino, mode, uid, gid, ctimeMs } = lstatSync(path);
  return [dev, ino, mode, uid, gid, ctimeMs].join(" ");
}

/** Every type, with every permission that there is to go on: what is live stays. */
const attempts: readonly ListenOptions[] = [{}, { takeOver: true }, { mode: 0o600, owner: {} }];

async function refusal(
  path: string,
  type: SocketType,
  options?: ListenOptions,
): Promise<AddressInUseError> {
  const error = await thrown(() => open(path, type, options));
  if (!(error instanceof AddressInUseError)) throw error;
  expect([error.code, error.syscall, error.path]).toEqual(["EADDRINUSE", "bind", path]);
  return error;
}

interface Named {
  readonly pid: number;
  readonly command: string;
}

/** Try all that may be tried on a live server at `path`: each says who is there, none hurts. */
async function provoke(path: string, { pid, command }: Named): Promise<void> {
  const before = identity(path);
  for (const type of types) {
    for (const options of attempts) {
      const error = await refusal(path, type, options);
      expect(error.message).toContain(`process ${pid} (${command})`);
      expect(error.holders.map((one) => one.pid)).toContain(pid);
    }
  }
  expect(identity(path)).toBe(before);
}

/** Ask where sock_diag is refused: what a connection cannot tell, /proc does. */
async function provokeBlind(path: string, type: SocketType): Promise<void> {
  const before = identity(path);
  const real = libc.socket;
  const NO_SUCH_FAMILY = 9_999;
  const socket = (family: number, kind: number, protocol: number): number =>
    real(family === numbers.AF_NETLINK ? NO_SUCH_FAMILY : family, kind, protocol);
  await withLibc({ socket: socket as typeof libc.socket }, () => refusal(path, type));
  expect(identity(path)).toBe(before);
}

const peer = "test/fixtures/exclusive-peer.py";

async function python(type: SocketType, path: string, how: string): Promise<Child> {
  const child = start(["python3", peer, type, path, how]);
  await child.lineWith("ready");
  return child;
}

async function ask(child: Child, command: string): Promise<string | null> {
  child.write(`${command}\n`);
  return child.line();
}

/** It still serves whoever comes. */
async function serves(child: Child, path: string, type: SocketType): Promise<void> {
  expect(await ask(child, "serve")).toBe("serving");
  if (type === "datagram") {
    visit(path, type);
    expect(await child.line()).toBe("visit");
    return;
  }
  using client = connectSync(path, { type });
  expect(Buffer.from(client.receiveSync()?.data ?? "").toString()).toBe("served");
  expect(await child.line()).toBe("done");
}

describe("a server in Python", () => {
  const states = ["listen", "bound", "full", "stopped"] as const;
  for (const type of types) {
    for (const state of states) {
      if (type === "datagram" && (state === "listen" || state === "full")) continue;
      peerTest(`${type}, ${state}`, ["python3"], async () => {
        using dir = tempDir();
        const path = dir.file("s");
        await using child = await python(type, path, state === "stopped" ? "listen" : state);
        if (state === "stopped") child.kill("SIGSTOP");
        await provoke(path, { pid: child.pid, command: "python3" });
        if (state !== "full") await provokeBlind(path, type);
        child.kill("SIGCONT");
        const own = state === "full" ? 1 : 0; // what fitted into the backlog
        expect(Number(await ask(child, "visits"))).toBe(own);
        await serves(child, path, type);
        child.write("stop\n");
        expect((await child.exited).code).toBe(0);
        using server = open(path, type); // it left its file, which is stale now
        expect(lstatSync(path).isSocket()).toBe(true);
        server.close();
      });
    }
  }
});

const commandOf = (pid: number): string => readFileSync(`/proc/${pid}/comm`, "utf8").trimEnd();

describe("systemd-socket-activate", () => {
  const flags = { stream: [], seqpacket: ["--seqpacket"], datagram: ["--datagram"] };
  for (const type of types) {
    peerTest(type, ["systemd-socket-activate"], async () => {
      using dir = tempDir();
      const path = dir.file("s");
      const activate = ["systemd-socket-activate", ...flags[type], "-l", path, "sleep", "60"];
      await using child = start(["sh", "-c", 'exec "$@" 2>&1', "sh", ...activate]);
      await child.lineWith("Listening on"); // it touches the file between listen and this
      const command = "systemd-socket-"; // 15 bytes of it
      await provoke(path, { pid: child.pid, command });
      expect(commandOf(child.pid)).toBe(command); // a visit would have started its program
      visit(path, type);
      await eventually(() => commandOf(child.pid) === "sleep", "its program starts");
      await provoke(path, { pid: child.pid, command: "sleep" });
    });
  }
});

const isHeld = async (path: string): Promise<boolean> =>
  (await run(["ss", "-xlH"])).stdout.includes(` ${path} `);

function nginxConfiguration(dir: TempDir): string {
  const file = dir.file("nginx.conf");
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
  writeFileSync(
    file,
    `daemon off; pid ${dir.file("pid")}; error_log stderr; worker_processes 2; user root;
events {}
http {
  access_log off;
  ${temporary.map((one) => `${one}_temp_path ${dir.path};`).join(" ")}
  server { listen unix:${dir.file("s")}; location / { return 200 "still here"; } }
}`,
  );
  return file;
}

peerTest("nginx", ["nginx", "root", "ss"], async () => {
  using dir = tempDir();
  const path = dir.file("s");
  await using child = start(["nginx", "-c", nginxConfiguration(dir), "-e", "stderr"]);
  await eventually(() => isHeld(path), "it listens");
  await provoke(path, { pid: child.pid, command: "nginx" });
  const answer = await fetch("http://nginx/", { unix: path });
  expect(await answer.text()).toBe("still here");
  child.kill("SIGQUIT");
  await child.exited;
});

describe("what is no socket", () => {
  const makers: Readonly<Record<string, (path: string) => unknown>> = {
    "a regular file": (path) => writeFileSync(path, "precious"),
    "a directory": (path) => mkdirSync(path),
    "a FIFO": (path) => Bun.spawnSync(["mkfifo", path]),
    "a symbolic link": (path) => {
      leaveStale(`${path}2`);
      symlinkSync(`${path}2`, path);
    },
  };
  for (const [found, make] of Object.entries(makers)) {
    test(`${found} is told and left alone`, async () => {
      using dir = tempDir();
      const path = dir.file("s");
      make(path);
      const before = identity(path);
      for (const type of types) {
        for (const options of [...attempts, { replace: true }]) {
          const error = await refusal(path, type, options);
          expect(error.message).toContain(`there is ${found} of this name`);
          expect(error.found).toMatchObject({ state: "not-a-socket", found });
        }
      }
      expect(identity(path)).toBe(before);
      if (found === "a regular file") expect(readFileSync(path, "utf8")).toBe("precious");
    });
  }

  test("a link to nowhere, to a live socket, to a file: not followed", async () => {
    using dir = tempDir();
    const path = dir.file("link");
    using _server = open(dir.file("s"), "stream");
    for (const target of ["nowhere", "s", "/dev/null"]) {
      symlinkSync(target, path);
      const before = [identity(path), identity(dir.file("s"))];
      for (const options of [...attempts, { replace: true }]) {
        const error = await refusal(path, "stream", options);
        expect(error.message).toContain("a symbolic link");
      }
      expect([identity(path), identity(dir.file("s"))]).toEqual(before);
      await run(["rm", path]);
    }
  });
});

test("a live socket of another type: both types are told", async () => {
  using dir = tempDir();
  using _server = open(dir.file("s"), "seqpacket");
  const error = await refusal(dir.file("s"), "stream");
  expect(error.found).toMatchObject({ state: "wrong-type", type: "seqpacket" });
  expect(error.message).toContain("with a seqpacket socket");
});

test("a stale socket of another type is taken over", () => {
  using dir = tempDir();
  for (const left of types) {
    for (const type of types) {
      leaveStale(dir.file("s"), left);
      open(dir.file("s"), type).close();
    }
  }
});

test("sources of a connection that lives on do not hold the name", async () => {
  using dir = tempDir();
  using listener = open(dir.file("s"), "stream", { unlinkOnClose: false });
  using client = connectSync(dir.file("s"));
  if (!("acceptSync" in listener)) throw new Error("no listener");
  using accepted = listener.acceptSync();
  listener.close();
  using again = open(dir.file("s"), "stream");
  expect([client.closed, accepted.closed, again.closed]).toEqual([false, false, false]);
});

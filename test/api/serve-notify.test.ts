// serveNotify: whose word counts, readiness, the watchdog, stored descriptors, and what is ignored.

import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import {
  formatAddress,
  type NotifyServer,
  openDatagram,
  pipe,
  type ServiceNotice,
  type ServiceOptions,
  serveNotify,
} from "../../src/index.ts";
import { start } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { program } from "./managers.ts";
import { closeAll, codeOf, eventually, leakFree, marked, markOf, thrown } from "./tools.ts";

/** This very process says something to it, as if it were a child. */
async function say(server: NotifyServer, text: string | Uint8Array, fds: number[] = []) {
  using socket = openDatagram();
  await socket.send(text, { to: server.address, fds });
}

/** A service that is this process, and what it has said. */
function own(server: NotifyServer, options: ServiceOptions = {}) {
  const notices: ServiceNotice[] = [];
  const onNotice = (notice: ServiceNotice): void => void notices.push(notice);
  const service = server.service(process.pid, { onNotice, ...options });
  return { service, notices };
}

test("state, status and readiness, in the order they come; who said it", () =>
  leakFree(async () => {
    using server = serveNotify();
    expect(server.environment()).toEqual({ NOTIFY_SOCKET: formatAddress(server.address) });
    expect(server.environment({ watchdogMs: 250 })["WATCHDOG_USEC"]).toBe("250000");
    const { service, notices } = own(server);
    expect([service.state, service.status]).toEqual(["starting", null]);
    const ready = service.ready();
    await say(server, "STATUS=half\nnonsense\n=x\nX_OWN=a=b");
    await say(server, "READY=1\nSTATUS=up");
    await ready;
    await service.ready();
    expect([service.state, service.status, notices.length]).toEqual(["ready", "up", 2]);
    const { variables, credentials } = notices[0]!;
    expect({ ...variables }).toEqual({ STATUS: "half", X_OWN: "a=b" });
    expect(credentials).toMatchObject({ pid: process.pid, uid: process.geteuid!() });
    for (const [text, state] of [
      ["RELOADING=1", "reloading"],
      ["READY=1", "ready"],
      ["STOPPING=1", "stopping"],
    ] as const) {
      await say(server, text);
      await eventually(() => service.state === state, state);
    }
    service.close();
  }));

test("others are not listened to, nor is what managers ignore; descriptors are closed", () =>
  leakFree(async () => {
    using server = serveNotify();
    using file = marked("file");
    const stranger = server.service(1);
    await say(server, "READY=1", [file.fd]);
    const { service } = own(server);
    await say(server, `STATUS=${"x".repeat(5000)}`);
    await say(server, "READY=1\0");
    await say(server, new Uint8Array());
    await say(server, "BARRIER=1", [file.fd]);
    await say(server, "STATUS=last");
    await eventually(() => service.status === "last", "the last message");
    expect([service.state, stranger.state, server.refused]).toEqual(["starting", "starting", 3]);
    closeAll([service, stranger]);
  }));

test("a barrier is passed only when all before it has been dealt with", () =>
  leakFree(async () => {
    using server = serveNotify();
    const { service } = own(server);
    const { read, write } = pipe();
    await say(server, "STATUS=before");
    await say(server, "BARRIER=1", [write.fd]);
    write.close();
    const { waitReadable } = await import("../../src/index.ts");
    expect((await waitReadable(read)).ended).toBe(true);
    expect(service.status).toBe("before");
    closeAll([service, read]);
  }));

describe("stored descriptors", () => {
  test("so many, by name, in their order; removed by name; those that hang up go", () =>
    leakFree(async () => {
      using server = serveNotify();
      const { service, notices } = own(server, { maxStoredFds: 5 });
      const files = ["a", "b", "c", "d"].map(marked);
      const { read, write } = pipe();
      const { read: other, write: end } = pipe();
      await say(server, "FDSTORE=1\nFDNAME=one", [files[0]!.fd, files[1]!.fd]);
      await say(server, "FDSTORE=1\nFDNAME=two", [files[2]!.fd]);
      await say(server, "FDSTORE=1\nFDNAME=no:name", [read.fd]);
      await say(server, "FDSTORE=1\nFDPOLL=0\nFDNAME=kept", [other.fd, files[3]!.fd]);
      await say(server, "FDSTOREREMOVE=1\nFDNAME=two");
      await eventually(() => notices.length === 5, "five messages");
      expect(service.storedNames).toEqual(["one", "one", "stored", "kept"]);
      closeAll([write, end, read, other, ...files]);
      const taken = service.takeFds();
      expect(taken.map(({ name }) => name)).toEqual(["one", "one", "kept"]);
      expect(taken.slice(0, 2).map(({ fd }) => markOf(fd))).toEqual(["a", "b"]);
      expect([service.storedNames, service.takeFds()]).toEqual([[], []]);
      closeAll(taken.map(({ fd }) => fd));
      service.close();
    }));

  test("none by default; they stay when the process has exited, and go with close()", () =>
    leakFree(async () => {
      using server = serveNotify();
      using file = marked("a");
      const [none, exited] = [own(server), Promise.withResolvers<void>()];
      await say(server, "FDSTORE=1", [file.fd]);
      await eventually(() => none.notices.length === 1, "a message");
      expect(none.service.storedNames).toEqual([]);
      none.service.close();
      const { service, notices } = own(server, { maxStoredFds: 1, exited: exited.promise });
      await say(server, "FDSTORE=1\nFDNAME=n", [file.fd, file.fd]);
      await eventually(() => notices.length === 1, "a message");
      const ready = codeOf(() => service.ready());
      exited.resolve();
      expect(await ready).toBe("ERR_CLOSED");
      expect([service.ended, service.closed, service.storedNames]).toEqual([true, false, ["n"]]);
      await say(server, "READY=1");
      await eventually(() => server.refused === 1, "a message of nobody");
      service.close();
      service.close();
      expect([service.closed, service.storedNames]).toEqual([true, []]);
    }));
});

describe("the watchdog", () => {
  test("begins when it is ready; a sign of life puts it off, silence is told once", async () => {
    using server = serveNotify();
    const missed: number[] = [];
    const onWatchdog = ({ pid }: { pid: number }): void => void missed.push(pid);
    const { service, notices } = own(server, { watchdogMs: 20, onWatchdog });
    await Bun.sleep(40);
    expect(missed).toEqual([]);
    await say(server, "READY=1\nWATCHDOG_USEC=60000000");
    await say(server, "WATCHDOG=1");
    await eventually(() => notices.length === 2, "a sign of life");
    await Bun.sleep(40);
    expect(missed).toEqual([]); // it asked for a minute
    await say(server, "WATCHDOG_USEC=1000");
    await eventually(() => missed.length > 0, "silence");
    await say(server, "WATCHDOG=trigger");
    await eventually(() => notices.length === 4, "a trigger");
    expect(missed).toEqual([process.pid]);
    service.close();
  });

  test("a trigger is the same as silence", async () => {
    using server = serveNotify();
    const told = Promise.withResolvers<void>();
    const { service } = own(server, { onWatchdog: () => told.resolve() });
    await say(server, "WATCHDOG=trigger");
    await told.promise;
    service.close();
  });
});

test("descendants count with access: all, and only they; MAINPID names one of them", async () => {
  using server = serveNotify();
  const env = { ...process.env, NOTIFY_SOCKET: formatAddress(server.address) };
  const source = `import { notify } from "@/src/index.ts";
const mainPid = Number(process.argv[2] ?? process.pid);
await notify({ status: "child", mainPid }, { barrier: true });`;
  const script = program(source);
  const { service } = own(server); // "main"
  expect(await Bun.spawn(script, { env }).exited).toBe(0);
  expect([service.status, server.refused]).toEqual([null, 2]); // and its barrier
  service.close();
  const all = own(server, { access: "all" }).service;
  const child = Bun.spawn(["sh", "-c", '"$@"; exit $?', "sh", ...script], { env });
  expect(await child.exited).toBe(0);
  expect(all.status).toBe("child");
  expect(all.pid).not.toBe(process.pid);
  all.close();
  const again = own(server, { access: "all" }).service;
  expect(await Bun.spawn([...script, "1"], { env }).exited).toBe(0);
  expect([again.status, again.pid]).toEqual(["child", process.pid]); // 1 is none of its own
  again.close();
});

test("ready ends with a signal, with close, and with the server", () =>
  leakFree(async () => {
    const server = serveNotify();
    const { service } = own(server);
    const stop = new AbortController();
    const waits = thrown(() => service.ready({ signal: stop.signal }));
    stop.abort("enough");
    expect(await waits).toBe("enough");
    expect(await thrown(() => service.ready({ signal: stop.signal }))).toBe("enough");
    const late = codeOf(() => service.ready());
    server.close();
    server.close();
    expect([await late, server.closed, server.fd, service.closed]).toEqual([
      "ERR_CLOSED",
      true,
      -1,
      true,
    ]);
    expect(await codeOf(() => server.service(1))).toBe("ERR_CLOSED");
    expect(await codeOf(() => service.ready())).toBe("ERR_CLOSED");
  }));

test("at a path, with its mode; it goes with the server, which may be unreferenced", async () => {
  using dir = tempDir();
  const server = serveNotify({ address: dir.file("n"), mode: 0o600 })
    .unref()
    .ref();
  expect(server.environment()).toEqual({ NOTIFY_SOCKET: dir.file("n") });
  server.close();
  expect(existsSync(dir.file("n"))).toBe(false);
});

test("what makes no sense is refused", async () => {
  using server = serveNotify();
  const wrong: readonly (readonly [name: string, call: () => unknown])[] = [
    ["TypeError", () => serveNotify({ address: "relative" })],
    ["TypeError", () => serveNotify({ address: { abstract: "\0x" } })],
    ["RangeError", () => serveNotify({ address: `/${"x".repeat(200)}` })],
    ["TypeError", () => serveNotify({ onError: 1 as never })],
    ["RangeError", () => server.service(0)],
    ["TypeError", () => server.service("1" as never)],
    ["RangeError", () => server.service(1, { access: "exec" as never })],
    ["RangeError", () => server.service(1, { watchdogMs: 0 })],
    ["RangeError", () => server.service(1, { maxStoredFds: -1 })],
    ["TypeError", () => server.service(1, { onWatchdog: 1 as never })],
    ["RangeError", () => server.environment({ watchdogMs: -1 })],
  ];
  for (const [name, call] of wrong) expect(((await thrown(call)) as Error).name).toBe(name);
});

test("what a callback throws is told, and the next message comes", async () => {
  const errors: unknown[] = [];
  using server = serveNotify({ onError: (error) => errors.push(error) });
  const { service } = own(server, {
    onNotice: () => {
      throw new Error("of the callback");
    },
  });
  await say(server, "STATUS=1");
  await say(server, "READY=1");
  await service.ready();
  expect(errors.map(String)).toEqual(["Error: of the callback", "Error: of the callback"]);
  service.close();
});

peerTest(
  "a process of another user cannot speak for a service",
  ["root", "setpriv", "python3"],
  async () => {
    using server = serveNotify();
    const { service } = own(server);
    const name = JSON.stringify(formatAddress(server.address).slice(1));
    const code = `import os, socket, struct
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
to = "\\0" + ${name}
for pid in (${process.pid}, os.getpid()):
    try:
        c = (socket.SOL_SOCKET, 2, struct.pack("3i", pid, os.getuid(), os.getgid()))
        s.sendmsg([b"READY=1"], [c], 0, to)
        print("sent", flush=True)
    except OSError as e:
        print(e.errno, flush=True)`;
    const user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    await using child = start([...user, "/usr/bin/python3", "-c", code]);
    expect((await child.exited).stdout).toBe("1\nsent\n"); // EPERM for another's pid
    await eventually(() => server.refused === 1, "the message of another");
    expect(service.state).toBe("starting");
    service.close();
  },
);

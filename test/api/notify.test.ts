// What a service tells its manager, line by line; this process plays both.

import { describe, expect, test } from "bun:test";
import { fstatSync, mkdirSync, readFileSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { option } from "../../native/socket.ts";
import {
  type Message,
  type NotifyOptions,
  type NotifyState,
  notify,
  openDatagram,
  ProcessHandle,
  UnixError,
  UnsupportedError,
} from "../../src/index.ts";
import { monotonicNanoseconds } from "../../src/syscalls/clock.ts";
import { setOption } from "../../src/syscalls/socket.ts";
import { fake } from "../support/seam.ts";
import { cleanEnvironment, here, manager, next } from "./managers.ts";
import { freshAddress, freshPath } from "./pairs.ts";
import { codeOf, leakFree, must, thrown, turns } from "./tools.ts";

cleanEnvironment();

describe("without a manager", () => {
  test.each([[undefined], [""]])("NOTIFY_SOCKET is %j: false", async (value) => {
    if (value !== undefined) process.env["NOTIFY_SOCKET"] = value;
    expect(await notify({ ready: true })).toBe(false);
    expect(await notify({}, { barrier: true, fds: [0] })).toBe(false);
  });

  test("mistakes are told all the same", async () => {
    expect(() => notify({ status: "a\nb" })).toThrow(RangeError);
  });
});

describe("the state", () => {
  const states: readonly (readonly [NotifyState, string[]])[] = [
    [{ ready: true }, ["READY=1"]],
    [{ stopping: true, ready: false }, ["STOPPING=1"]],
    [{ status: "66 % – gefüllt = ja" }, ["STATUS=66 % – gefüllt = ja"]],
    [{ status: "" }, ["STATUS="]],
    [{ mainPid: 4711 }, ["MAINPID=4711"]],
    [
      { errno: 2, busError: "org.x.Error", varlinkError: "org.y" },
      ["ERRNO=2", "BUSERROR=org.x.Error", "VARLINKERROR=org.y"],
    ],
    [{ exitStatus: 0 }, ["EXIT_STATUS=0"]],
    [{ watchdog: true }, ["WATCHDOG=1"]],
    [{ watchdog: "trigger" }, ["WATCHDOG=trigger"]],
    [
      { watchdogTimeoutMs: 20_000, extendTimeoutMs: 0.5 },
      ["WATCHDOG_USEC=20000000", "EXTEND_TIMEOUT_USEC=500"],
    ],
    [{ notifyAccess: "all", restartReset: true }, ["NOTIFYACCESS=all", "RESTART_RESET=1"]],
    [{ variables: { X_A: "b=c", X_N: 7 } }, ["X_A=b=c", "X_N=7"]],
    [{ ready: true, status: "up", watchdog: true }, ["READY=1", "STATUS=up", "WATCHDOG=1"]],
  ];
  test.each(states)("%j", async (state, lines) => {
    using socket = manager();
    expect(await notify(state)).toBe(true);
    expect(await next(socket)).toEqual({ lines, marks: [] });
  });

  test("a reload comes with the time, in microseconds of CLOCK_MONOTONIC", async () => {
    using socket = manager();
    const before = monotonicNanoseconds() / 1000n;
    await notify({ reloading: true });
    const after = monotonicNanoseconds() / 1000n;
    const { lines } = await next(socket);
    expect(lines[0]).toBe("RELOADING=1");
    const time = BigInt(/^MONOTONIC_USEC=(\d+)$/.exec(lines[1] ?? "")?.[1] ?? 0);
    expect(time >= before && time <= after).toBe(true);
    const uptime = Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]) * 1e6;
    expect(Number(time)).toBeLessThanOrEqual(uptime + 1e6); // not 1970's
  });

  test("a main process by its handle is told by its inode too", async () => {
    using socket = manager();
    using handle = ProcessHandle.open(process.pid);
    await notify({ mainPid: handle });
    const inode = fstatSync(handle.fd, { bigint: true }).ino;
    const { lines } = await next(socket);
    expect(lines[0]).toBe(`MAINPID=${process.pid}`);
    if (lines.length > 1) expect(lines[1]).toBe(`MAINPIDFDID=${inode}`); // Linux 6.9
    handle.close();
    expect(await codeOf(() => notify({ mainPid: handle }))).toBe("ERR_CLOSED");
  });

  test("4,096 bytes are sent, more are refused", async () => {
    using socket = manager();
    const status = "s".repeat(4096 - "STATUS=".length);
    await notify({ status });
    expect((await next(socket)).lines).toEqual([`STATUS=${status}`]);
    expect(() => notify({ status: `${status}s` })).toThrow(RangeError);
    expect(() => notify({ status: "ü".repeat(2100) })).toThrow(RangeError); // bytes count
  });
});

describe("what is refused, before anything is sent", () => {
  const wrong: readonly (readonly [unknown, unknown, typeof TypeError | typeof RangeError])[] = [
    [{}, {}, TypeError],
    [{ ready: false }, {}, TypeError],
    [{ ready: 1 }, {}, TypeError],
    [{ reloading: "yes" }, {}, TypeError],
    [{ status: 1 }, {}, TypeError],
    [{ status: "a\nMAINPID=1" }, {}, RangeError],
    [{ status: "a\rb" }, {}, RangeError],
    [{ status: "a\0b" }, {}, RangeError],
    [{ busError: "a\nb" }, {}, RangeError],
    [{ varlinkError: "a\nb" }, {}, RangeError],
    [{ variables: { X_A: "a\nb" } }, {}, RangeError],
    [{ variables: { "X\nREADY": "1" } }, {}, RangeError],
    [{ variables: { "x=y": "1" } }, {}, RangeError],
    [{ variables: { "": "1" } }, {}, RangeError],
    [{ mainPid: 0 }, {}, RangeError],
    [{ mainPid: "1\nREADY=1" }, {}, TypeError],
    [{ errno: -2 }, {}, RangeError],
    [{ exitStatus: 256 }, {}, RangeError],
    [{ watchdog: "1" }, {}, TypeError],
    [{ watchdogTimeoutMs: 0 }, {}, RangeError],
    [{ extendTimeoutMs: Number.NaN }, {}, RangeError],
    [{ extendTimeoutMs: "1" }, {}, TypeError],
    [{ notifyAccess: "all\nREADY=1" }, {}, RangeError],
    [{}, { fds: 1 }, TypeError],
    [{}, { fds: [-1] }, RangeError],
    [{}, { fds: new Array(254).fill(0) }, RangeError],
    [{}, { fds: [0], fdNames: ["a", "b"] }, RangeError],
    [{}, { fds: [0], fdNames: "a:b" }, RangeError],
    [{}, { fds: [0], fdNames: "a\nREADY=1" }, RangeError],
    [{}, { fds: [0], fdNames: "a\\" }, RangeError],
    [{}, { fds: [0], fdNames: "ä" }, RangeError],
    [{}, { fds: [0], fdNames: "" }, RangeError],
    [{}, { fds: [0], fdNames: "n".repeat(256) }, RangeError],
    [{}, { fds: [0], fdNames: [1] }, TypeError],
    [{}, { fds: [0], fdPoll: 0 }, TypeError],
    [{}, { removeFds: "a\nb" }, RangeError],
    [{ ready: true }, { barrier: 1 }, TypeError],
  ];
  test.each(wrong)("%j %j", async (state, options, kind) => {
    using socket = manager();
    expect(() => notify(state as NotifyState, options as NotifyOptions)).toThrow(kind);
    await turns();
    expect(here(socket)).toEqual([]);
  });
});

describe("where to", () => {
  const long = (): string => {
    const directory = `${freshPath()}${"l".repeat(150)}`;
    mkdirSync(directory);
    return `${directory}/socket`;
  };
  const places = { "a path": freshPath, "a long path": long } as const;
  for (const [name, place] of Object.entries(places)) {
    test(name, () =>
      leakFree(async () => {
        using socket = manager(place());
        expect(await notify({ ready: true })).toBe(true);
        expect((await next(socket)).lines).toEqual(["READY=1"]);
      }),
    );
  }

  test("an abstract name, and a backslash in it is a backslash", () =>
    leakFree(async () => {
      const name = `${freshAddress("abstract").slice(1)}\\x41`;
      using socket = openDatagram({ abstract: name });
      process.env["NOTIFY_SOCKET"] = `@${name}`;
      await notify({ ready: true });
      expect((await next(socket)).lines).toEqual(["READY=1"]);
    }));

  test("nobody is there", () =>
    leakFree(async () => {
      const path = freshPath();
      process.env["NOTIFY_SOCKET"] = path;
      expect(await codeOf(() => notify({ ready: true }))).toBe("ENOENT");
      openDatagram(path, { unlinkOnClose: false }).close();
      const error = await thrown(() => notify({ ready: true }, { barrier: true, fds: [0] }));
      expect(error).toBeInstanceOf(UnixError);
      expect(error).toMatchObject({ code: "ECONNREFUSED", path });
    }));

  test.each([["vsock:2:1234"], ["vsock-stream:2:1234"]])("%s is not to be had", async (where) => {
    process.env["NOTIFY_SOCKET"] = where;
    const error = await thrown(() => notify({ ready: true }));
    expect(error).toBeInstanceOf(UnsupportedError);
    expect((error as UnsupportedError).capability).toBe("notifyVsock");
  });

  test.each([["relative/path"], ["tcp:1"]])("%s is no address", (where) =>
    leakFree(async () => {
      process.env["NOTIFY_SOCKET"] = where;
      expect(await codeOf(() => notify({ ready: true }))).toBe("EINVAL");
    }),
  );
});

describe("who says it", () => {
  const self = { pid: process.pid, uid: process.getuid?.(), gid: process.getgid?.() };

  test("also to a manager that asks late", async () => {
    using socket = manager(freshPath(), { passCredentials: false });
    await notify({ ready: true });
    setOption(socket.fd, option.SO_PASSCRED ?? -1, 1);
    using message = must(await socket.receive());
    expect(message.credentials).toEqual(self as NonNullable<Message["credentials"]>);
  });

  test("where the kernel refuses our credentials, it says itself who it is", async () => {
    using socket = manager();
    using calls = fake("sendmsg", [{ errno: errno.EINVAL }]);
    expect(await notify({ ready: true })).toBe(true);
    expect(calls.calls).toHaveLength(2);
    using message = must(await socket.receive());
    expect(message.credentials).toEqual(self as NonNullable<Message["credentials"]>);
  });

  test("EINVAL for another reason is told", async () => {
    using _socket = manager();
    using calls = fake("sendmsg", [{ errno: errno.EINVAL }, { errno: errno.EINVAL }]);
    expect(await codeOf(() => notify({ ready: true }))).toBe("EINVAL");
    expect(calls.calls).toHaveLength(2);
  });
});

// Processes by pidfd: alive, ended and how, their descriptors, what /proc says.

import { describe, expect, test } from "bun:test";
import { readSync } from "node:fs";
import { release } from "node:os";
import { nr } from "../../native/numbers.ts";
import { poll as events } from "../../native/poll.ts";
import { pidfdInfoV0 } from "../../native/process.ts";
import { Fd, socketPair, verifyPeer } from "../../src/index.ts";
import { ProcessHandle } from "../../src/process/handle.ts";
import { poll } from "../../src/syscalls/fd.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { Memory } from "../../src/syscalls/memory.ts";
import { endingOf, pidfdOpen } from "../../src/syscalls/process.ts";
import { type Child, run, runSource, start, succeeded } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import {
  codeOf,
  eventually,
  failure,
  isCloseOnExec,
  leakFree,
  thrown,
  turns,
  withLibc,
} from "./tools.ts";

const [major = 0, minor = 0] = release().split(".").map(Number);
/** Linux 6.15 keeps how a process ended for as long as somebody holds its pidfd. */
const remembers = (major > 6 || (major === 6 && minor >= 15)) && !emulated();

/** An emulator has the kernel's version, and may not know all of its requests. */
function emulated(): boolean {
  if (process.env["BUNIX_RIG"] === undefined) return false;
  using self = ProcessHandle.open(process.pid);
  const info = new Memory(pidfdInfoV0.bytes);
  const { request } = pidfdInfoV0;
  const known = libc.syscall(nr.SYS_ioctl ?? -1, self.fd, request, info.address, 0, 0, 0);
  if (known < 0) console.log("note: this emulator does not know PIDFD_GET_INFO");
  return known < 0;
}

/** A shell that runs `script`; it ends when its input does. */
const shell = (script: string): Child => start(["sh", "-c", script]);

/**
 * A grandchild that ends after a line on the parent's input, and the parent waits for it, or after
 * another line, or never. Prints its pid.
 */
function grandchild(fate: "reaped" | "late" | "zombie", how = "os._exit(7)"): Child {
  const program = `
import os, signal, sys
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    os.read(r, 1)
    ${how}
print(pid, flush=True)
sys.stdin.readline()
os.write(w, b"x")
if "${fate}" == "late":
    sys.stdin.readline()
if "${fate}" != "zombie":
    os.waitpid(pid, 0)
    print("reaped", flush=True)
sys.stdin.readline()
`;
  return start(["python3", "-c", program]);
}

describe("alive and exited", () => {
  const endings: [string, { code: number | null; signal: string | null }][] = [
    ["exit 0", { code: 0, signal: null }],
    ["exit 7", { code: 7, signal: null }],
    ["exit 255", { code: 255, signal: null }],
    ["kill -KILL $$", { code: null, signal: "SIGKILL" }],
    ["kill -USR1 $$", { code: null, signal: "SIGUSR1" }],
  ];
  for (const [script, expected] of endings) {
    test(`a child: ${script}`, () =>
      leakFree(async () => {
        await using child = shell(`read line; ${script}`);
        using handle = ProcessHandle.open(child.pid);
        expect([handle.pid, handle.alive(), handle.closed]).toEqual([child.pid, true, false]);
        const exited = [handle.exited(), handle.exited()];
        await turns();
        child.endInput();
        const outcome = await child.exited;
        expect(outcome.code ?? outcome.signal).toBe((expected.code ?? expected.signal) as never);
        const said = await Promise.all(exited);
        if (remembers) {
          const status = { ...expected, coreDumped: false };
          expect(said).toEqual([status, status]);
          expect(await handle.exited()).toEqual(status); // it goes on saying so
        }
        expect(handle.alive()).toBe(false);
        expect(handle.info()).toBeNull();
      }));
  }

  test("a child that nobody has waited for is only looked at", async () => {
    const child = Bun.spawn(["sh", "-c", "exit 9"]);
    using handle = ProcessHandle.open(child.pid);
    poll(handle.fd, events.POLLIN, -1); // Bun cannot wait for it while this thread is blocked
    const { syscall } = libc;
    await withLibc(
      { syscall: (...args) => (args[0] === nr.SYS_ioctl ? -1 : syscall(...args)) },
      () => expect(endingOf(handle.fd)).toEqual({ code: 9, signal: null, coreDumped: false }),
    );
    expect(await child.exited).toBe(9);
  });

  peerTest("somebody else's child, whose parent waits for it", ["python3"], async () => {
    await using parent = grandchild("reaped");
    using handle = ProcessHandle.open(Number(await parent.line()));
    const exited = handle.exited();
    parent.write("end\n");
    const status = await exited;
    await parent.lineWith("reaped");
    if (remembers) expect(status).toEqual({ code: 7, signal: null, coreDumped: false });
    else expect(status).toBeUndefined();
    expect(await codeOf(() => handle.signal(0))).toBe("ESRCH");
    expect(String(await failure(() => handle.duplicateFd(1)))).toContain("is gone");
  });

  peerTest(
    "somebody else's child, whose parent waits for it a little later",
    ["python3"],
    async () => {
      await using parent = grandchild("late");
      using handle = ProcessHandle.open(Number(await parent.line()));
      parent.write("end\n");
      await eventually(() => !handle.alive(), "it has ended");
      const exited = handle.exited();
      await turns();
      parent.write("wait\n");
      if (remembers) expect(await exited).toEqual({ code: 7, signal: null, coreDumped: false });
      else expect(await exited).toBeUndefined();
    },
  );

  peerTest("somebody else's zombie: ended, nobody knows how", ["python3"], async () => {
    await using parent = grandchild("zombie");
    using handle = ProcessHandle.open(Number(await parent.line()));
    handle.signal(0);
    parent.write("end\n");
    expect(await handle.exited()).toBeUndefined();
    expect(handle.alive()).toBe(false);
    handle.signal("SIGTERM"); // a zombie takes it
    const error = await failure(() => handle.duplicateFd(1));
    expect(error).toMatchObject({ code: "ESRCH", syscall: "pidfd_getfd" });
    expect(error.message).toContain("a zombie has no descriptors");
    expect(handle.info()).toBeNull();
  });

  peerTest("the status of a signal that somebody else's child got", ["python3"], async () => {
    await using parent = grandchild("reaped", "os.kill(os.getpid(), signal.SIGABRT)");
    using handle = ProcessHandle.open(Number(await parent.line()));
    parent.write("end\n");
    const status = await handle.exited();
    if (remembers) expect(status).toMatchObject({ code: null, signal: "SIGABRT" });
  });

  test("given up, closed", async () => {
    using handle = ProcessHandle.open(process.pid);
    const stop = new AbortController();
    const given = handle.exited({ signal: stop.signal });
    stop.abort(new Error("enough"));
    expect(String(await thrown(() => given))).toContain("enough");
    const waiting = handle.exited();
    handle.close();
    handle.close();
    expect(await codeOf(() => waiting)).toBe("ERR_CLOSED");
    for (const call of [
      () => handle.exited(),
      () => handle.alive(),
      () => handle.signal(0),
      () => handle.duplicateFd(0),
      () => handle.info(),
    ]) {
      expect(await codeOf(call)).toBe("ERR_CLOSED");
    }
    expect(handle.fd).toBe(-1);
  });

  test("unref lets the process end", async () => {
    const source = `
      import { ProcessHandle } from "@/src/process.ts";
      const handle = ProcessHandle.open(process.ppid).unref();
      handle.exited().then(() => console.log("ended"));
      console.log("waits");`;
    expect(succeeded(await runSource(source))).toBe("waits\n");
  });
});

describe("made from", () => {
  test("a pid that nobody has, a thread's, none at all", async () => {
    const { pid, exited } = start(["true"]);
    await exited;
    expect(await codeOf(() => ProcessHandle.open(pid))).toBe("ESRCH");
    for (const bad of [0, -1, 1.5, Number.NaN, 2 ** 31]) {
      expect(await thrown(() => ProcessHandle.open(bad))).toBeInstanceOf(RangeError);
    }
    const text = "1" as unknown as number;
    expect(await thrown(() => ProcessHandle.open(text))).toBeInstanceOf(TypeError);
  });

  test("a pidfd, which stays its owner's", () =>
    leakFree(async () => {
      const [a, b] = socketPair("stream");
      using pidfd = Fd.adopt(pidfdOpen(process.pid));
      using handle = ProcessHandle.of(pidfd);
      expect([handle.pid, handle.alive()]).toEqual([process.pid, true]);
      expect(handle.fd).not.toBe(pidfd.fd);
      handle.close();
      expect(pidfd.closed).toBe(false);
      using peer = verifyPeer(b);
      using again = ProcessHandle.of(peer.pidfd ?? pidfd); // null before Linux 6.5
      expect(again.pid).toBe(process.pid);
      expect(await codeOf(() => ProcessHandle.of(a))).toBe("EBADF");
      expect(await codeOf(() => ProcessHandle.of(999_999))).toBe("EBADF");
      a.close();
      b.close();
    }));

  test("a pidfd of a process that has ended", async () => {
    await using child = shell("read line");
    using first = ProcessHandle.open(child.pid);
    child.endInput();
    await child.exited;
    using second = ProcessHandle.of(first);
    expect([second.pid, second.alive(), second.info()]).toEqual([null, false, null]);
    await second.exited();
  });
});

describe("duplicateFd", () => {
  peerTest("the same open file, close-on-exec", ["python3"], () =>
    leakFree(async () => {
      const program = `
import os, sys
fd = os.memfd_create("theirs")
os.write(fd, b"what is theirs")
os.lseek(fd, 8, 0)
print(fd, flush=True)
sys.stdin.readline()
print(os.lseek(fd, 0, 1))
`;
      await using child = start(["python3", "-c", program]);
      const number = Number(await child.line());
      using handle = ProcessHandle.open(child.pid);
      using fd = handle.duplicateFd(number);
      expect(isCloseOnExec(fd.fd)).toBe(true);
      const room = Buffer.alloc(64);
      expect(room.toString("utf8", 0, readSync(fd.fd, room))).toBe("theirs");
      child.endInput();
      expect(await child.line()).toBe("14"); // one file, one position
    }),
  );

  test("from itself, and what it does not have", async () => {
    using self = ProcessHandle.open(process.pid);
    using fd = self.duplicateFd(0);
    expect(fd).toBeInstanceOf(Fd);
    const error = await failure(() => self.duplicateFd(999_999));
    expect(error).toMatchObject({ code: "EBADF", syscall: "pidfd_getfd" });
    expect(error.message).toContain(`process ${process.pid} has no descriptor 999999`);
    expect(await thrown(() => self.duplicateFd(-1))).toBeInstanceOf(RangeError);
  });

  peerTest("not allowed, and the message says what it takes", ["root"], async () => {
    const source = `
      import { ProcessHandle, sendSignal } from "@/src/process.ts";
      const parent = ProcessHandle.open(process.ppid);
      process.setgid(65534);
      process.setuid(65534);
      for (const call of [
        () => parent.duplicateFd(0),
        () => parent.signal("SIGUSR1"),
        () => parent.signal("SIGUSR1", { value: 1 }),
        () => sendSignal(process.ppid, 0),
        () => sendSignal(process.ppid, "SIGUSR1", { value: 1 }),
      ]) {
        try {
          call();
        } catch (error) {
          console.log(error.syscall, error.code, error.message.includes("the right to trace"));
        }
      }`;
    expect(
      succeeded(await runSource(source))
        .trim()
        .split("\n"),
    ).toEqual([
      "pidfd_getfd EPERM true",
      "pidfd_send_signal EPERM false",
      "pidfd_send_signal EPERM false",
      "kill EPERM false",
      "sigqueue EPERM false",
    ]);
  });
});

describe("info", () => {
  test("of a child", async () => {
    await using child = start(["sleep", "30"]);
    using handle = ProcessHandle.open(child.pid);
    await eventually(() => handle.info()?.arguments?.[1] === "30", "the child runs its program");
    expect(handle.info()).toMatchObject({
      pid: child.pid,
      ppid: process.pid,
      uid: process.getuid?.() ?? -1,
      gid: process.getgid?.() ?? -1,
      arguments: ["sleep", "30"],
    });
    expect(handle.info()?.executable).toContain("/");
    child.kill();
    await child.exited;
    expect(handle.info()).toBeNull();
  });
});

test("1,000 handles of short-lived children leave nothing", () =>
  leakFree(async () => {
    for (let i = 0; i < 20; i++) {
      await using child = shell("read line");
      const handles = Array.from({ length: 50 }, () => ProcessHandle.open(child.pid));
      const exited = Promise.all(handles.map((handle) => handle.exited()));
      child.endInput();
      await exited;
      for (const handle of handles) handle.close();
    }
    succeeded(await run(["true"]));
  }));

// What older kernels answer, put in this one's place; and what every kernel gives less of than was
// asked for.

import { toArrayBuffer } from "bun:ffi";
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { pollfd } from "../../native/file.ts";
import { poll as events } from "../../native/poll.ts";
import { connectSync, listen, ProcessHandle, UnixError, verifyPeer } from "../../src/index.ts";
import { isRunning, processState } from "../../src/process/proc-info.ts";
import { verifyReader } from "../../src/queue-socket/peer-process.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { asPointer } from "../../src/syscalls/memory.ts";
import { type Child, run, runSource, slower, start, succeeded } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { fake, type Step } from "../support/seam.ts";
import { tempDir } from "../support/tmp.ts";
import { testUnless } from "../support/unless.ts";
import { eventually, leakFree } from "./tools.ts";

setDefaultTimeout(60_000 * slower);

/** A process whose child connects to `path`, ends after a byte from there, and stays a zombie. */
const parentOfClient = (path: string): Child =>
  start([
    "python3",
    "-c",
    `
import os, socket, sys
pid = os.fork()
if pid == 0:
    client = socket.socket(socket.AF_UNIX)
    client.connect(${JSON.stringify(path)})
    client.recv(1)
    os._exit(0)
print(pid, flush=True)
sys.stdin.read()
`,
  ]);

const real = { ...libc };
const asIs =
  (name: "getsockopt" | "poll"): Step =>
  (...args) =>
    (real[name] as (...all: number[]) => number)(...args);

/** What is behind SO_PEERPIDFD in `verifyPeer`: credentials, groups and label are asked before. */
const beforePidfd = [asIs("getsockopt"), asIs("getsockopt"), asIs("getsockopt")];

describe("a peer without SO_PEERPIDFD (before Linux 6.5)", () => {
  peerTest("is alive until it ends, also while nobody has waited for it", ["python3"], () =>
    leakFree(async () => {
      using dir = tempDir();
      using listener = listen(dir.file("peer.sock"));
      await using parent = parentOfClient(dir.file("peer.sock"));
      const pid = Number(await parent.line());
      using socket = await listener.accept();
      const look = () => {
        using _ = fake("getsockopt", [...beforePidfd, { errno: errno.ENOPROTOOPT }]);
        return verifyPeer(socket);
      };
      expect(look()).toMatchObject({ pid, alive: true, source: "peercred", pidfd: null });
      expect(look().command).toStartWith("python3");
      socket.sendSync("x");
      await eventually(() => processState(pid) === "Z", "it is a zombie");
      const gone = { alive: false, source: "peercred", command: null, executable: null };
      expect(look()).toMatchObject({ pid, ...gone });
      expect(isRunning(pid)).toBe(false);
      expect(verifyReader({ pid, uid: 0, gid: 0 }, null)).toMatchObject(gone);
    }),
  );

  test("itself is running, and who does not exist is not", () => {
    expect([isRunning(process.pid), isRunning(null), processState(2 ** 22 + 1)]).toEqual([
      true,
      false,
      null,
    ]);
  });
});

describe("a peer that has ended and was waited for (before Linux 6.16)", () => {
  const answers = [errno.EINVAL, errno.ESRCH]; // 6.5 to 6.14, and 6.15
  peerTest("has no pidfd: it is not alive, and peerPidfd says so", ["python3"], () =>
    leakFree(async () => {
      using dir = tempDir();
      using listener = listen(dir.file("peer.sock"));
      const client = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])";
      succeeded(await run(["python3", "-c", client, dir.file("peer.sock")]));
      using socket = await listener.accept();
      for (const answer of answers) {
        using _ = fake("getsockopt", [...beforePidfd, { errno: answer }, { errno: answer }]);
        const gone = { alive: false, source: "peerpidfd", pidfd: null };
        expect(verifyPeer(socket)).toMatchObject({ ...gone, command: null, executable: null });
        const error = await failure(() => socket.peerPidfd());
        expect(error).toMatchObject({ code: "ESRCH", syscall: "getsockopt" });
        expect(error.message).toContain("has ended and was waited for");
      }
    }),
  );

  test("is not taken for another process that has its number now", () =>
    leakFree(async () => {
      using dir = tempDir();
      using listener = listen(dir.file("peer.sock"));
      using _client = connectSync(listener.address); // this process: there is one of that pid
      using socket = await listener.accept();
      using _ = fake("getsockopt", [...beforePidfd, { errno: errno.EINVAL }]);
      expect(verifyPeer(socket)).toMatchObject({ alive: false, pidfd: null, executable: null });
    }));
});

async function failure(call: () => unknown): Promise<UnixError> {
  try {
    await call();
  } catch (error) {
    if (error instanceof UnixError) return error;
    throw error;
  }
  throw new Error("it did not fail");
}

describe("duplicateFd of a process that has ended", () => {
  peerTest("says so where the kernel says EBADF (5.10)", ["python3"], async () => {
    await using parent = start([
      "python3",
      "-c",
      `import os, sys
pid = os.fork()
if pid == 0: os._exit(0)
print(pid, flush=True)
sys.stdin.read()`,
    ]);
    using handle = ProcessHandle.open(Number(await parent.line()));
    await eventually(() => !handle.alive(), "it is a zombie");
    using _ = fake("syscall", [{ errno: errno.EBADF }]);
    const error = await failure(() => handle.duplicateFd(1));
    expect(error).toMatchObject({ code: "ESRCH", syscall: "pidfd_getfd" });
    expect(error.message).toContain("has ended: a zombie has no descriptors");
  });

  test("claims no zombie where it was waited for (told since 6.9)", async () => {
    const child = Bun.spawn(["sleep", "60"]);
    using handle = ProcessHandle.open(child.pid);
    child.kill("SIGKILL");
    await child.exited;
    const withoutHangUp: Step = (address, count, ms) => {
      const ready = (real.poll as (...all: number[]) => number)(address!, count!, ms!);
      const view = new DataView(toArrayBuffer(asPointer(address!), 0, pollfd.size));
      const found = view.getInt16(pollfd.at.revents, true);
      view.setInt16(pollfd.at.revents, found & ~events.POLLHUP, true);
      return ready;
    };
    using _ = fake("poll", [withoutHangUp, withoutHangUp]);
    const error = await failure(() => handle.duplicateFd(1));
    expect(error.message).toContain(`process ${child.pid} is gone`);
  });

  test("a process that runs just has no such descriptor", async () => {
    using handle = ProcessHandle.open(process.pid);
    const error = await failure(() => handle.duplicateFd(9_999));
    expect(error).toMatchObject({ code: "EBADF" });
    expect(error.message).toContain("has no descriptor 9999");
  });
});

/** null where this namespace does not show it. */
function sysctl(name: string): number | null {
  try {
    return Number(readFileSync(`/proc/sys/net/core/${name}`, "utf8"));
  } catch {
    return null;
  }
}

const [mostBytes, mostWaiting] = [sysctl("wmem_max"), sysctl("somaxconn")];
const notShown =
  mostBytes === null || mostWaiting === null ? "/proc/sys/net/core is not shown" : null;

/** Below the largest int. */
const ASKED = 1 << 30;

describe("a limit that the kernel cut", () => {
  testUnless(notShown, "is told once, with what was given", async () => {
    const source = `
      import { listen, socketPair } from "@/src/index.ts";
      const warnings = [];
      process.on("warning", ({ name, message }) => warnings.push(name + ": " + message));
      const [a, b] = socketPair("seqpacket", { sendBufferBytes: ${ASKED} });
      const [c, d] = socketPair("seqpacket", { sendBufferBytes: ${ASKED} });
      const [e] = socketPair("seqpacket", { sendBufferBytes: 8192 });
      const listener = listen({ autobind: true }, { backlog: ${ASKED} });
      let text = "";
      try { a.sendSync(new Uint8Array(${ASKED})); } catch (error) { text = error.message; }
      setTimeout(() => {
        const [given, small] = [a.sendBufferBytes, e.sendBufferBytes];
        console.log(JSON.stringify({ warnings, text, given, small }));
        process.exit(0);
      }, 10);`;
    const { warnings, text, given, small } = JSON.parse(succeeded(await runSource(source)));
    expect([given, small]).toEqual([mostBytes, 8192]);
    const told = (name: string, given: number | null, sysctl: string): string =>
      `KernelLimitWarning: ${name}: ${ASKED} asked for, ${given} given: ` +
      `sysctl net.core.${sysctl} limits it, and an administrator can raise that`;
    expect(warnings).toEqual([
      told("sendBufferBytes", mostBytes, "wmem_max"),
      told("backlog", mostWaiting, "somaxconn"),
    ]);
    expect(text).toContain("EMSGSIZE");
    expect(text).toContain(`sysctl net.core.wmem_max, ${mostBytes} now, sets a limit`);
  });

  test("and what was not cut is not told", () =>
    leakFree(() => {
      using dir = tempDir();
      using listener = listen(dir.file("s"), { backlog: 1, receiveBufferBytes: 8192 });
      using client = connectSync(listener.address, { receiveBufferBytes: 16_384 });
      expect(client.receiveBufferBytes).toBe(16_384);
      expect(client.sendBufferBytes).toBeGreaterThan(0);
    }));
});

// pidfds, descriptors taken out of processes, queued signals: what the kernel says of processes
// that live, have ended, or were waited for.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { nr } from "../../native/numbers.ts";
import { wait } from "../../native/process.ts";
import { option } from "../../native/socket.ts";
import { kernelIsAtLeast } from "../../src/base/kernel.ts";
import { ProcessHandle, peerPidfd, sendSignal, socketPair } from "../../src/index.ts";
import { descriptorFlags } from "../../src/syscalls/fd.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { Memory } from "../../src/syscalls/memory.ts";
import { result } from "../../src/syscalls/result.ts";
import { closeAll, codeOf, eventually } from "../api/tools.ts";
import { run, start, succeeded } from "../support/child.ts";
import { compileC, peerTest } from "../support/peers.ts";
import { foreignNumber, noPidfds, testUnless } from "../support/unless.ts";
import { connections, polled, Raw, said } from "./raw.ts";

const NONBLOCK = 0o4000;
const SIGUSR1 = 10;

const pidfdOpen = (pid: number, flags = 0): number =>
  result(Number(libc.syscall(nr.SYS_pidfd_open ?? -1, pid, flags, 0, 0, 0, 0)));

const signal = (pidfd: number, number: number, info = 0): number | string =>
  said(result(libc.syscall(nr.SYS_pidfd_send_signal ?? -1, pidfd, number, info, 0, 0, 0)));

const getfd = (pidfd: number, fd: number, flags = 0): number =>
  result(Number(libc.syscall(nr.SYS_pidfd_getfd ?? -1, pidfd, fd, flags, 0, 0, 0)));

/** waitid of a pidfd; the si_status, or the errno. */
function waitFor(pidfd: number, options: number): number | string {
  const info = new Memory(128);
  const P_PIDFD = wait.P_PIDFD ?? 3;
  const value = result(libc.waitid(P_PIDFD, pidfd, info.address, options));
  return value < 0 ? said(value) : info.words[6]!;
}

/** A Python program whose child does as it is told: "end", "reap". Says the child's pid. */
const parent = `
import os, sys
child = os.fork()
if child == 0:
    os.read(0, 1)
    os._exit(7)
print(child, flush=True)
os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
print("zombie", flush=True)
sys.stdin.readline()
os.waitpid(child, 0)
print("reaped", flush=True)
sys.stdin.readline()
`;

describe.each(connections)("$name", ({ open }) => {
  testUnless(
    noPidfds(),
    "SO_PEERPIDFD is the process of SO_PEERCRED, close-on-exec (PID-01)",
    () => {
      using raw = new Raw();
      for (const fd of open(raw)) {
        const [value, length] = [new Memory(8), new Memory(8)];
        length.words[0] = 4;
        const which = option.SO_PEERPIDFD!;
        expect(result(libc.getsockopt(fd, 1, which, value.address, length.address))).toBe(0);
        const pidfd = raw.own(value.words[0]!);
        expect(readFileSync(`/proc/self/fdinfo/${pidfd}`, "latin1")).toContain(
          `Pid:\t${process.pid}\n`,
        );
        expect(descriptorFlags(pidfd)).toBe(1);
      }
    },
  );
});

testUnless(noPidfds(), "a peer's pidfd is one of this process, by the API (PID-01)", () => {
  const pair = socketPair("seqpacket");
  using pidfd = peerPidfd(pair[0]);
  using handle = ProcessHandle.of(pidfd);
  expect(handle.pid).toBe(process.pid);
  closeAll(pair);
});

test("what is no process: EINVAL, ESRCH (PID-09)", () => {
  for (const pid of [0, -1]) expect(said(pidfdOpen(pid))).toBe("EINVAL");
  expect(said(pidfdOpen(process.pid, 1))).toBe("EINVAL");
  const gone = Bun.spawnSync(["true"]).pid;
  expect(said(pidfdOpen(gone))).toBe("ESRCH");
});

test("a thread that is not its process's first: ENOENT, EINVAL before Linux 6.15 (PID-10)", () => {
  const threads = readFileSync("/proc/self/status", "latin1").match(/^Threads:\t(\d+)/m)![1];
  expect(Number(threads)).toBeGreaterThan(1);
  const list = Bun.spawnSync(["ls", `/proc/${process.pid}/task`]).stdout.toString();
  const other = list
    .trim()
    .split("\n")
    .map(Number)
    .find((tid) => tid !== process.pid)!;
  expect(["ENOENT", "EINVAL"]).toContain(String(said(pidfdOpen(other))));
});

peerTest(
  "alive, a zombie, waited for: poll, signals, descriptors (PID-11, PID-12, GFD-03)",
  ["python3"],
  async () => {
    using raw = new Raw();
    await using child = start(["python3", "-c", parent]);
    const pidfd = raw.own(pidfdOpen(Number(await child.line())));
    expect([polled(pidfd), signal(pidfd, 0)]).toEqual(["", 0]);
    child.write("x");
    await child.lineWith("zombie");
    expect([polled(pidfd), signal(pidfd, 0)]).toEqual(["IN", 0]);
    // Linux 5.10 says that it has no such descriptor (facts: #zombies-look-alive)
    expect(["ESRCH", ...(kernelIsAtLeast("6.1") ? [] : ["EBADF"])]).toContain(
      String(said(getfd(pidfd, 0))),
    );
    child.write("\n");
    await child.lineWith("reaped");
    if (kernelIsAtLeast("6.9")) {
      await eventually(() => polled(pidfd) === "IN HUP", "poll says that it was waited for");
    }
    expect(signal(pidfd, 0)).toBe("ESRCH");
    expect(said(getfd(pidfd, 0))).toBe("ESRCH");
    child.write("\n");
  },
);

peerTest(
  "a siginfo is checked: its number, and whose it may be (PID-13, SIG-07)",
  ["python3"],
  async () => {
    using raw = new Raw();
    await using child = start(["python3", "-c", parent]);
    const pidfd = raw.own(pidfdOpen(Number(await child.line())));
    const info = new Memory(128);
    const [SI_QUEUE, SI_USER, SI_TKILL] = [-1, 0, -6];
    const forged = (number: number, code: number): number | string => {
      info.words[0] = number;
      info.words[2] = code;
      return signal(pidfd, SIGUSR1, info.address);
    };
    expect(forged(12, SI_QUEUE)).toBe("EINVAL");
    for (const code of [SI_USER, SI_TKILL, 5]) expect(forged(SIGUSR1, code)).toBe("EPERM");
    expect(forged(SIGUSR1, SI_QUEUE)).toBe(0);
  },
);

test("waitid of a pidfd that does not block: EAGAIN, then the status (PID-14)", async () => {
  using raw = new Raw();
  const program = "import os; os.read(0, 1); os._exit(7)";
  await using child = start(["python3", "-c", program]);
  const pidfd = raw.own(pidfdOpen(child.pid, NONBLOCK));
  const options = wait.WEXITED | wait.WNOWAIT;
  expect(waitFor(pidfd, options)).toBe("EAGAIN");
  child.write("x");
  await eventually(() => polled(pidfd) !== "", "it has ended");
  expect([7, "ECHILD"]).toContain(waitFor(pidfd, options)); // Bun may have waited for it by now
});

describe("pidfd_getfd", () => {
  test("of oneself: the same file, close-on-exec (GFD-01)", () => {
    using raw = new Raw();
    const self = raw.own(pidfdOpen(process.pid));
    const [near, far] = raw.pair(1);
    const taken = raw.own(getfd(self, near));
    expect(descriptorFlags(taken)).toBe(1);
    raw.close(near);
    expect(raw.text(far)).toBe("EAGAIN"); // still open
    raw.close(taken);
    expect(raw.text(far)).toBe("");
  });

  test("no pidfd, no such descriptor, flags: EBADF, EBADF, EINVAL (GFD-02)", () => {
    using raw = new Raw();
    const self = raw.own(pidfdOpen(process.pid));
    expect(said(getfd(raw.pair(1)[0], 0))).toBe("EBADF");
    expect(said(getfd(self, 999_999))).toBe("EBADF");
    expect(said(getfd(self, 0, 1))).toBe("EINVAL");
  });

  /** As uid `from`, with a child of uid `to` that may have called exec: what getfd says. */
  const taking = `
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
mine, theirs, how = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
r, w = os.pipe()
until, end = os.pipe() # the child stays until its parent has gone
child = os.fork()
if child == 0:
    if theirs: os.setgroups([]); os.setgid(theirs); os.setuid(theirs)
    os.close(end)
    if how == "dumpable": libc.prctl(4, 1, 0, 0, 0)
    os.set_inheritable(w, True)
    os.dup2(until, 0)
    if how == "exec": os.execvp("sh", ["sh", "-c", f"echo x >&{w}; exec cat"])
    os.write(w, b"x")
    os.read(0, 1)
    os._exit(0)
os.read(r, 1)
pidfd = os.pidfd_open(child)
if mine: os.setgroups([]); os.setgid(mine); os.setuid(mine)
fd = libc.syscall(438, pidfd, 0, 0)
print("ok" if fd >= 0 else errno.errorcode[ctypes.get_errno()], flush=True)
os.close(end)
os.waitpid(child, 0)
`;

  const takers = [
    ["the same user, after setuid", 61_001, 61_001, "plain", "EPERM"],
    ["the same user, dumpable again", 61_001, 61_001, "dumpable", "ok"],
    ["the same user, after exec", 61_001, 61_001, "exec", "ok"],
    ["another user's, dumpable", 61_001, 61_002, "dumpable", "EPERM"],
    ["root's", 61_001, 0, "plain", "EPERM"],
    ["anybody's, as root", 0, 61_002, "plain", "ok"],
  ] as const;

  for (const [name, mine, theirs, how, answer] of takers) {
    peerTest(`${name} (GFD-04 to GFD-07)`, ["python3", "root"], async () => {
      const program = ["python3", "-c", taking, `${mine}`, `${theirs}`, how];
      expect(succeeded(await run(program, { timeoutMs: 15_000 })).trim()).toBe(answer);
    });
  }
});

describe("queued signals", () => {
  const program = (): string => compileC("test/fixtures/signals.c");

  peerTest(
    "standard ones once, real-time ones each; lower numbers first (SIG-03, SIG-04, SIG-16)",
    ["cc"],
    async () => {
      await using child = start([program(), "wait"]);
      await child.lineWith("ready");
      const sigrtmin = libc.__libc_current_sigrtmin();
      const [one, two] = [await foreignNumber(sigrtmin + 1), await foreignNumber(sigrtmin + 2)];
      for (const value of [1, 2, 3]) sendSignal(child.pid, "SIGRTMIN+2", { value });
      for (const value of [4, 5]) sendSignal(child.pid, "SIGRTMIN+1", { value });
      for (const value of [6, 7, 8]) sendSignal(child.pid, "SIGUSR1", { value });
      const status = readFileSync(`/proc/${child.pid}/status`, "latin1");
      expect(Number(/^SigQ:\t(\d+)/m.exec(status)?.[1])).toBeGreaterThanOrEqual(6);
      child.write("go\n");
      const seen: string[] = [];
      while (seen.length < 6) seen.push((await child.line())!);
      expect(
        seen.map((line) =>
          line
            .split(" ")
            .filter((_, i) => i === 0 || i === 3)
            .join(),
        ),
      ).toEqual(["10,6", `${one},4`, `${one},5`, `${two},1`, `${two},2`, `${two},3`]);
      sendSignal(child.pid, "SIGTERM");
      succeeded(await child.exited);
    },
  );

  peerTest("no such process, another user's (SIG-06)", ["python3", "root"], async () => {
    const gone = Bun.spawnSync(["true"]).pid;
    expect(await codeOf(() => sendSignal(gone, "SIGUSR1", { value: 1 }))).toBe("ESRCH");
    expect(await codeOf(() => sendSignal(gone, 0))).toBe("ESRCH");
    const other = `
import os
os.setuid(65534)
for number in 0, 10:
    try: os.kill(1, number); print("sent")
    except OSError as error: print(error.errno)
`;
    expect(succeeded(await run(["python3", "-c", other]))).toBe("1\n1\n");
  });
});

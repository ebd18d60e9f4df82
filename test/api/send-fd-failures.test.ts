// sendFd and receiveFds where it goes wrong: nothing is left anywhere, nobody is killed, and the
// reason is told.

import { describe, expect } from "bun:test";
import { chmodSync, copyFileSync, readFileSync } from "node:fs";
import { ProcessHandle, sendFd, signalNumber } from "../../src/index.ts";
import {
  type Child,
  run,
  runSource,
  start,
  startScript,
  succeeded,
  writeSource,
} from "../support/child.ts";
import { compileC } from "../support/peers.ts";
import { type TempDir, tempDir } from "../support/tmp.ts";
import { testsUnless, translatedSignals } from "../support/unless.ts";
import { eventually, failure, leakFree, marked, thrown, turns } from "./tools.ts";

const { peerTest, test } = testsUnless(await translatedSignals());
const realtimeSignal = "SIGRTMIN+4";
const number = signalNumber(realtimeSignal);
const needs = ["root", "unshare"];
const NOBODY = 65_534;
/** prctl(2); nothing but this test has a use for it. */
const PR_SET_DUMPABLE = 4;
const forNobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];

const program = (): string => compileC("test/fixtures/send-fd-peer.c");

async function ready(command: readonly string[]): Promise<Child> {
  const child = start(command);
  await child.lineWith("ready");
  return child;
}

const peer = (...args: (string | number)[]): Promise<Child> =>
  ready([program(), ...args.map(String)]);

/** How many names of offers are bound anywhere in this network namespace by this process. */
const offers = (): number =>
  readFileSync("/proc/net/unix", "utf8").split(`@bunix/send-fd/1 ${process.pid} `).length - 1;

/** A socket with something in its queue is closed on a thread, for which nobody waits long. */
const noOffers = (): Promise<void> => eventually(() => offers() === 0, "no offer is left");

/** A send that fails, with the error; nothing of it is left. */
async function refusal(
  to: Parameters<typeof sendFd>[0],
  options: Partial<Parameters<typeof sendFd>[2]> = {},
): Promise<Awaited<ReturnType<typeof failure>>> {
  using fd = marked("refused");
  const error = await failure(() => sendFd(to, fd, { realtimeSignal, ...options }));
  expect(fd.closed).toBe(false);
  await noOffers();
  return error;
}

describe("nobody is there", () => {
  test("a dead pid, a zombie, a handle of one that has gone", () =>
    leakFree(async () => {
      const child = start(["sh", "-c", "read line"]);
      using handle = ProcessHandle.open(child.pid);
      child.endInput();
      await child.exited;
      for (const to of [child.pid, handle]) {
        expect(await refusal(to)).toMatchObject({ code: "ESRCH" });
      }
    }));

  peerTest("a zombie", ["python3"], () =>
    leakFree(async () => {
      const source = "import os,sys;p=os.fork();p or os._exit(0);print(p,flush=True);input()";
      await using parent = start(["python3", "-c", source]);
      const zombie = Number(await parent.line());
      using handle = ProcessHandle.open(zombie);
      await eventually(() => !handle.alive(), "it has ended");
      const error = await refusal(zombie);
      expect(error.code).toBe("ESRCH");
      expect(error.message).toContain(`process ${zombie} has ended`);
    }),
  );

  peerTest("a pid that another process has got", ["root", "unshare", "cc"], async () => {
    program(); // compiled out here
    const script = [process.execPath, "test/fixtures/send-fd-reused.ts"];
    const unshare = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    const said = succeeded(await run([...unshare, ...script]));
    expect(said).toBe("same pid true\nby handle ESRCH\nby pid sent, took 1\n");
  });

  peerTest("no handler: it is left alone", ["cc"], () =>
    leakFree(async () => {
      await using child = await peer("none");
      const error = await refusal(child.pid);
      expect(error).toMatchObject({ code: "ECONNREFUSED", syscall: "pidfd_send_signal" });
      expect(error.message).toContain(`process ${child.pid} would be ended by ${realtimeSignal}`);
      using handle = ProcessHandle.open(child.pid);
      expect(handle.alive()).toBe(true);
    }),
  );

  peerTest("a handler for another signal, an ignored one", ["cc", "python3"], () =>
    leakFree(async () => {
      await using other = await peer("deaf", number + 1);
      expect((await refusal(other.pid)).code).toBe("ECONNREFUSED");
      const ignore = `import signal;signal.signal(${number},signal.SIG_IGN)`;
      const source = `${ignore};print("ready",flush=True);input()`;
      await using ignoring = await ready(["python3", "-c", source]);
      const error = await refusal(ignoring.pid);
      expect(error.code).toBe("ECONNREFUSED");
      expect(error.message).toContain(`process ${ignoring.pid} ignores ${realtimeSignal}`);
    }),
  );

  peerTest("a handler of another kind: the deadline, or given up", ["cc"], () =>
    leakFree(async () => {
      await using child = await peer("deaf", number);
      const error = await refusal(child.pid, { timeoutMs: 30 });
      expect(error.code).toBe("ETIMEDOUT");
      expect(error.message).toContain("took nothing for 30 ms");
      const stop = new AbortController();
      using fd = marked("given up");
      const { signal } = stop;
      const sending = thrown(() => sendFd(child.pid, fd, { realtimeSignal, signal }));
      await turns();
      stop.abort(new Error("enough"));
      expect(String(await sending)).toContain("enough");
      await noOffers();
    }),
  );

  peerTest("it is killed, stopped or not, while it is offered something", ["cc"], () =>
    leakFree(async () => {
      for (const stopped of [false, true]) {
        await using child = await peer("deaf", number);
        if (stopped) child.kill("SIGSTOP");
        const sending = refusal(child.pid);
        await turns();
        expect(offers()).toBe(1);
        child.kill("SIGKILL");
        expect((await sending).code).toBe("ESRCH");
      }
    }),
  );

  peerTest("the queue of signals is full", ["cc", "prlimit"], () =>
    leakFree(async () => {
      await using child = await ready([
        "prlimit",
        "--sigpending=0",
        program(),
        "deaf",
        `${number}`,
      ]);
      const error = await refusal(child.pid);
      expect(error).toMatchObject({ code: "EAGAIN", syscall: "pidfd_send_signal" });
      expect(error.message).toContain("RLIMIT_SIGPENDING");
    }),
  );

  peerTest("another pid namespace", ["root", "unshare", "cc"], () =>
    leakFree(async () => {
      const apart = ["unshare", "--pid", "--fork", "--kill-child", program(), "deaf", `${number}`];
      await using parent = await ready(apart);
      const children = `/proc/${parent.pid}/task/${parent.pid}/children`;
      const inside = Number(readFileSync(children, "utf8"));
      const error = await refusal(inside);
      expect(error.code).toBe("EOPNOTSUPP");
      expect(error.message).toContain(`process ${inside} is in another pid namespace`);
    }),
  );
});

peerTest(
  "without a /proc of its own namespace it is said, and nothing is sent",
  needs,
  async () => {
    const source = `
    import { capabilities, receiveFds, sendFd } from "@/src/index.ts";
    const options = { realtimeSignal: "${realtimeSignal}" };
    const { sendFd: entry } = capabilities();
    console.log(entry.available, entry.reason);
    await sendFd(1, 0, options).catch(({ capability }) => console.log(capability));
    try {
      receiveFds(options);
    } catch ({ capability }) {
      console.log(capability);
    }`;
    using dir = tempDir();
    const apart = ["unshare", "--pid", "--fork", "--kill-child"];
    const said = succeeded(await run([...apart, process.execPath, writeSource(dir, source)]));
    expect(said).toBe("false /proc is that of another pid namespace\nsendFd\nsendFd\n");
  },
);

describe("no right", () => {
  /** The C program as uid 65534, where that one can read it. */
  async function nobody(dir: TempDir, ...args: string[]): Promise<Child> {
    chmodSync(dir.path, 0o755);
    const copy = dir.file("peer");
    copyFileSync(program(), copy);
    chmodSync(copy, 0o755);
    return await ready(["setpriv", ...forNobody, copy, ...args]);
  }

  /** What a sender says that becomes uid 65534; it can be traced again where `dumpable`. */
  async function sentByNobody(to: number, dumpable: 0 | 1): Promise<string> {
    const source = `
      import { openSync } from "node:fs";
      import { nr } from "@/native/numbers.ts";
      import { sendFd } from "@/src/index.ts";
      import { libc } from "@/src/syscalls/libc.ts";
      process.setgroups([]);
      process.setgid(${NOBODY});
      process.setuid(${NOBODY});
      libc.syscall(nr.SYS_prctl, ${PR_SET_DUMPABLE}, ${dumpable}, 0, 0, 0, 0);
      const fd = openSync("/dev/null", "r");
      await sendFd(${to}, fd, { realtimeSignal: "${realtimeSignal}" }).then(
        () => console.log("sent"),
        ({ code, syscall }) => console.log(code, syscall),
      );`;
    return succeeded(await runSource(source));
  }

  const all = ["root", "setpriv", "cc"];

  peerTest("a receiver of another user may take nothing from root", all, () =>
    leakFree(async () => {
      using dir = tempDir();
      await using child = await nobody(dir, "deaf", String(number));
      const error = await refusal(child.pid);
      expect(error).toMatchObject({ code: "EPERM", syscall: "pidfd_getfd" });
      expect(error.message).toContain("the right to trace it");
    }),
  );

  peerTest("another user may not signal root", all, async () => {
    await using child = await peer("deaf", number);
    expect(await sentByNobody(child.pid, 1)).toBe("EPERM pidfd_send_signal\n");
  });

  peerTest("another user to his own kind: that is all right", all, async () => {
    using dir = tempDir();
    await using child = await nobody(dir, "receive", String(number), "1");
    expect(await sentByNobody(child.pid, 1)).toBe("sent\n");
    expect(await child.line()).toContain(`took 1 distinct 0 uid ${NOBODY} `);
  });

  peerTest("a sender that has changed its user cannot be traced", all, async () => {
    using dir = tempDir();
    await using child = await nobody(dir, "deaf", String(number));
    expect(await sentByNobody(child.pid, 0)).toBe("EPERM pidfd_getfd\n");
  });
});

describe("receivers that misbehave", () => {
  const odd = (mode: string): Promise<Child> =>
    ready(["python3", "test/fixtures/send-fd-odd.py", mode, String(number)]);
  const cases: Readonly<Record<string, [code: string, told: string]>> = {
    lies: ["EPROTO", "says that it took it, and did not"],
    garbage: ["EPROTO", "that was no answer"],
    "hangs-up": ["EPROTO", "that was no answer"],
    refuses: ["ENOSPC", "refused"],
    late: ["EMFILE", "refused"],
    child: ["EPERM", "answered for it"],
    dies: ["ESRCH", "has ended"],
  };
  for (const [mode, [code, told]] of Object.entries(cases)) {
    peerTest(mode, ["python3"], () =>
      leakFree(async () => {
        await using child = await odd(mode);
        using fd = marked("refused");
        const error = await failure(() => sendFd(child.pid, fd, { realtimeSignal }));
        expect(error.code).toBe(code);
        expect(error.message).toContain(told);
        expect(fd.closed).toBe(false);
        await child[Symbol.asyncDispose](); // which may have kept the socket
        await noOffers();
      }),
    );
  }

  peerTest("silent: what was read is taken, whoever gives up", ["python3"], () =>
    leakFree(async () => {
      await using child = await odd("silent");
      using fd = marked("taken");
      const stop = new AbortController();
      const sending = sendFd(child.pid, fd, { realtimeSignal, signal: stop.signal });
      await child.lineWith("done");
      stop.abort(new Error("too late"));
      await sending;
      await child[Symbol.asyncDispose]();
      await noOffers();
    }),
  );
});

peerTest("listeners are killed in a flood: each send is taken, or fails", ["cc"], () =>
  leakFree(async () => {
    const source = `
      import { receiveFds } from "@/src/index.ts";
      const receiver = receiveFds({ realtimeSignal: "${realtimeSignal}" });
      console.log("ready");
      for await (const { fd } of receiver) fd.close();`;
    using dir = tempDir();
    const main = writeSource(dir, source);
    for (let round = 0; round < 4; round++) {
      await using child = startScript(main);
      await child.lineWith("ready");
      let taken = 0;
      let failed = 0;
      const one = async (): Promise<void> => {
        while (failed === 0) {
          using fd = marked("flood");
          const code = await sendFd(child.pid, fd, { realtimeSignal }).then(
            () => null,
            (error) => error.code,
          );
          if (code === null) taken += 1;
          else {
            expect(code).toBe("ESRCH");
            failed += 1;
          }
          if (taken === 50) child.kill("SIGKILL");
        }
      };
      await Promise.all(Array.from({ length: 8 }, one));
      expect(taken).toBeGreaterThanOrEqual(50);
      // an offer that was taken into a process that died with it is closed beside this thread
      await noOffers();
    }
  }),
);

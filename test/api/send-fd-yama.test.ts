// sendFd under Yama, which may not be in this kernel: its setting is laid over /proc in a mount
// namespace, and prctl is recorded through libc's seam (and made, for whatever it says).

import { describe, expect } from "bun:test";
import { signalNumber } from "../../src/index.ts";
import { run, succeeded, writeSource } from "../support/child.ts";
import { compileC } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { testsUnless, translatedSignals } from "../support/unless.ts";

const { peerTest } = testsUnless(await translatedSignals());
const needs = ["root", "unshare", "setpriv", "cc"];
const realtimeSignal = "SIGRTMIN+4";

const SETUP = `
  import { start } from "@/test/support/child.ts";
  import { sendFd } from "@/src/index.ts";
  import { libc } from "@/src/syscalls/libc.ts";
  import { nr } from "@/native/numbers.ts";
import { prctl } from "@/native/process.ts";
  const realtimeSignal = "${realtimeSignal}";
  const [program, number] = process.argv.slice(2);
  const { syscall } = libc;
  const names = new Map([[0, "none"]]);
  const log = [];
  libc.syscall = (...args) => {
    if (args[0] !== nr.SYS_prctl || args[1] !== prctl.PR_SET_PTRACER) return syscall(...args);
    syscall(...args);
    log.push(names.get(args[2]));
    return 0;
  };
  async function peer(name, ...args) {
    const child = start([program, ...args]);
    await child.lineWith("ready");
    names.set(child.pid, name);
    return child;
  }
  const send = (child, options = {}) =>
    sendFd(child.pid, 0, { realtimeSignal, ...options }).then(
      () => "sent",
      (error) => error.code ?? error.message,
    );
  const fd = (await import("node:fs")).openSync("/dev/null", "r");
  const sendFile = (child) =>
    sendFd(child.pid, fd, { realtimeSignal }).then(() => "sent", String);
`;

/** What a program says that runs with this ptrace_scope, itself and its children. */
async function under(scope: number, source: string, privileged = false): Promise<string> {
  using dir = tempDir();
  const kernel = "/proc/sys/kernel";
  const prepare = [
    `mount -t tmpfs none ${kernel}`,
    `mkdir ${kernel}/yama`,
    `echo ${scope} >${kernel}/yama/ptrace_scope`,
    'exec "$@"',
  ];
  const drop = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"];
  const program = [process.execPath, writeSource(dir, SETUP + source)];
  const args = [compileC("test/fixtures/send-fd-peer.c"), String(signalNumber(realtimeSignal))];
  const apart = ["unshare", "--mount", "sh", "-c", prepare.join(" && "), "sh"];
  return succeeded(await run([...apart, ...(privileged ? [] : drop), ...program, ...args]));
}

describe("ptrace_scope", () => {
  peerTest("1: one receiver at a time is allowed, and none afterwards", needs, async () => {
    const said = await under(
      1,
      `await using a = await peer("a", "receive", number, "2");
       await using b = await peer("b", "receive", number, "2");
       await using deaf = await peer("deaf", "deaf", number);
       const late = { timeoutMs: 3_000 };
       const all = [a, b, deaf, a, b].map((to) => (to === deaf ? send(to, late) : sendFile(to)));
       console.log((await Promise.all(all)).join());
       console.log(log.join());`,
    );
    expect(said.split("\n").slice(0, 2)).toEqual([
      "sent,sent,ETIMEDOUT,sent,sent",
      "a,none,b,none,deaf,none,a,none,b,none",
    ]);
  });

  peerTest("1: who gives up in line does not hold it up", needs, async () => {
    const said = await under(
      1,
      `await using a = await peer("a", "receive", number, "1");
       await using deaf = await peer("deaf", "deaf", number);
       const stop = new AbortController();
       const first = send(deaf, { signal: stop.signal });
       const second = send(a, { signal: AbortSignal.abort("not begun") });
       const third = send(a, { timeoutMs: 20 });
       const fourth = sendFile(a);
       console.log(await third, log.join());
       stop.abort(new Error("enough"));
       console.log(await first, await fourth);
       console.log(log.join());`,
    );
    expect(said.split("\n").slice(0, 3)).toEqual([
      "ETIMEDOUT deaf",
      "enough sent",
      "deaf,none,a,none",
    ]);
  });

  peerTest("1: not asked where the receiver may trace everybody", needs, async () => {
    const source = `await using a = await peer("a", "receive", number, "1");
      console.log(await sendFile(a), log.length);`;
    expect(await under(1, source, true)).toBe("sent 0\n");
  });

  peerTest("1: in a Worker it says that it cannot", needs, async () => {
    const source = `
      import { isMainThread, Worker, workerData } from "node:worker_threads";
      if (isMainThread) {
        const a = await peer("a", "deaf", number);
        const worker = new Worker(import.meta.filename, { workerData: a.pid });
        worker.on("message", async (message) => {
          console.log(message);
          a.kill();
          await a.exited;
          process.exit();
        });
      } else {
        const { parentPort } = await import("node:worker_threads");
        parentPort.postMessage(await send({ pid: workerData }) + " " + log.length);
      }`;
    expect(await under(1, source)).toBe("ERR_UNSUPPORTED 0\n");
  });

  for (const [scope, privileged, answer] of [
    [0, false, "sent"],
    [2, false, "EPERM"],
    [2, true, "sent"],
    [3, true, "EPERM"],
  ] as const) {
    const who = privileged ? "with" : "without";
    peerTest(`${scope}: ${who} CAP_SYS_PTRACE: ${answer}`, needs, async () => {
      const source = `await using a = await peer("a", "receive", number, "1");
        const said = await sendFile(a);
        console.log(/sent|EPERM.*ptrace_scope is ${scope}/.test(said), /sent|EPERM/.exec(said)[0]);
        console.log(log.length);`;
      expect(await under(scope, source, privileged)).toBe(`true ${answer}\n0\n`);
    });
  }
});

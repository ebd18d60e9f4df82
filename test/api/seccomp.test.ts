// Under a filter for system calls: what is refused is not promised, and asking ends nobody.

import { describe, expect, setDefaultTimeout } from "bun:test";
import { errno } from "../../native/errno.ts";
import { nr } from "../../native/numbers.ts";
import type { Capabilities } from "../../src/index.ts";
import { type Outcome, run, slower, succeeded, writeSource } from "../support/child.ts";
import { compileC, peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";

setDefaultTimeout(60_000 * slower);

const numbers = {
  mq_open: nr.SYS_mq_open,
  pidfd_open: nr.SYS_pidfd_open,
  pidfd_getfd: nr.SYS_pidfd_getfd,
  pidfd_send_signal: nr.SYS_pidfd_send_signal,
  io_setup: nr.SYS_io_setup,
};
type Call = keyof typeof numbers;

const dir = tempDir();
const ask = writeSource(
  dir,
  `import { capabilities } from "@/src/index.ts";
   console.log(JSON.stringify(capabilities()));`,
  "ask.ts",
);

/** A program under a filter that does this to these calls; "none" has a filter and no call. */
function filtered(
  action: "kill" | number,
  calls: readonly Call[],
  [...args]: string[],
): Promise<Outcome> {
  const list = calls.map((call) => numbers[call]).join(",") || "-1";
  const command = [compileC("test/fixtures/seccomp.c"), String(action), list, process.execPath];
  return run([...command, ...args], { env: { BUNIX_WAKER: undefined } });
}

async function found(action: "kill" | number, ...calls: Call[]): Promise<Capabilities> {
  return JSON.parse(succeeded(await filtered(action, calls, [ask])));
}

const yes = { available: true } as const;

describe("capabilities() under a filter", () => {
  peerTest("that refuses nothing of ours: all is there", ["cc"], async () => {
    const all = await found(errno.EPERM);
    const { pidfd, pidfdGetfd, pidfdSignals, messageQueues, sharedMemory, sendFd, sockDiag } = all;
    const asked = [pidfd, pidfdGetfd, pidfdSignals, messageQueues, sharedMemory, sendFd, sockDiag];
    for (const one of asked) expect(one).toEqual(yes);
    expect(all.waiting).toEqual(yes);
  });

  for (const action of ["kill", errno.EPERM, errno.ENOSYS] as const) {
    const why = action === "kill" ? /ends whoever calls it/ : /(EPERM|ENOSYS), .*seccomp/;
    const no = (call: Call): object => ({
      available: false,
      reason: expect.stringMatching(new RegExp(`^${call}: .*${why.source}`)),
    });

    peerTest(`with ${action} for message queues and pidfd_getfd`, ["cc"], async () => {
      const all = await found(action, "mq_open", "pidfd_getfd");
      expect(all.messageQueues).toEqual(no("mq_open") as never);
      expect(all.pidfdGetfd).toEqual(no("pidfd_getfd") as never);
      expect(all.sendFd).toEqual(no("pidfd_getfd") as never);
      expect([all.pidfd, all.pidfdSignals, all.waiting]).toEqual([yes, yes, yes] as never);
    });
  }

  peerTest(
    "that ends who calls io_setup: no waiting, unless the thread does it",
    ["cc"],
    async () => {
      const { waiting, waker } = await found("kill", "io_setup");
      expect(waker).toBeNull();
      expect(waiting.reason).toContain("BUNIX_WAKER=thread");
      const refused = await found(errno.EPERM, "io_setup");
      expect(refused.waker).toMatchObject({ kind: "thread", reason: "io_setup: EPERM" });
    },
  );
});

peerTest("bunix doctor leaves out what a filter refuses", ["cc"], async () => {
  for (const action of ["kill", errno.EPERM] as const) {
    const calls = ["mq_open", "pidfd_getfd"] as const;
    const outcome = await filtered(action, calls, ["src/cli/main.ts", "doctor", "--json"]);
    const { checks, ok } = JSON.parse(succeeded(outcome));
    expect(ok).toBe(true);
    const left = checks.filter(({ result }: { result: string }) => result === "left out");
    const names = left.map(({ name }: { name: string }) => name);
    expect(names).toEqual([
      "a message queue",
      "sockets over message queues",
      "a descriptor handed over by pid",
    ]);
  }
});

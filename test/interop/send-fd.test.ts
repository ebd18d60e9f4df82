// Descriptors to a C program and from one, by docs/send-fd.md; and to another Bun process. Set
// BUNIX_SEND_FD=10000 for the full number.

import { describe, expect } from "bun:test";
import { type ReceivedFd, receiveFds, sendFd, signalNumber } from "../../src/index.ts";
import { leakFree, marked, markOf } from "../api/tools.ts";
import { start, startScript, writeSource } from "../support/child.ts";
import { compileC } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { testsUnless, translatedSignals } from "../support/unless.ts";

const { peerTest, test } = testsUnless(await translatedSignals());
const COUNT = Number(process.env["BUNIX_SEND_FD"] ?? 1_000);
const AT_ONCE = 16;
const LIMIT_MS = 120_000;
const signal = "SIGRTMIN+5";
const peer = (...args: (string | number)[]): string[] => [
  compileC("test/fixtures/send-fd-peer.c"),
  ...args.map(String),
];

/** COUNT descriptors marked with their number, several at a time. */
async function sendAll(pid: number): Promise<void> {
  let next = 0;
  const one = async (): Promise<void> => {
    for (let i = next++; i < COUNT; i = next++) {
      using fd = marked(`fd ${i}`);
      await sendFd(pid, fd, { realtimeSignal: signal, timeoutMs: LIMIT_MS });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
}

describe(`${COUNT} descriptors`, () => {
  peerTest(
    "to a C program",
    ["cc"],
    () =>
      leakFree(async () => {
        const command = peer("receive", signalNumber(signal), COUNT);
        await using child = start(command, { timeoutMs: LIMIT_MS });
        await child.lineWith("ready");
        await sendAll(child.pid);
        const said = await child.line();
        expect(said).toMatch(
          new RegExp(`^took ${COUNT} distinct ${COUNT} uid ${process.getuid?.()} `),
        );
        const [, before, after] = / before (\d+) after (\d+)$/.exec(said!)!;
        expect(after!).toBe(before!);
      }),
    LIMIT_MS,
  );

  peerTest(
    "from a C program",
    ["cc"],
    () =>
      leakFree(async () => {
        using receiver = receiveFds({ realtimeSignal: signal });
        const command = peer("send", process.pid, signalNumber(signal), COUNT);
        await using child = start(command, { timeoutMs: LIMIT_MS });
        for (let i = 0; i < COUNT; i++) {
          const { fd, ...sender } = await receiver.receive();
          expect(markOf(fd)).toBe(`fd ${i}`);
          const [uid, gid] = [process.getuid?.() ?? -1, process.getgid?.() ?? -1];
          expect(sender).toEqual({ pid: child.pid, uid, gid });
          fd.close();
        }
        const said = await child.line();
        expect(said).toMatch(new RegExp(`^sent ${COUNT} refused 0 `));
        const [, before, after] = / before (\d+) after (\d+)$/.exec(said!)!;
        expect(after!).toBe(before!);
        expect([receiver.refused, receiver.lost]).toEqual([0, 0]);
      }),
    LIMIT_MS,
  );

  test(
    "to another Bun process",
    () =>
      leakFree(async () => {
        using dir = tempDir();
        const source = `
          import { receiveFds } from "@/src/index.ts";
          import { markOf, openAtMost, openFds, startLoop } from "@/test/api/tools.ts";
          await startLoop();
          const receiver = receiveFds({ realtimeSignal: "${signal}" });
          const before = openFds();
          const seen = new Set();
          console.log("ready");
          for await (const { fd, pid } of receiver) {
            if (pid === process.ppid) seen.add(markOf(fd));
            fd.close();
            if (seen.size === ${COUNT}) receiver.close();
          }
          await openAtMost(before, -2); // the pipe of the signal handler
          console.log(seen.size, receiver.refused);`;
        const main = writeSource(dir, source);
        await using child = startScript(main, [], { timeoutMs: LIMIT_MS });
        await child.lineWith("ready");
        await sendAll(child.pid);
        expect(await child.line()).toBe(`${COUNT} 0`);
        expect((await child.exited).code).toBe(0);
      }),
    LIMIT_MS,
  );
});

peerTest("all ways at once: two receivers here, a C program sends to both", ["cc"], () =>
  leakFree(async () => {
    const signals = ["SIGRTMIN+5", "SIGRTMIN+6"] as const;
    const each = 200;
    const take = async (one: (typeof signals)[number]): Promise<void> => {
      using receiver = receiveFds({ realtimeSignal: one });
      await using child = start(peer("send", process.pid, signalNumber(one), each));
      const received: ReceivedFd[] = [];
      for await (const next of receiver) {
        if (received.push(next) === each) receiver.close();
      }
      expect(received.map(({ fd }) => markOf(fd))).toEqual(
        Array.from({ length: each }, (_, i) => `fd ${i}`),
      );
      for (const { fd } of received) fd.close();
      expect(await child.line()).toContain(`sent ${each} refused 0 `);
    };
    await Promise.all(signals.map(take));
  }),
);

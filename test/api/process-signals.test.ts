// Signals sent by pid and by pidfd, as a C program receives them.

import { describe, expect, test } from "bun:test";
import { Fd } from "../../src/index.ts";
import { ProcessHandle } from "../../src/process/handle.ts";
import { sendSignal } from "../../src/process/send-signal.ts";
import type { SignalName } from "../../src/signals/names.ts";
import * as signalsModule from "../../src/signals.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { type Child, start, succeeded } from "../support/child.ts";
import { compileC, missing, peerTest } from "../support/peers.ts";
import { testUnless, translatedSignals } from "../support/unless.ts";
import { codeOf, failure, leakFree, thrown } from "./tools.ts";

const SI_USER = 0;
const SI_QUEUE = -1;

async function receiver(...args: string[]): Promise<Child> {
  const child = start([compileC("test/fixtures/signals.c"), ...args]);
  await child.lineWith("ready");
  return child;
}

const translated = await translatedSignals();

describe("sendSignal", () => {
  test("is in bunix/signals too, the same one", () => {
    expect(signalsModule.sendSignal).toBe(sendSignal);
    using watcher = signalsModule.watchSignals("SIGRTMIN+5");
    signalsModule.sendSignal(process.pid, "SIGRTMIN+5", { value: 11 });
    expect(watcher.receiveSync({ timeoutMs: 5_000 })).toMatchObject({ origin: "queue", value: 11 });
  });

  const lacking = translated ?? missing(["cc"]);
  testUnless(lacking, "by pid, by handle, by pidfd; with a value and without", () =>
    leakFree(async () => {
      await using child = await receiver();
      using handle = ProcessHandle.open(child.pid);
      using fd = Fd.duplicate(handle);
      const first = libc.__libc_current_sigrtmin();
      const signals: [SignalName | number, number][] = [
        ["SIGUSR1", 10],
        ["SIGCHLD", 17],
        ["SIGRTMIN", first],
        ["SIGRTMIN+5", first + 5],
        ["SIGRTMAX", 64],
        [12, 12],
      ];
      for (const to of [child.pid, handle, fd, { fd: handle.fd }]) {
        for (const [signal, number] of signals) {
          sendSignal(to, signal);
          expect(await child.line()).toMatch(new RegExp(`^${number} ${SI_USER} ${process.pid} `));
          for (const value of [0, 42, -1, 2 ** 31 - 1, -(2 ** 31)]) {
            sendSignal(to, signal, { value });
            expect(await child.line()).toBe(`${number} ${SI_QUEUE} ${process.pid} ${value}`);
          }
        }
      }
      handle.signal("SIGRTMIN+1", { value: 7 });
      expect(await child.line()).toBe(`${first + 1} ${SI_QUEUE} ${process.pid} 7`);
      handle.signal("SIGTERM");
      succeeded(await child.exited);
      expect(await codeOf(() => handle.signal("SIGTERM"))).toBe("ESRCH");
      expect(await codeOf(() => handle.signal("SIGTERM", { value: 1 }))).toBe("ESRCH");
      expect(await codeOf(() => sendSignal(child.pid, "SIGTERM"))).toBe("ESRCH");
      expect(await codeOf(() => sendSignal(child.pid, "SIGTERM", { value: 1 }))).toBe("ESRCH");
    }),
  );

  peerTest(
    "a full queue is EAGAIN, and what was taken arrives in order",
    ["cc", "prlimit"],
    async () => {
      const program = compileC("test/fixtures/signals.c");
      await using child = start(["prlimit", "--sigpending=20", program, "wait"]);
      await child.lineWith("ready");
      let sent = 0;
      const error = await failure(() => {
        for (; sent < 1000; sent++) sendSignal(child.pid, "SIGRTMIN+1", { value: sent });
      });
      expect(error).toMatchObject({ code: "EAGAIN", syscall: "sigqueue" });
      expect(error.message).toContain("RLIMIT_SIGPENDING");
      expect(sent).toBeGreaterThan(0);
      child.write("go\n");
      for (let i = 0; i < sent; i++) expect((await child.line())?.split(" ")[3]).toBe(String(i));
      sendSignal(child.pid, "SIGTERM");
      succeeded(await child.exited);
    },
  );

  test("0 only asks", async () => {
    sendSignal(process.pid, 0);
    using self = ProcessHandle.open(process.pid);
    sendSignal(self, 0);
    expect(await thrown(() => sendSignal(self, 0, { value: 1 }))).toBeInstanceOf(RangeError);
  });

  test("what is refused before any call, with the reason", async () => {
    const why = async (signal: unknown, value?: number): Promise<string> =>
      String(await thrown(() => sendSignal(process.pid, signal as number, { value })));
    expect(await why("SIGPWR")).toMatch(/RangeError.*JavaScriptCore/);
    expect(await why(30)).toMatch(/RangeError.*SIGPWR/);
    for (let number = 32; number < libc.__libc_current_sigrtmin(); number++) {
      expect(await why(number)).toMatch(/RangeError.*libc keeps it/);
    }
    for (const signal of ["SIGNOPE", "sigusr1", "SIGRTMIN+99", -1, 65, 1.5]) {
      expect(await why(signal)).toContain("RangeError");
    }
    for (const signal of [null, {}, true]) expect(await why(signal)).toContain("TypeError");
    for (const value of [1.5, 2 ** 31, Number.NaN]) {
      expect(await why("SIGUSR1", value)).toContain("RangeError");
    }
    for (const pid of [0, -1, -process.pid, 1.5]) {
      expect(await thrown(() => sendSignal(pid, 0))).toBeInstanceOf(RangeError);
    }
    expect(await codeOf(() => sendSignal({ fd: 999_999 }, 0))).toBe("EBADF");
  });
});

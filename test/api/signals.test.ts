// Signals that this process sends to itself: what is promised of each call.

import { afterEach, describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { sigaction } from "../../native/signal.ts";
import {
  capabilities,
  listen,
  type SignalWatcher,
  signalName,
  signalNumber,
  watchSignals,
} from "../../src/index.ts";
import { reservedSignal } from "../../src/signals/names.ts";
import { Disposition } from "../../src/syscalls/signal.ts";
import { tempDir } from "../support/tmp.ts";
import { codeOf, leakFree, thrown, turns } from "./tools.ts";

const self = (signal: NodeJS.Signals | number): void => void process.kill(process.pid, signal);

/** The kernel's mask has 64 bits; libc leaves what was on the stack in the rest of its own. */
const MASK_BYTES = 8;
const SIG_IGN = 1;
/** A flag that libc sets for itself. */
const SA_RESTORER = 0x04000000;

function disposition(signal: "SIGUSR1" | "SIGUSR2" | "SIGTERM" | "SIGRTMIN+4"): string {
  const found = Disposition.of(signalNumber(signal));
  if (typeof found === "number") throw new Error(`sigaction: ${found}`);
  const bytes = Buffer.from(found.bytes);
  const { sa_sigaction: handler, sa_mask: mask, sa_flags: flags } = sigaction.at;
  const set = bytes.readUInt32LE(flags) & ~SA_RESTORER;
  const parts = [bytes.subarray(handler, handler + 8), bytes.subarray(mask, mask + MASK_BYTES)];
  return `${parts.map((part) => part.toString("hex")).join(" ")} ${set.toString(16)}`;
}

/** The function alone: Bun goes back to the default with other flags than it found. */
const handlerOf = (...args: Parameters<typeof disposition>): string =>
  disposition(...args).split(" ")[0]!;

const open: SignalWatcher[] = [];
const watch: typeof watchSignals = (...args) => {
  const watcher = watchSignals(...args);
  open.push(watcher);
  return watcher;
};
afterEach(() => {
  for (const watcher of open.splice(0)) watcher.close();
});

describe("names and numbers", () => {
  test("there and back", () => {
    expect(signalNumber("SIGUSR1")).toBe(10);
    expect(signalNumber("SIGRTMAX")).toBe(64);
    expect(signalNumber("SIGRTMIN+2") - signalNumber("SIGRTMIN")).toBe(2);
    expect(signalNumber("SIGRTMAX-1")).toBe(63);
    for (let number = 1; number <= 64; number++) {
      const name = signalName(number);
      if (/^SIG\d/.test(name)) expect(reservedSignal(number)).toContain("libc");
      else expect(signalNumber(name as never)).toBe(number);
    }
  });

  test("what is none is refused, and so is what belongs to others", async () => {
    for (const signal of ["USR1", "SIGRTMIN+99", "SIGRTMAX-64", "sigusr1", "", "toString"]) {
      expect(await thrown(() => watch(signal as never))).toBeInstanceOf(RangeError);
    }
    for (const signal of [0, 65, 1.5, -1]) {
      expect(await thrown(() => watch(signal))).toBeInstanceOf(RangeError);
    }
    expect(await thrown(() => watch([{}] as never))).toBeInstanceOf(TypeError);
    expect(await thrown(() => watch([]))).toBeInstanceOf(RangeError);
    expect(await thrown(() => watch("SIGUSR1", { maxQueued: 0 }))).toBeInstanceOf(RangeError);
    const reserved = ["SIGKILL", "SIGSTOP", "SIGPWR", "SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE"];
    for (const signal of [...reserved, "SIGTRAP", "SIGSYS", "SIGABRT", 32, 33]) {
      const before = disposition("SIGUSR1");
      const error = await thrown(() => watch(["SIGUSR1", signal as never]));
      expect(error, String(signal)).toBeInstanceOf(RangeError);
      expect(String(error)).toContain("cannot be watched");
      expect(disposition("SIGUSR1")).toBe(before);
    }
  });
});

describe("events", () => {
  test("say what came, from whom and when", async () => {
    const watcher = watch(["SIGUSR1", "SIGUSR2"]);
    expect(watcher.signals).toEqual(["SIGUSR1", "SIGUSR2"]);
    expect(watcher.source).toBe("handler");
    const begin = performance.now();
    const coming = watcher.receive();
    await turns();
    self("SIGUSR2");
    const event = await coming;
    expect(event).toEqual({
      ...{ signal: "SIGUSR2", number: 12, origin: "user", siCode: 0, pid: process.pid },
      ...{ uid: process.getuid!(), value: undefined, pointer: undefined, status: undefined },
      time: event.time,
    });
    expect(event.time).toBeGreaterThanOrEqual(begin);
    expect(event.time).toBeLessThanOrEqual(performance.now());
    expect(watcher.lost).toBe(0);
  });

  test("wait until they are asked for, in their order", async () => {
    const watcher = watch(["SIGUSR1", "SIGUSR2", "SIGRTMIN+4"]);
    const sent = ["SIGUSR1", "SIGRTMIN+4", "SIGUSR2", "SIGUSR1"] as const;
    for (const signal of sent) self(signalNumber(signal));
    const came = [watcher.tryReceive(), watcher.receiveSync(), await watcher.receive()];
    came.push(watcher.receiveSync({ timeoutMs: 1_000 }));
    expect(came.map((event) => event?.signal)).toEqual([...sent]);
    expect(watcher.tryReceive()).toBeUndefined();
    expect(await codeOf(() => watcher.receiveSync({ timeoutMs: 5 }))).toBe("ETIMEDOUT");
  });

  test("each watcher of a signal gets each, and only what came while it was open", async () => {
    const first = watch("SIGUSR1");
    self("SIGUSR1");
    const second = watch(["SIGUSR1", "SIGUSR2"]);
    const waiting = second.receive();
    self("SIGUSR2");
    self("SIGUSR1");
    expect((await waiting).signal).toBe("SIGUSR2");
    expect((await second.receive()).signal).toBe("SIGUSR1");
    first.tryReceive();
    first.close();
    self("SIGUSR1");
    expect((await second.receive()).signal).toBe("SIGUSR1");
    expect(second.tryReceive()).toBeUndefined();
  });

  test("receives are served in their order", async () => {
    const watcher = watch(["SIGUSR1", "SIGUSR2"]);
    const all = Promise.all([watcher.receive(), watcher.receive()]);
    await turns();
    self("SIGUSR2");
    self("SIGUSR1");
    expect((await all).map(({ signal }) => signal)).toEqual(["SIGUSR2", "SIGUSR1"]);
  });

  test("a child's end", async () => {
    const watcher = watch("SIGCHLD");
    const child = Bun.spawn(["sh", "-c", "exit 7"]);
    const event = await watcher.receive();
    expect(event).toMatchObject({ origin: "child", pid: child.pid, status: 7, value: undefined });
    expect(await child.exited).toBe(7);
  });

  test("more than maxQueued are counted as lost", () => {
    const watcher = watch("SIGUSR1", { maxQueued: 2 });
    const other = watch(["SIGUSR1", "SIGUSR2"]);
    for (let i = 0; i < 5; i++) self("SIGUSR1");
    self("SIGUSR2");
    while (other.tryReceive() !== undefined) {}
    expect(watcher.lost).toBe(3);
    expect(other.lost).toBe(0);
    watcher.receiveSync();
    watcher.receiveSync();
    expect(watcher.tryReceive()).toBeUndefined();
    watcher.close();
    expect(watcher.lost).toBe(3);
  });
});

describe("waiting", () => {
  test("ends with the abort signal's reason, and the next is not taken away", async () => {
    const watcher = watch("SIGUSR1");
    const stop = new AbortController();
    const reason = new Error("enough");
    const waiting = thrown(() => watcher.receive({ signal: stop.signal }));
    const next = watcher.receive({ signal: new AbortController().signal });
    await turns();
    stop.abort(reason);
    expect(await waiting).toBe(reason);
    expect(await thrown(() => watcher.receive({ signal: stop.signal }))).toBe(reason);
    self("SIGUSR1");
    expect((await next).signal).toBe("SIGUSR1");
  });

  test("ends with ERR_CLOSED", async () => {
    const watcher = watch("SIGUSR1");
    const waiting = codeOf(() => watcher.receive());
    await turns();
    watcher.close();
    watcher.close();
    expect(await waiting).toBe("ERR_CLOSED");
    expect(watcher.closed).toBeTrue();
    for (const use of [
      () => watcher.receive(),
      () => watcher.tryReceive(),
      () => watcher.receiveSync(),
    ]) {
      expect(await codeOf(use)).toBe("ERR_CLOSED");
    }
  });

  test("the iterator ends when it is closed", async () => {
    const watcher = watch("SIGUSR1");
    const seen: string[] = [];
    self("SIGUSR1");
    for await (const event of watcher) {
      seen.push(event.signal);
      if (seen.length < 3) self("SIGUSR1");
      else watcher.close();
    }
    expect(seen.length).toBe(3);
  });

  test("another watcher's wait does not hold this one's events back", async () => {
    const never = watch("SIGHUP");
    const watcher = watch("SIGUSR1");
    const waiting = thrown(() => never.receive());
    for (let i = 0; i < 50; i++) {
      const coming = watcher.receive();
      self("SIGUSR1");
      expect((await coming).signal).toBe("SIGUSR1");
    }
    never.close();
    await waiting;
  });
});

describe("what was before", () => {
  test("holds again, to the last bit, when the last watcher has gone", () => {
    const before = disposition("SIGRTMIN+4");
    const [one, other] = [watch("SIGRTMIN+4"), watch(["SIGRTMIN+4", "SIGUSR1"])];
    const during = disposition("SIGRTMIN+4");
    expect(during).not.toBe(before);
    one.close();
    expect(disposition("SIGRTMIN+4")).toBe(during);
    other.close();
    expect(disposition("SIGRTMIN+4")).toBe(before);
  });

  test("process.on is silent meanwhile, and is heard again", async () => {
    let heard = 0;
    const listener = (): void => void (heard += 1);
    process.on("SIGUSR2", listener);
    try {
      const before = disposition("SIGUSR2");
      const watcher = watch("SIGUSR2");
      self("SIGUSR2");
      await watcher.receive();
      await turns();
      expect(heard).toBe(0);
      watcher.close();
      expect(disposition("SIGUSR2")).toBe(before);
      self("SIGUSR2");
      while (heard === 0) await turns();
    } finally {
      process.off("SIGUSR2", listener);
    }
  });

  test("listeners that come meanwhile are heard afterwards; those that went are not", async () => {
    const before = handlerOf("SIGUSR2");
    let heard = 0;
    const listener = (): void => void (heard += 1);
    const watcher = watch("SIGUSR2");
    for (const when of ["on", "off", "on"] as const) {
      process[when]("SIGUSR2", listener);
      self("SIGUSR2");
      expect((await watcher.receive()).pid).toBe(process.pid);
    }
    watcher.close();
    expect(heard).toBe(0);
    self("SIGUSR2");
    while (heard === 0) await turns();
    const again = watch("SIGUSR2");
    process.off("SIGUSR2", listener);
    self("SIGUSR2");
    await again.receive();
    again.close();
    expect([heard, handlerOf("SIGUSR2")]).toEqual([1, before]);
  });

  test("a listening socket's own care for SIGTERM does not take the signal away", async () => {
    using dir = tempDir();
    const before = handlerOf("SIGTERM");
    for (const order of ["watch first", "listen first"]) {
      const early = order === "watch first" ? watch("SIGTERM") : null;
      using listener = listen(dir.file("s"));
      const watcher = early ?? watch("SIGTERM");
      expect(await codeOf(() => listener.acceptSync({ timeoutMs: 1 }))).toBe("ETIMEDOUT");
      self("SIGTERM");
      expect((await watcher.receive()).signal, order).toBe("SIGTERM");
      expect(existsSync(dir.file("s"))).toBeTrue();
      watcher.close();
    }
    expect(handlerOf("SIGTERM")).toBe(before);
  });

  test("what somebody else has set since is left alone", () => {
    const [before, ignored] = [Disposition.of(12), Disposition.handler(SIG_IGN)];
    const watcher = watch("SIGUSR2");
    ignored.install(12);
    const theirs = disposition("SIGUSR2");
    watcher.close();
    expect(disposition("SIGUSR2")).toBe(theirs);
    if (typeof before === "object") before.install(12);
  });

  test("nothing leaks", () =>
    leakFree(async () => {
      for (let i = 0; i < 50; i++) {
        using watcher = watchSignals(["SIGUSR1", "SIGRTMIN+4"]);
        const waiting = watcher.receive();
        self("SIGUSR1");
        await waiting;
        self("SIGUSR1");
      }
      await thrown(() => watchSignals(["SIGUSR1", "SIGKILL"]));
    }));
});

test("capabilities() says that senders are told", () => {
  const { signals, signalSenders } = capabilities();
  expect([signals, signalSenders]).toEqual([{ available: true }, { available: true }]);
});

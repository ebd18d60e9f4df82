// Descriptors by pid and signal: what is promised to both sides.

import { test as anywhere, describe, expect, setDefaultTimeout } from "bun:test";
import { fstatSync } from "node:fs";
import {
  Fd,
  ProcessHandle,
  type RealtimeSignal,
  receiveFds,
  type SendFdOptions,
  sendFd,
  sendSignal,
  signalNumber,
  socketPair,
} from "../../src/index.ts";
import { runSource, slower, startScript, succeeded, writeSource } from "../support/child.ts";
import { tempDir } from "../support/tmp.ts";
import { testsUnless, translatedSignals } from "../support/unless.ts";
import {
  codeOf,
  failure,
  isCloseOnExec,
  isOpen,
  leakFree,
  marked,
  markOf,
  thrown,
  turns,
} from "./tools.ts";

setDefaultTimeout(30_000 * slower);

const { test } = testsUnless(await translatedSignals());
const realtimeSignal: RealtimeSignal = "SIGRTMIN+7";
const self = process.pid;
const sent = (fd: Fd, options: Partial<SendFdOptions> = {}): Promise<void> =>
  sendFd(self, fd, { realtimeSignal, ...options });

describe("a descriptor", () => {
  test("is the same open file, close-on-exec, and the sender keeps his", () =>
    leakFree(async () => {
      using receiver = receiveFds({ realtimeSignal });
      using fd = marked("the one");
      const sending = sent(fd);
      const { fd: got, pid, uid, gid } = await receiver.receive();
      await sending;
      expect([pid, uid, gid]).toEqual([self, process.getuid?.() ?? -1, process.getgid?.() ?? -1]);
      expect(markOf(got)).toBe("the one");
      expect(fstatSync(got.fd).ino).toBe(fstatSync(fd.fd).ino);
      expect(isCloseOnExec(got.fd)).toBe(true);
      expect(fd.closed).toBe(false);
      got.close();
    }));

  test("may be closed as soon as sendFd has returned", () =>
    leakFree(async () => {
      using receiver = receiveFds({ realtimeSignal });
      const fd = marked("closed");
      const sending = sent(fd);
      fd.close();
      using got = (await receiver.receive()).fd;
      await sending;
      expect(markOf(got)).toBe("closed");
    }));

  test("goes with transfer, and stays where that fails", () =>
    leakFree(async () => {
      using receiver = receiveFds({ realtimeSignal, allow: () => false });
      using fd = marked("kept");
      receiver.receive().catch(() => {});
      expect(await codeOf(() => sent(fd, { transfer: true }))).toBe("EACCES");
      expect(fd.closed).toBe(false);
      receiver.close();
      using second = receiveFds({ realtimeSignal });
      const sending = sent(fd, { transfer: true });
      using got = (await second.receive()).fd;
      await sending;
      expect([fd.closed, markOf(got)]).toEqual([true, "kept"]);
    }));

  test("of any kind: a socket, a pidfd, standard input, by number and by object", () =>
    leakFree(async () => {
      using receiver = receiveFds({ realtimeSignal });
      const [a, b] = socketPair("stream");
      using handle = ProcessHandle.open(self);
      for (const [what, kind] of [
        [a, "socket"],
        [handle, "pidfd"],
        [{ fd: a.fd }, "socket"],
        [b.fd, "socket"],
      ] as const) {
        const sending = sendFd(handle, what, { realtimeSignal });
        using got = (await receiver.receive()).fd;
        await sending;
        expect(got.describe().kind).toBe(kind);
      }
      a.close();
      b.close();
    }));

  test("to a pid, a handle, a pidfd", () =>
    leakFree(async () => {
      using receiver = receiveFds({ realtimeSignal });
      using handle = ProcessHandle.open(self);
      using pidfd = Fd.duplicate(handle);
      using fd = marked("to");
      for (const to of [self, handle, pidfd, { fd: pidfd.fd }]) {
        const sending = sendFd(to, fd, { realtimeSignal: signalNumber(realtimeSignal) });
        using got = (await receiver.receive()).fd;
        await sending;
        expect(markOf(got)).toBe("to");
      }
    }));
});

describe("receiving", () => {
  test("many at once: each exactly once", () =>
    leakFree(async () => {
      using receiver = receiveFds({ realtimeSignal });
      const count = 200;
      const marks = new Set<string>();
      const all = Array.from({ length: count }, async (_, i) => {
        using fd = marked(`fd ${i}`);
        await sent(fd);
      });
      for (let i = 0; i < count; i++) {
        using got = (await receiver.receive()).fd;
        marks.add(markOf(got));
      }
      await Promise.all(all);
      expect(marks.size).toBe(count);
      expect([receiver.refused, receiver.lost]).toEqual([0, 0]);
    }));

  test("now, or not; and nothing is taken before it is received", () =>
    leakFree(async () => {
      using receiver = receiveFds({ realtimeSignal });
      using fd = marked("later");
      expect(receiver.tryReceive()).toBeUndefined();
      let done = false;
      const sending = sent(fd).then(() => (done = true));
      await turns();
      expect(done).toBe(false);
      let got = receiver.tryReceive();
      while (got === undefined) got = receiver.tryReceive(); // another thread may have the signal
      await sending;
      expect(markOf(got.fd)).toBe("later");
      got.fd.close();
    }));

  test("blocking the thread: in time and too late", () =>
    leakFree(async () => {
      using receiver = receiveFds({ realtimeSignal });
      expect(await codeOf(() => receiver.receiveSync({ timeoutMs: 1 }))).toBe("ETIMEDOUT");
      using fd = marked("blocked");
      const sending = sent(fd);
      using got = receiver.receiveSync().fd;
      await sending;
      expect(markOf(got)).toBe("blocked");
    }));

  test("given up, closed, iterated", () =>
    leakFree(async () => {
      const receiver = receiveFds({ realtimeSignal });
      expect(receiver.realtimeSignal).toBe(realtimeSignal);
      const stop = new AbortController();
      const given = receiver.receive({ signal: stop.signal });
      stop.abort(new Error("enough"));
      expect(String(await thrown(() => given))).toContain("enough");
      const aborted = AbortSignal.abort(new Error("before"));
      expect(String(await thrown(() => receiver.receive({ signal: aborted })))).toContain("before");
      using fd = marked("looped");
      const sending = sent(fd);
      for await (const { fd: got } of receiver) {
        expect(markOf(got)).toBe("looped");
        got.close();
        break;
      }
      await sending;
      const waiting = receiver.receive();
      const looping = Array.fromAsync(receiver);
      await turns();
      receiver.close();
      receiver.close();
      expect(await codeOf(() => waiting)).toBe("ERR_CLOSED");
      expect(await looping).toEqual([]);
      expect(receiver.closed).toBe(true);
      expect(await codeOf(() => receiver.receive())).toBe("ERR_CLOSED");
      expect(await codeOf(() => receiver.tryReceive())).toBe("ERR_CLOSED");
      expect(await codeOf(() => receiver.receiveSync())).toBe("ERR_CLOSED");
    }));

  test("allow: who is let in, who is not, and who it throws at", () =>
    leakFree(async () => {
      const asked: unknown[] = [];
      const verdicts = [true, false, "throw"];
      using receiver = receiveFds({
        realtimeSignal,
        allow: (sender) => {
          asked.push(sender);
          const verdict = verdicts.shift();
          if (verdict === "throw") throw new Error("allow failed");
          return verdict === true;
        },
      });
      using fd = marked("asked");
      const first = sent(fd);
      (await receiver.receive()).fd.close();
      await first;
      const rest = [codeOf(() => sent(fd)), codeOf(() => sent(fd))];
      expect(String(await thrown(() => receiver.receive()))).toContain("allow failed");
      expect(await Promise.all(rest)).toEqual(["EACCES", "EACCES"]);
      const sender = { pid: self, uid: process.getuid?.(), gid: process.getgid?.() };
      expect(asked).toEqual([sender, sender, sender]);
      expect(receiver.refused).toBe(1);
    }));
});

test("allow: only true is yes; a promise is a TypeError for whoever receives", () =>
  leakFree(async () => {
    let answer: unknown;
    using receiver = receiveFds({ realtimeSignal, allow: (() => answer) as () => boolean });
    using fd = marked("asked");
    for (answer of [1, "no", { ok: false }]) {
      const before = receiver.refused;
      const refused = codeOf(() => sent(fd));
      while (receiver.refused === before) {
        expect(receiver.tryReceive()).toBeUndefined();
        await Bun.sleep(1);
      }
      expect(await refused).toBe("EACCES");
    }
    answer = Promise.resolve(true);
    const refused = codeOf(() => sent(fd));
    expect(await thrown(() => receiver.receive())).toBeInstanceOf(TypeError);
    expect(await refused).toBe("EACCES");
  }));

describe("when it closes", () => {
  test("who waits is told, and a late signal does nothing", () =>
    leakFree(async () => {
      const receiver = receiveFds({ realtimeSignal });
      using fd = marked("unread");
      const waiting = [failure(() => sent(fd)), failure(() => sent(fd))];
      await turns();
      receiver.close();
      for (const error of await Promise.all(waiting)) expect(error.code).toBe("ECONNREFUSED");
      sendSignal(self, realtimeSignal, { value: 1 }); // would end the process
      await turns();
      expect((await failure(() => sent(fd))).message).toContain(`ignores ${realtimeSignal}`);
    }));

  test("a handler that was there before is there again", async () => {
    const source = `
      import { receiveFds, watchSignals } from "@/src/index.ts";
      using watcher = watchSignals("SIGRTMIN+8");
      receiveFds({ realtimeSignal: "SIGRTMIN+8" }).close();
      process.kill(process.pid, watcher.signals.length && 42);
      console.log((await watcher.receive()).signal);
      watcher.close();
      process.kill(process.pid, 42);
      setInterval(() => {}, 1000);`;
    const { stdout, signal, code } = await runSource(
      source.replaceAll("42", String(signalNumber("SIGRTMIN+8"))),
    );
    expect([stdout, code === 0]).toEqual(["SIGRTMIN+8\n", false]);
    expect(signal).not.toBe("SIGKILL");
  });

  test("a process stays for a receive, not for a receiver or an unreferenced one", async () => {
    const source = `
      import { receiveFds } from "@/src/index.ts";
      receiveFds({ realtimeSignal: "SIGRTMIN+8" });
      receiveFds({ realtimeSignal: "SIGRTMIN+9" }).unref().receive();
      console.log("end");`;
    expect(succeeded(await runSource(source))).toBe("end\n");
    using dir = tempDir();
    const waits = `
      import { receiveFds } from "@/src/index.ts";
      const waits = receiveFds({ realtimeSignal: "SIGRTMIN+8" }).unref().ref();
      console.log("ready");
      (await waits.receive()).fd.close();
      console.log("end");`;
    await using child = startScript(writeSource(dir, waits));
    await child.lineWith("ready");
    using fd = marked("stay");
    await sendFd(child.pid, fd, { realtimeSignal: "SIGRTMIN+8" });
    expect(await child.line()).toBe("end");
    expect((await child.exited).code).toBe(0);
  });
});

describe("refused before any call", () => {
  anywhere("signals that are not real-time, options, descriptors, targets", async () => {
    using fd = marked("x");
    const options = { realtimeSignal };
    const range: [() => unknown][] = [
      [() => sendFd(self, fd, { realtimeSignal: "SIGUSR1" as RealtimeSignal })],
      [() => sendFd(self, fd, { realtimeSignal: 10 })],
      [() => sendFd(self, fd, { realtimeSignal: "SIGRTMIN+99" })],
      [() => sendFd(self, -1, options)],
      [() => sendFd(0, fd, options)],
      [() => sendFd(-self, fd, options)],
      [() => sendFd(self, fd, { ...options, timeoutMs: -1 })],
      [() => receiveFds({ realtimeSignal: "SIGTERM" as RealtimeSignal })],
    ];
    for (const [call] of range) expect(await thrown(call)).toBeInstanceOf(RangeError);
    const type: (() => unknown)[] = [
      () => sendFd("1" as unknown as number, fd, options),
      () => sendFd(self, "1" as unknown as number, options),
      () => sendFd(self, fd, { realtimeSignal: null as unknown as RealtimeSignal }),
      () => sendFd(self, fd, { ...options, timeoutMs: "1" as unknown as number }),
      () => receiveFds({ ...options, allow: true as unknown as () => boolean }),
    ];
    for (const call of type) expect(await thrown(call)).toBeInstanceOf(TypeError);
    const signal = AbortSignal.abort(new Error("before"));
    expect(String(await thrown(() => sent(fd, { signal })))).toContain("before");
  });

  anywhere("a descriptor that is not open", () =>
    leakFree(async () => {
      using receiver = receiveFds({ realtimeSignal });
      expect(isOpen(999_999)).toBe(false);
      expect(await codeOf(() => sendFd(self, 999_999, { realtimeSignal }))).toBe("EBADF");
      expect(receiver.tryReceive()).toBeUndefined();
    }),
  );

  anywhere("without the signal handler, in a Worker", async () => {
    const source = `
      import { receiveFds } from "@/src/index.ts";
      try {
        receiveFds({ realtimeSignal: "SIGRTMIN+8" });
      } catch ({ name, capability }) {
        console.log(name, capability);
      }
      process.kill(process.pid, 42);
      setInterval(() => {}, 1000);`.replace("42", String(signalNumber("SIGRTMIN+8")));
    const env = { BUNIX_SIGNALS: "process" };
    const { stdout, code } = await runSource(source, { env });
    // and the signal means what it meant before
    expect([stdout, code === 0]).toEqual(["UnsupportedError signalSenders\n", false]);
    const worker = `
      import { Worker, isMainThread } from "node:worker_threads";
      import { receiveFds } from "@/src/index.ts";
      if (isMainThread) new Worker(import.meta.filename);
      else {
        try {
          receiveFds({ realtimeSignal: "SIGRTMIN+8" });
        } catch ({ name, capability }) {
          console.log(name, capability);
        }
      }`;
    expect(succeeded(await runSource(worker))).toBe("UnsupportedError signals\n");
  });
});

test("from a Worker, to the main thread", async () => {
  const source = `
    import { Worker, isMainThread } from "node:worker_threads";
    import { receiveFds, sendFd } from "@/src/index.ts";
    const options = { realtimeSignal: "SIGRTMIN+8" };
    if (isMainThread) {
      const receiver = receiveFds(options);
      new Worker(import.meta.filename);
      const { fd, pid } = await receiver.receive();
      console.log("received", fd.describe().kind, pid === process.pid);
      fd.close();
    } else {
      await sendFd(process.pid, 0, options);
    }`;
  expect(succeeded(await runSource(source))).toMatch(/^received (pipe|socket) true\n$/);
});

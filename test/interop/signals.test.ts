// Signals from foreign programs, in numbers and from hostile ones; and the lives of processes.

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { errno } from "../../native/errno.ts";
import {
  type SignalEvent,
  type SignalWatcher,
  signalNumber,
  watchSignals,
} from "../../src/index.ts";
import { lastError, libc } from "../../src/syscalls/libc.ts";
import { eventually } from "../api/tools.ts";
import {
  run,
  runSource,
  slower,
  start,
  startScript,
  succeeded,
  writeSource,
} from "../support/child.ts";
import { compileC, peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { foreignNumber, noCompiledPrograms, testUnless } from "../support/unless.ts";

setDefaultTimeout(60_000 * slower);

const OWN = signalNumber("SIGRTMIN+1");
const RT = await foreignNumber(OWN);
const peer = (verb: string, ...args: (string | number)[]): string[] => [
  compileC("test/fixtures/signal-peer.c"),
  verb,
  String(process.pid),
  ...args.map(String),
];

/** How often each of the values 0 … count − 1 came, until all came or are counted as lost. */
async function tally(watcher: SignalWatcher, count: number): Promise<{ seen: Uint8Array }> {
  const seen = new Uint8Array(count);
  for (let received = 0; received + watcher.lost < count; ) {
    const stop = AbortSignal.timeout(100); // the last ones may be lost: look at the count again
    const event = await watcher.receive({ signal: stop }).catch(() => null);
    if (event === null) continue;
    received += 1;
    seen[event.value!]! += 1;
  }
  return { seen };
}

describe("a sender", () => {
  peerTest("/bin/kill -q: value, pid and uid", ["kill"], async () => {
    using watcher = watchSignals("SIGUSR1");
    const sender = Bun.spawn(["/bin/kill", "-USR1", "-q", "3", String(process.pid)]);
    const event = await watcher.receive();
    const from = { pid: sender.pid, uid: process.getuid?.() };
    expect(event).toMatchObject({ signal: "SIGUSR1", origin: "queue", value: 3, ...from });
    await sender.exited;
  });

  const cases: Readonly<Record<string, [args: (string | number)[], event: Partial<SignalEvent>]>> =
    {
      kill: [[RT], { origin: "user", value: undefined }],
      thread: [[RT], { origin: "thread", value: undefined }],
      pointer: [[RT, "fedcba9880000001"], { origin: "queue", pointer: 0xfedc_ba98_8000_0001n }],
      queue: [[RT, 1], { origin: "queue", value: 0, pointer: 0n }],
    };
  for (const [verb, [args, expected]] of Object.entries(cases)) {
    peerTest(`in C: ${verb}`, ["cc"], async () => {
      using watcher = watchSignals("SIGRTMIN+1");
      await using child = start(peer(verb, ...args));
      const said = await child.line();
      const event = await watcher.receive();
      expect(event).toMatchObject({ number: OWN, ...expected });
      expect(`pid ${event.pid} uid ${event.uid}`).toBe(said!);
    });
  }

  peerTest("that lies: with sigqueue, pid and uid are what it claims", ["cc"], async () => {
    using watcher = watchSignals("SIGRTMIN+1");
    succeeded(await run(peer("forge", RT, 1)));
    expect(await watcher.receive()).toMatchObject({ origin: "queue", pid: 1, uid: 4711 });
  });

  peerTest("in Python", ["python3"], async () => {
    using watcher = watchSignals("SIGUSR2");
    const kill = `os.kill(${process.pid}, signal.SIGUSR2)`;
    const program = `import os, signal; ${kill}; print(os.getpid())`;
    const said = succeeded(await run(["python3", "-c", program]));
    expect(await watcher.receive()).toMatchObject({ origin: "user", pid: Number(said) });
  });
});

describe("in numbers", () => {
  peerTest("10,000 queued: each exactly once, with a server at work", ["cc"], async () => {
    using watcher = watchSignals("SIGRTMIN+1");
    const server = Bun.serve({ port: 0, fetch: () => new Response("here") });
    await using child = start(peer("queue", RT, 10_000));
    const fetching = (async () => {
      for (let i = 0; i < 50; i++) expect(await (await fetch(server.url)).text()).toBe("here");
    })();
    const { seen } = await tally(watcher, 10_000);
    expect(seen.every((times) => times === 1)).toBeTrue();
    expect(watcher.lost).toBe(0);
    expect((await child.exited).code).toBe(0);
    await fetching;
    await server.stop(true);
  });

  peerTest("100,000 as fast as can be: each once, or counted as lost", ["cc"], async () => {
    using watcher = watchSignals("SIGRTMIN+1");
    await using child = start(peer("queue", RT, 100_000));
    const { seen } = await tally(watcher, 100_000);
    expect(seen.every((times) => times <= 1)).toBeTrue();
    expect(seen.filter((times) => times === 1).length + watcher.lost).toBe(100_000);
    expect((await child.exited).code).toBe(0);
    console.log(`note: of 100,000 in a burst ${watcher.lost} lost and counted`);
  });

  peerTest("2,000 paced: in order", ["cc"], async () => {
    using watcher = watchSignals("SIGRTMIN+1");
    await using child = start(peer("paced", RT, 2_000));
    for (let i = 0; i < 2_000; i++) {
      child.write(".");
      expect((await watcher.receive()).value).toBe(i);
    }
    expect((await child.exited).code).toBe(0);
  });

  peerTest("more than the pipe holds while nobody reads: the rest is counted", ["cc"], async () => {
    using watcher = watchSignals("SIGRTMIN+1");
    using other = watchSignals("SIGRTMIN+2");
    const count = 40_000;
    const { success } = Bun.spawnSync(peer("queue", RT, count), { stdout: "ignore" });
    expect(success).toBeTrue();
    const seen = new Uint8Array(count);
    let received = 0;
    const take = (): void => {
      for (let event = watcher.tryReceive(); event; event = watcher.tryReceive(), received++)
        seen[event.value!]! += 1;
    };
    take();
    expect(received).toBeGreaterThan(1_000);
    // the last ones may be in the middle of a handler in another thread
    await eventually(() => {
      take();
      return received + watcher.lost >= count;
    }, "each signal is received or counted");
    expect(seen.every((times) => times <= 1)).toBeTrue();
    expect(watcher.lost).toBe(count - received);
    expect(watcher.lost).toBeGreaterThan(0);
    expect(other.lost).toBe(0);
  });

  peerTest(
    "errno is what the interrupted call left, also where the pipe is full",
    ["cc"],
    async () => {
      using watcher = watchSignals("SIGRTMIN+1");
      await using child = start(peer("queue", RT, 60_000));
      let wrong = 0;
      const deadline = performance.now() + 15_000;
      while (watcher.lost < 30_000 && performance.now() < deadline) {
        for (let calls = 0; calls < 1_000; calls++) {
          // refused by libc itself: the kernel has no say in when the handler runs
          if (libc.sigaction(999, null, null) !== -1 || lastError.read() !== errno.EINVAL)
            wrong += 1;
        }
      }
      expect(wrong).toBe(0);
      expect(watcher.lost).toBeGreaterThan(0);
      while (watcher.tryReceive() !== undefined) {}
      await child.exited;
    },
  );
});

describe("a process", () => {
  test("stays for a receive, not for a watcher, and not for an unreferenced one", async () => {
    const source = `import { watchSignals } from "@/src/index.ts";
      const idle = watchSignals("SIGUSR2");
      const loose = watchSignals("SIGUSR1").unref();
      loose.receive().then(({ signal }) => console.log("loose", signal));
      setTimeout(() => process.kill(process.pid, "SIGUSR2"), 20).unref();
      console.log("idle", (await idle.receive()).signal);
      const keep = setInterval(() => {}, 1000);
      setTimeout(() => process.kill(process.pid, "SIGUSR1"), 20);
      loose.receive().then(() => clearInterval(keep));
      setTimeout(() => process.kill(process.pid, "SIGUSR1"), 60);
      process.on("exit", () => console.log("end"));`;
    const lines = ["idle SIGUSR2", "loose SIGUSR1", "end"];
    expect(succeeded(await runSource(source))).toBe(`${lines.join("\n")}\n`);
  });

  test("dies by the signal again once it is no longer watched", async () => {
    const source = `import { watchSignals } from "@/src/index.ts";
      const w = watchSignals("SIGUSR1");
      process.kill(process.pid, "SIGUSR1");
      console.log((await w.receive()).signal);
      w.close();
      process.kill(process.pid, "SIGUSR1");
      setTimeout(() => {}, 10_000);`;
    const { stdout, signal } = await runSource(source);
    expect([stdout, signal]).toEqual(["SIGUSR1\n", "SIGUSR1"]);
  });

  test("refuses in a Worker, and says why", async () => {
    const source = `import { Worker, isMainThread } from "node:worker_threads";
      import { capabilities, watchSignals } from "@/src/index.ts";
      if (isMainThread) new Worker(import.meta.filename);
      else {
        try {
          watchSignals("SIGUSR1");
        } catch ({ name, capability }) {
          console.log(name, capability);
        }
        console.log(capabilities().signals.reason);
      }`;
    const said = succeeded(await runSource(source)).split("\n");
    expect(said[0]).toBe("UnsupportedError signals");
    expect(said[1]).toContain("main thread");
  });

  test("without the handler: process.on, nobody is told who sent it", async () => {
    const source = `import { capabilities, watchSignals } from "@/src/index.ts";
      console.log(JSON.stringify(capabilities().signalSenders));
      try {
        watchSignals(["SIGUSR2", "SIGRTMIN"]);
      } catch ({ name, capability }) {
        console.log(name, capability);
      }
      const [a, b] = [watchSignals("SIGUSR1"), watchSignals(["SIGUSR1"])];
      console.log(a.source, process.listenerCount("SIGUSR1"), process.listenerCount("SIGUSR2"));
      process.kill(process.pid, "SIGUSR1");
      console.log(JSON.stringify({ ...(await a.receive()), time: 0 }), (await b.receive()).signal);
      try { a.receiveSync(); } catch ({ name }) { console.log(name); }
      a.close(); b.close();
      console.log(process.listenerCount("SIGUSR1"));`;
    const said = succeeded(await runSource(source, { env: { BUNIX_SIGNALS: "process" } }));
    expect(said.trim().split("\n")).toEqual([
      '{"available":false,"reason":"BUNIX_SIGNALS=process"}',
      "UnsupportedError signalSenders",
      "process 1 0",
      '{"signal":"SIGUSR1","number":10,"origin":"unknown","time":0} SIGUSR1',
      "UnsupportedError",
      "0",
    ]);
  });

  peerTest(
    "closes and opens in a flood: nothing is written where it must not be",
    ["cc"],
    async () => {
      using dir = tempDir();
      const source = `import { watchSignals } from "@/src/index.ts";
      import { memfdCreate, close } from "@/src/syscalls/fd.ts";
      import { fstatSync } from "node:fs";
      process.on("SIGUSR2", () => {});
      setInterval(() => {}, 1000);
      console.log("ready");
      let events = 0;
      for (let i = 0; i < 400; i++) {
        const w = watchSignals("SIGUSR2");
        await w.receive();
        events++;
        w.close();
        const fds = Array.from({ length: 4 }, () => memfdCreate("x", 1));
        for (let turn = 0; turn < 3; turn++) await new Promise((r) => setImmediate(r));
        for (const fd of fds) {
          if (fstatSync(fd).size !== 0) console.log("written to");
          close(fd);
        }
      }
      console.log("events", events);
      process.exit();`;
      await using child = startScript(writeSource(dir, source));
      await child.lineWith("ready");
      const flood = ["sh", "-c", `while kill -USR2 ${child.pid} 2>/dev/null; do :; done`];
      await using _ = start(flood);
      expect(await child.line()).toBe("events 400");
      expect((await child.exited).code).toBe(0);
    },
  );

  testUnless(
    noCompiledPrograms(),
    "that was compiled into one file has its handler with it",
    async () => {
      using dir = tempDir();
      const source = `import { watchSignals } from "@/src/index.ts";
      const w = watchSignals("SIGUSR1");
      process.kill(process.pid, "SIGUSR1");
      console.log(w.source, (await w.receive()).pid === process.pid);`;
      const [main, output] = [writeSource(dir, source), dir.file("program")];
      const build = [process.execPath, "build", "--compile", main, "--outfile", output];
      succeeded(await run(build));
      expect(succeeded(await run([output], { cwd: "/" }))).toBe("handler true\n");
    },
  );
});

// Storms of signals: every system call of every thread may be interrupted at any moment. Nothing is
// lost, damaged, early or late for ever.
//
// BUNIX_STORM_ROUNDS makes them longer.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { sendSignal, signalNumber, watchSignals } from "../../src/index.ts";
import { isMusl } from "../../src/syscalls/libc.ts";
import { eventually } from "../api/tools.ts";
import { fewer, root, start, startScript, succeeded, writeSource } from "../support/child.ts";
import { compileC, compileCSource, missing, peer, peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { foreignCompiler, foreignNumber, testUnless } from "../support/unless.ts";

const ROUNDS = Number(process.env["BUNIX_STORM_ROUNDS"] ?? fewer(15));
const SCRIPT = "test/fixtures/interrupted.ts";

/** Makes libraries for this Bun: musl's own is a second compiler, but on musl's own systems. */
const compiler = isMusl() && peer("musl-gcc").available ? "musl-gcc" : "cc";

describe("a timer whose handler does not ask for calls to be restarted", () => {
  for (const micros of [1_000, 200]) {
    testUnless(
      foreignCompiler() ?? missing([compiler]),
      `every ${micros} µs`,
      async () => {
        using dir = tempDir();
        const source = readFileSync(join(root, "test/fixtures/interrupts.c"), "utf8");
        const library = compileCSource("interrupts", source, ["-shared", "-fPIC"], compiler);
        const env = {
          LD_PRELOAD: library,
          BUNIX_INTERRUPT_MICROS: String(micros),
          BUNIX_INTERRUPT_COUNT: dir.file("count"),
        };
        const child = startScript(SCRIPT, [String(ROUNDS), dir.path], { env, timeoutMs: 100_000 });
        child.endInput();
        expect(succeeded(await child.exited)).toContain(`${ROUNDS} rounds`);
        const times = readFileSync(dir.file("count")).readInt32LE();
        console.log(`note: interrupted ${times} times in ${ROUNDS} rounds`);
        expect(times).toBeGreaterThan(ROUNDS);
      },
      110_000,
    );
  }
});

const STORM = 4_000;

/** Like `interrupted.ts`, in a process that watches real-time signals and counts them. */
const WATCHING = `import { watchSignals } from "@/src/index.ts";
  const signals = watchSignals("SIGRTMIN+4", { maxQueued: 1_000_000 });
  let seen = 0;
  void (async () => { for await (const _ of signals) seen++; })();
  await import("@/test/fixtures/interrupted.ts");
  while (seen + signals.lost < ${STORM}) await new Promise((resolve) => setTimeout(resolve, 1));
  console.log(seen + signals.lost, "signals,", signals.lost, "lost");
  signals.close();`;

peerTest(
  `${STORM} real-time signals to a process that watches them, while it works`,
  ["cc"],
  async () => {
    using dir = tempDir();
    const script = writeSource(dir, WATCHING);
    await using child = startScript(script, [String(ROUNDS), dir.path], { timeoutMs: 100_000 });
    await child.lineWith("begun");
    const number = String(await foreignNumber(signalNumber("SIGRTMIN+4")));
    const command = [compileC("test/fixtures/signal-peer.c"), "queue", String(child.pid), number];
    const storm = start([...command, String(STORM)]);
    child.endInput();
    expect((await storm.exited).code).toBe(0);
    expect(succeeded(await child.exited)).toContain(`${STORM} signals,`);
  },
  110_000,
);

test("thousands of SIGCHLD and SIGUSR1 while a promise waits", async () => {
  using signals = watchSignals(["SIGUSR1", "SIGCHLD"]);
  let seen = 0;
  const loop = (async () => {
    for await (const _ of signals) seen++;
  })();
  for (let i = 0; i < 2_000; i++) sendSignal(process.pid, i % 2 === 0 ? "SIGUSR1" : "SIGCHLD");
  const before = seen;
  sendSignal(process.pid, "SIGUSR1");
  await eventually(() => seen > before, "the last one is seen");
  signals.close();
  await loop;
});

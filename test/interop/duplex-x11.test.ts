// time limit: 120 s
// node-x11's own tests, as they come from npm, over toDuplex() and over its own transport.

import { describe, expect } from "bun:test";
import { join } from "node:path";
import { startDisplay } from "../examples/daemons.ts";
import { root, run } from "../support/child.ts";
import { missing } from "../support/peers.ts";
import { testUnless } from "../support/unless.ts";

const LIMIT_MS = 8_000;
const preload = `--preload=${root}/test/fixtures/x11-over-duplex.ts`;

interface Result {
  /** Each test by name, and whether it passed. */
  readonly tests: string[];
  /** What was thrown with nobody to catch it. */
  readonly uncaught: string[];
}

/** Run one of its files at that display. */
async function results(file: string, display: string): Promise<Result> {
  const command = [process.execPath, "test", `--timeout=${LIMIT_MS}`, `./test/${file}`];
  const env = { DISPLAY: display, BUN_OPTIONS: preload, NO_COLOR: "1" };
  const cwd = join(root, "node_modules/x11"); // without what our own tests preload
  const { stdout, stderr } = await run(command, { cwd, env, timeoutMs: 60_000 });
  const said = stdout + stderr;
  const tests = [...said.matchAll(/^\((pass|fail)\) (.*) \[[\d.]+ms\]$/gm)];
  const uncaught = [...said.matchAll(/^(\w*Error): ([^\n]*)/gm)];
  return {
    tests: tests.map(([, how, name]) => `${how} ${name}`),
    uncaught: [...new Set(uncaught.map(([, kind, text]) => `${kind} ${text}`))],
  };
}

/** Over its own transport, and over ours. */
async function both(file: string): Promise<{ own: Result; ours: Result }> {
  await using server = await startDisplay("-noreset");
  const [own, ours] = await Promise.all([
    results(file, server.address),
    results(file, `bunix/${server.address}`),
  ]);
  return { own, ours };
}

const cannot = Bun.semver.satisfies(Bun.version, "<1.4.0")
  ? `Bun ${Bun.version}'s own net.Socket does not pass node-x11's errors.js`
  : missing(["Xvfb"]);

describe("node-x11's own tests", () => {
  testUnless(
    cannot,
    "errors.js: X errors, one that a listener throws on, and what comes behind it",
    async () => {
      const { own, ours } = await both("errors.js");
      expect(ours).toEqual(own);
      expect(ours.tests).toEqual([
        expect.stringContaining("pass Client > should emit error"),
        expect.stringContaining("pass Client > re-arms the packet parser"),
      ]);
    },
    120_000,
  );

  // Xvfb has no DPMS: what its first hook throws then has to be uncaught, or it waits for ever.
  testUnless(
    cannot,
    "dpms.js: what a callback throws is uncaught",
    async () => {
      const { own, ours } = await both("dpms.js");
      expect(ours).toEqual(own);
      expect(ours.uncaught).toEqual([expect.stringContaining("extension not available")]);
    },
    120_000,
  );
});

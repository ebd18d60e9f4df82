// time limit: 600 s
// dbus-native's own tests of its work with a bus, over its own transport and over toDuplex(): with
// the same result each. Its package at npm leaves them out, so a checkout of it has to be here,
// with its own dependencies.

import { expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { startBus } from "../examples/daemons.ts";
import { root, run } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";

const SHIM = join(root, "test/fixtures/dbus-over-duplex.cjs");
const LIMIT_MS = 280_000;

const checkout = process.env["DBUS_NATIVE_CHECKOUT"] ?? "";
const folder = join(checkout, "test/integration");
const files = existsSync(folder)
  ? readdirSync(folder).flatMap((name) => (name.endsWith(".js") ? [join(folder, name)] : []))
  : [];

interface Results {
  readonly passed: readonly string[];
  readonly failed: readonly string[];
  readonly connections: number;
}

async function suite(preload: readonly string[]): Promise<Results> {
  using dir = tempDir();
  await using bus = await startBus(dir, `unix:path=${dir.file("bus")}`);
  const command = [process.execPath, "test", ...preload, "--timeout", "60000", ...files];
  const env = { DBUS_SESSION_BUS_ADDRESS: bus.address };
  const { stderr } = await run(command, { cwd: checkout, env, timeoutMs: LIMIT_MS });
  const named = (result: string): string[] => {
    const all = stderr.matchAll(new RegExp(`^\\(${result}\\) (.*?)(?: \\[.*)?$`, "gm"));
    return [...new Set(Array.from(all, ([, name = ""]) => name))].toSorted();
  };
  const connections = Number(/over toDuplex\(\): (\d+)/.exec(stderr)?.[1] ?? 0);
  return { passed: named("pass"), failed: named("fail"), connections };
}

const name = "dbus-native's own tests";

testIfHere(async () => {
  const theirs = await suite([]);
  const ours = await suite(["--preload", SHIM]);
  console.log(`note: ${ours.passed.length} passed, ${ours.failed.length} failed, over either`);
  expect(theirs.passed.length).toBeGreaterThan(200);
  expect(theirs.connections).toBe(0);
  expect(ours.connections).toBeGreaterThan(50);
  expect([ours.passed, ours.failed]).toEqual([theirs.passed, theirs.failed]);
});

/** A checkout is nobody's to install, so not even CI has to have one. */
function testIfHere(fn: () => Promise<void>): void {
  if (files.length > 0) {
    peerTest(name, ["dbus-daemon"], fn, 2 * LIMIT_MS);
    return;
  }
  const how = "DBUS_NATIVE_CHECKOUT=… of github.com/sidorares/dbus-native, after npm ci";
  console.log(`skip: ${name} (npm's package leaves them out; run it with ${how})`);
  // biome-ignore lint/suspicious/noSkippedTests: the reason has been printed
  test.skip(name, fn);
}

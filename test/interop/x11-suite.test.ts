// time limit: 600 s
// node-x11's own tests, as they come from npm, over its own transport and over toDuplex(): with the
// same result each.

import { expect } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { startDisplay } from "../examples/daemons.ts";
import { root, run } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";

const MOCHA = join(root, "node_modules/mocha/bin/_mocha");
const SHIM = join(root, "test/fixtures/x11-over-duplex.cjs");
/** What node-x11 gives each of its tests. */
const TEST_LIMIT_MS = "80000";
const LIMIT_MS = 280_000;

/** In another file here; and one that has a stand-in for the socket, and counts what is garbage. */
const elsewhere = ["errors.js", "dpms.js", "output-buffering.js"];
const folder = join(root, "node_modules/x11/test");
const files = readdirSync(folder)
  .filter((name) => name.endsWith(".js") && !elsewhere.includes(name))
  .map((name) => join(folder, name));

interface Result {
  readonly passes: readonly { readonly fullTitle: string }[];
  readonly failures: readonly { readonly fullTitle: string; readonly err: unknown }[];
}

const MAX_RUNS = 3;

/** Which tests passed, and what was said on standard error. */
async function suite(preload: readonly string[]): Promise<{ passed: string[]; stderr: string }> {
  using dir = tempDir();
  await using display = await startDisplay("-ac");
  const output = dir.file("result.json");
  const reporter = ["--reporter", "json", "--reporter-option", `output=${output}`];
  const { stderr } = await run(
    [process.execPath, ...preload, MOCHA, "--exit", "--timeout", TEST_LIMIT_MS, ...reporter].concat(
      files,
    ),
    { env: { DISPLAY: display.address }, timeoutMs: LIMIT_MS },
  );
  const { passes, failures } = JSON.parse(readFileSync(output, "utf8")) as Result;
  for (const { fullTitle } of failures) console.log(`failed ${preload.at(-1) ?? ""}: ${fullTitle}`);
  return { passed: passes.map((one) => one.fullTitle).toSorted(), stderr };
}

peerTest(
  "node-x11's own tests",
  ["Xvfb"],
  async () => {
    const theirs = await suite([]);
    expect(theirs.passed.length).toBeGreaterThan(400);
    let missing = theirs.passed;
    // some of its hooks fail now and then, over either transport
    for (let runs = 0; runs < MAX_RUNS && missing.length > 0; runs++) {
      const { passed, stderr } = await suite(["--preload", SHIM]);
      missing = missing.filter((name) => !passed.includes(name));
      const connections = Number(/over toDuplex\(\): (\d+)/.exec(stderr)?.[1]);
      expect(connections).toBeGreaterThan(100);
    }
    expect(missing).toEqual([]);
  },
  (1 + MAX_RUNS) * LIMIT_MS,
);

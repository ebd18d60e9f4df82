// bunix doctor: all is well here; something that does not work is found, and said.

import { describe, expect, test } from "bun:test";
import { checks } from "../../src/cli/checks.ts";
import { capabilities } from "../../src/index.ts";
import { leakFree } from "../api/tools.ts";
import { testUnless, translatedSignals, wakersHere } from "../support/unless.ts";
import { bunix } from "./tools.ts";

const lacking = await translatedSignals(); // sendFd then fails

describe.each(wakersHere())("waker %s", (waker) => {
  const env = { BUNIX_WAKER: waker };

  testUnless(lacking, "every capability and every check", async () => {
    const { stdout, stderr, code } = await bunix(["doctor"], { env });
    expect([stderr, code]).toEqual(["", 0]);
    expect(stdout).toContain(`waits with ${waker}`);
    for (const { name } of checks) expect(stdout).toContain(`  ${name}`);
    expect(stdout).not.toMatch(/^ {2}fails/m);
    for (const [name, value] of Object.entries(capabilities())) {
      if (typeof value !== "object" || !("available" in value)) continue;
      expect(stdout).toMatch(new RegExp(`^  ${value.available ? "yes" : "no "}  ${name}\\b`, "m"));
    }
  });

  testUnless(lacking, "--json", async () => {
    const { stdout, code } = await bunix(["doctor", "--json"], { env });
    const said = JSON.parse(stdout);
    expect([said.ok, code]).toEqual([true, 0]);
    expect(said.capabilities.waker.kind).toBe(waker);
    expect(said.checks.map(({ name }: { name: string }) => name)).toEqual(
      checks.map(({ name }) => name),
    );
  });
});

test("1: what fails is named, with the reason; the rest is tried all the same", async () => {
  const env = { TMPDIR: "/dev/null" };
  const { stdout, code } = await bunix(["doctor"], { env });
  expect(code).toBe(1);
  expect(stdout).toMatch(/^ {2}fails {5}listen, connect, probe \(ENOTDIR.*\)$/m);
  expect(stdout).toMatch(/^ {2}works {5}an abstract name$/m);
  const json = await bunix(["doctor", "--json"], { env });
  expect([JSON.parse(json.stdout).ok, json.code]).toEqual([false, 1]);
});

testUnless(lacking, "no check leaves a descriptor behind", () =>
  leakFree(async () => {
    for (const { run } of checks) await run();
  }),
);

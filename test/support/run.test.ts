// The runner itself: whatever a file does, its failure is counted and the last line is the sum.

import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { eventually } from "../api/tools.ts";
import { type Outcome, runScript } from "./child.ts";
import { tempDir } from "./tmp.ts";

const files = "--files=test/fixtures/run/*.ts";

function runner(ending: string, ...args: string[]): Promise<Outcome> {
  const all = ["--only-tests", files, ...args];
  return runScript("test/run.ts", all, { env: { ENDING: ending } });
}

const lastLine = ({ stdout }: Outcome): string => stdout.trimEnd().split("\n").at(-1)!;

test("a file whose tests pass: one line for it, and exit code 0", async () => {
  const outcome = await runner("success");
  expect(lastLine(outcome)).toBe("1 passed, 0 failed, 1 skipped");
  expect(outcome.code).toBe(0);
  expect(outcome.stdout).toMatch(/^ok {3}test\/fixtures\/run\/outcomes\.ts: 1 passed/m);
  expect(outcome.stdout).not.toContain("(pass)");
});

const endings: Readonly<Record<string, readonly [sum: string, said: string | RegExp]>> = {
  failure: ["1 passed, 1 failed, 1 skipped", "one that fails"],
  nothing: ["0 passed, 1 failed", /it ran no tests|without a report/],
  exit: ["0 passed, 1 failed", "it ended without a report"],
  signal: ["0 passed, 1 failed", "killed by SIGKILL"],
  hang: ["0 passed, 1 failed", "killed after 1 s"],
};

describe("a file that ends badly", () => {
  for (const [ending, [sum, said]] of Object.entries(endings)) {
    test(ending, async () => {
      const outcome = await runner(ending, ending === "hang" ? "--limit=1" : "--limit=60");
      expect(lastLine(outcome)).toBe(sum);
      expect(outcome.code).toBe(1);
      expect(outcome.stdout).toMatch(said);
      expect(outcome.stdout).toContain("FAIL test/fixtures/run/outcomes.ts");
    });
  }

  test("rejection that nobody handles", async () => {
    const outcome = await runner("rejection");
    expect(lastLine(outcome)).toMatch(/^\d passed, 1 failed/);
    expect(outcome.code).toBe(1);
    expect(outcome.stdout).toContain("left behind");
  });
});

test("a process left behind is killed, and does not hold up the run", async () => {
  const outcome = await runner("child");
  expect(outcome.code).toBe(0);
  expect(outcome.stdout).toContain("it left processes behind");
  const pid = Number(/note: started (\d+)/.exec(outcome.stdout)?.[1]);
  await eventually(() => !isRunning(pid), "it is gone");
});

/** There, and not just waiting for its new parent to notice its end. */
function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

test("files that use what a user has only once do not run at once", async () => {
  using dir = tempDir();
  const both = ["--only-tests", "--files=test/fixtures/shared/{first,second}.ts"];
  const outcome = await runScript("test/run.ts", both, { env: { SHARED: dir.path } });
  expect(outcome.stdout).toContain("2 passed, 0 failed");
});

test("files come in the order in which their parts are asked for", async () => {
  using dir = tempDir();
  const parts = ["shared/second", "shared/first"];
  const all = ["--only-tests", "--files=test/fixtures/shared/{first,second}.ts", ...parts];
  const { stdout } = await runScript("test/run.ts", all, { env: { SHARED: dir.path } });
  const order = Array.from(stdout.matchAll(/^ok .*shared\/(\w+)\.ts/gm), ([, name]) => name);
  expect(order).toEqual(["second", "first"]);
});

test("--times: what each file took", async () => {
  const outcome = await runner("success", "--times");
  expect(outcome.stdout).toMatch(/^ +\d\.\d +\d+\.\d +1 {2}test\/fixtures\/run\/outcomes\.ts$/m);
  expect(lastLine(outcome)).toBe("1 passed, 0 failed, 1 skipped");
});

test("no file of that name is a failure", async () => {
  const outcome = await runner("success", "no-such-file");
  expect(lastLine(outcome)).toBe("0 passed, 1 failed");
  expect(outcome.code).toBe(1);
});

test("an unknown option is an error", async () => {
  const outcome = await runner("success", "--quickly");
  expect(outcome.code).not.toBe(0);
  expect(outcome.stderr).toContain("Unknown option '--quickly'");
});

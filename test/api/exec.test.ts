// Close-on-exec, proved by exec: a process that has one of everything open becomes another program.

import { expect, test } from "bun:test";
import { runScript, succeeded } from "../support/child.ts";
import { tempDir } from "../support/tmp.ts";

async function seenAfterExec(...args: string[]): Promise<string[]> {
  const stdout = succeeded(await runScript("test/fixtures/exec-ls.ts", args));
  return stdout.trim().split(/\s+/).sort();
}

test("nothing of ours outlives an exec", async () => {
  using dir = tempDir();
  const without = await seenAfterExec();
  expect(await seenAfterExec(dir.file("s"))).toEqual(without);
});

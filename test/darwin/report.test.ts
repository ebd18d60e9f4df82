// `npm run report` says everything that it promises; what it says of Macs only a Mac can show.

import { expect } from "bun:test";
import { join } from "node:path";
import { root, run } from "../support/child.ts";
import { foreignCompiler, testUnless } from "../support/unless.ts";

testUnless(
  foreignCompiler(),
  "a page with every cell, every capability and the tests",
  async () => {
    const command = [process.execPath, join(import.meta.dir, "report.ts"), "test/structs/darwin"];
    const { stdout, code } = await run(command, { cwd: root, timeoutMs: 100_000 });
    expect(code).toBe(0);
    const [cells] = /\d+ cells with a value; wrong: \d+/.exec(stdout) ?? [];
    expect(cells).toMatch(/^[1-9]\d{2,} cells with a value; wrong: 0$/);
    expect(stdout).toContain("- waiting: yes");
    expect(stdout).toContain("- ok   test/structs/darwin.test.ts: 4 passed, 0 failed");
  },
  120_000,
);

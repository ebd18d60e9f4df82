// The leak check itself must be able to fail.

import { expect, test } from "bun:test";
import { closeSync, openSync } from "node:fs";
import { type Outcome, run } from "./child.ts";
import { noServeHttp, testUnless } from "./unless.ts";

function testRun(leak: string): Promise<Outcome> {
  const fd = openSync("/dev/zero", "r");
  const env = { LEAK: leak, LEAK_EARLIER: "3", BUNIX_LEAK_PATIENCE_MS: "2000" };
  const command = [process.execPath, "test", "./test/fixtures/leaking.ts"];
  return run(command, { env, fds: [fd] }).finally(() => closeSync(fd));
}

test("a file that closes what it opens passes", async () => {
  const { code, stderr } = await testRun("nothing");
  expect(stderr).toContain("1 pass");
  expect(code).toBe(0);
});

const cases = {
  file: /leaked: descriptor \d+ → \/dev\/null/,
  socket: /leaked: descriptor \d+ → socket:\[\d+\]/,
  duplicate: /leaked: descriptor \d+ → /,
  eventfd: /leaked: descriptor \d+ → anon_inode:\[eventfd\]/,
  foreign: /closed by someone who does not own it: 3 → \/dev\/zero/,
  forgotten: /forgotten: descriptor \d+/,
} as const;

for (const [leak, said] of Object.entries(cases)) {
  test(`a file fails for "${leak}", although its test passes`, async () => {
    const { code, stderr } = await testRun(leak);
    expect(stderr).toMatch(said);
    expect(stderr).toContain("1 pass");
    expect(stderr).toContain("1 fail");
    expect(code).toBe(1);
  });
}

testUnless(
  noServeHttp(),
  "two files in one process: what both import is there for the second",
  async () => {
    const files = ["./test/api/http.test.ts", "./test/api/http-bun.test.ts"];
    const names = "each request of a connection has the same|is told once";
    const command = [process.execPath, "test", ...files, "--timeout", "60000", "-t", names];
    const { code, stderr } = await run(command);
    expect(stderr).toMatch(/^ 2 pass/m);
    expect(code).toBe(0);
  },
);

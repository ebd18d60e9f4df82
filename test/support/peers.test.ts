// A missing peer: a skip that says what to install, and a failure where CI=true.

import { expect, test } from "bun:test";
import { run } from "./child.ts";
import { compileCSource, missing, peer, peerTest } from "./peers.ts";

const command = [process.execPath, "test", "./test/fixtures/missing-peer.ts"];
const remedy = "needs bunix-no-such-program: apt-get install bunix-no-such-program";

test("elsewhere it is a skip with its reason", async () => {
  const { code, stdout, stderr } = await run(command, { env: { CI: undefined } });
  expect(stdout + stderr).toContain(`skip: needs what is nowhere (${remedy})`);
  expect(stderr).toMatch(/1 pass\n 1 skip\n 0 fail/);
  expect(code).toBe(0);
});

test("in CI it is a failure", async () => {
  const { code, stderr } = await run(command, { env: { CI: "true" } });
  expect(stderr).toContain(`CI must not skip: ${remedy}`);
  expect(stderr).toMatch(/1 pass\n 1 fail/);
  expect(code).toBe(1);
});

test("packages are named where they are not called like the command", () => {
  expect(peer("cc").remedy).toBe("apt-get install gcc libc6-dev");
  expect(peer("go").remedy).toBe("apt-get install golang-go");
  expect(missing([])).toBeNull();
});

peerTest("a program that does not compile is an error with the compiler's words", ["cc"], () => {
  expect(() => compileCSource("wrong", "int main(void) { return x; }")).toThrow(/undeclared/);
});

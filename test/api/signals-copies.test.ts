// Two copies of the library in one process, as two versions of a dependency bring them.

import { afterAll, expect, test } from "bun:test";
import { cpSync } from "node:fs";
import { join } from "node:path";
import { root, runSource, succeeded } from "../support/child.ts";
import { tempDir } from "../support/tmp.ts";

const dir = tempDir();
afterAll(() => dir.remove());
for (const part of ["src", "native"]) {
  cpSync(join(root, part), dir.file(part), { recursive: true });
}

const both = (body: string): string => `
  import * as one from "@/src/index.ts";
  const two = await import(${JSON.stringify(dir.file("src/index.ts"))});
  if (one.watchSignals === two.watchSignals) throw new Error("it is one copy");
  ${body}`;

for (const [name, copies] of [
  ["the first copy's watcher first", ["one", "two"]],
  ["the other's first", ["two", "one"]],
] as const) {
  test(`${name}: both get every signal, and the last restores the disposition`, async () => {
    const source = both(`
      const [a, b] = [${copies.join(", ")}];
      const first = a.watchSignals(["SIGUSR1", "SIGRTMIN+1"]);
      const second = b.watchSignals(["SIGRTMIN+1", "SIGUSR2"]);
      for (const value of [1, 2]) one.sendSignal(process.pid, "SIGRTMIN+1", { value });
      const got = [];
      for (const watcher of [first, second, first, second]) {
        const { value, pid } = await watcher.receive();
        got.push([value, pid === process.pid]);
      }
      one.sendSignal(process.pid, "SIGUSR2");
      got.push((await second.receive()).signal);
      first.close();
      one.sendSignal(process.pid, "SIGRTMIN+1", { value: 3 });
      got.push((await second.receive()).value);
      second.close();
      console.log(JSON.stringify(got));
      one.sendSignal(process.pid, "SIGRTMIN+1"); // nobody watches: its default is to end`);
    const outcome = await runSource(source);
    expect(outcome.stderr).toBe("");
    expect(JSON.parse(outcome.stdout)).toEqual([
      [1, true],
      [1, true],
      [2, true],
      [2, true],
      "SIGUSR2",
      3,
    ]);
    expect(outcome.code).toBeNull(); // the signal has ended it
  });
}

test("a copy that cannot be asked is named", async () => {
  const source = both(`
    globalThis[Symbol.for("bunix.signals")] = { protocol: 0 };
    try { one.watchSignals(["SIGUSR1"]); } catch (error) {
      console.log(error.code, error.capability, error.message);
    }`);
  expect(succeeded(await runSource(source))).toMatch(/^ERR_UNSUPPORTED signals .*load only one/);
});

// time limit: 120 s
// Tests of packages for which docs/ has shims, over those shims, as they come from npm. What comes
// without its tests, or has them elsewhere, is held by docs/shims. (They use mq_open.)

import { expect } from "bun:test";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run, succeeded } from "../support/child.ts";
import { copyWith, unpacked, writeShim } from "../support/shims.ts";
import { tempDir } from "../support/tmp.ts";
import { testUnless } from "../support/unless.ts";

const dgram = unpacked("unix-dgram", "2.0.7");
const queue = unpacked("posix-mq", "1.1.3");
const why = (found: object): string | null => ("reason" in found ? String(found.reason) : null);

testUnless(why(dgram), "unix-dgram's own four tests", async () => {
  const { path } = dgram as { path: string };
  const names = readdirSync(join(path, "test"));
  expect(names).toHaveLength(4);
  using dir = tempDir();
  const shim = writeShim(dir, "unix-dgram");
  for (const folder of ["test", "lib"]) mkdirSync(dir.file(folder));
  writeFileSync(dir.file("lib/unix_dgram.ts"), `export * from ${JSON.stringify(shim)};`);
  for (const name of names) {
    const copy = dir.file(`test/${name}`);
    copyWith(join(path, "test", name), copy, { "/tmp/unix_dgram": dir.file("d") });
    succeeded(await run([process.execPath, copy], { cwd: dir.path }));
  }
});

testUnless(why(queue), "posix-mq's own program", async () => {
  const { path } = queue as { path: string };
  using dir = tempDir();
  const shim = writeShim(dir, "posix-mq");
  mkdirSync(dir.file("lib"));
  const lib = `module.exports = require(${JSON.stringify(shim)}).default;`;
  writeFileSync(dir.file("lib/index.js"), lib);
  const copy = dir.file("test.cjs");
  const name = `/bunix-shim-${process.pid}`;
  copyWith(join(path, "test.js"), copy, { "/pmqtest": name, "safer-buffer": "node:buffer" });
  const said = succeeded(await run([process.execPath, copy], { cwd: dir.path }));
  expect(said.match(/^Writing /gm)).toHaveLength(11); // the last finds it full
  const received = said.match(/^Received message \(1 bytes\): (.)$/gm)!;
  expect(received).toHaveLength(10);
  expect(said.trimEnd()).toEndWith("Messages left: 0");
});

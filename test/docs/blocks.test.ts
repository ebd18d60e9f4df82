// Blocks that are no programs of ours: they are at least what they say they are.

import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { run } from "../support/child.ts";
import { type Block, blocksOf, documents } from "../support/markdown.ts";
import { peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";

const all = documents.flatMap((file) => blocksOf(file));
const of = (wanted: string): Block[] => all.filter(({ language }) => language === wanted);

test("other packages' code is JavaScript", () => {
  const transpiler = new Bun.Transpiler({ loader: "js" });
  const snippets = of("js");
  expect(snippets.length).toBeGreaterThanOrEqual(3);
  for (const { file, code } of snippets) {
    expect(transpiler.transformSync(code).length, file).toBeGreaterThan(0);
  }
});

test("shell commands are the README's, or started by forwarders.test.ts", () => {
  const counts = new Map<string, number>();
  for (const { file } of of("sh")) counts.set(file, (counts.get(file) ?? 0) + 1);
  counts.delete("README.md");
  expect([...counts]).toEqual([["docs/beyond-one-machine.md", 4]]);
});

/** "# name" begins a unit. */
function unitsOf(code: string): Map<string, string> {
  const units = Array.from(code.matchAll(/^# (\S+)\n(.*?)(?=^# |$(?![\s\S]))/gms));
  return new Map(units.map(([, name, text]) => [name!, text!]));
}

peerTest("systemd takes the units", ["systemd-analyze"], async () => {
  const units = new Map(of("ini").flatMap(({ code }) => [...unitsOf(code)]));
  expect([...units.keys()].sort()).toEqual(["web.service", "web.socket"]);
  using dir = tempDir();
  for (const [name, text] of units) {
    writeFileSync(dir.file(name), text.replace("/usr/bin/bun", process.execPath));
  }
  const paths = [...units.keys()].map((name) => dir.file(name));
  const verify = ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no"];
  expect(await run([...verify, ...paths])).toMatchObject({ code: 0, stdout: "", stderr: "" });
});

// scripts/tables.ts: the tables of native/ as they are published say what the rows say, for every
// system and architecture.

import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { nativeSources } from "../../scripts/tables.ts";
import { root } from "../support/child.ts";
import { type TempDir, tempDir } from "../support/tmp.ts";

const native = join(root, "native");
let dir: TempDir;
let published: Map<string, string>;

beforeAll(async () => {
  dir = tempDir();
  published = await nativeSources();
});

afterAll(() => dir.remove());

/** native/ in a folder of its own, as another machine would see it. */
function copy(name: string, sources: Map<string, string>, machine: readonly string[]): string {
  const folder = dir.file(name);
  mkdirSync(folder);
  const [platform, arch] = machine;
  for (const [file, text] of sources) {
    const seen = text
      .replaceAll("process.platform", `("${platform}" as string)`)
      .replaceAll("process.arch", `("${arch}" as string)`);
    writeFileSync(join(folder, basename(file)), seen);
  }
  return folder;
}

for (const machine of [
  ["linux", "x64"],
  ["linux", "arm64"],
  ["darwin", "x64"],
  ["darwin", "arm64"],
]) {
  test(`the same numbers: ${machine.join(" ")}`, async () => {
    const table = join(native, "table.ts");
    const rows = new Map([...published.keys(), table].map((file) => [file, readText(file)]));
    const ours = copy(`published-${machine.join("-")}`, published, machine);
    const theirs = copy(`rows-${machine.join("-")}`, rows, machine);
    const { system, arch } = await import(join(ours, "platform.ts"));
    expect([system, arch]).toEqual(machine);
    let seen = 0;
    for (const file of published.keys()) {
      const name = basename(file);
      const numbers: Record<string, unknown> = { ...(await import(join(ours, name))) };
      expect(numbers, name).toEqual({ ...(await import(join(theirs, name))) });
      seen += Object.keys(numbers).length;
    }
    expect(seen).toBeGreaterThan(published.size);
  });
}

test("no rows are left, and each line is where it was", () => {
  for (const [file, text] of published) {
    expect(text, file).not.toMatch(/\b(constants|layout)\(\[?"/);
    expect(text, file).not.toContain("process.env");
    expect(text.split("\n").length, file).toBe(readText(file).split("\n").length);
  }
});

function readText(file: string): string {
  return readFileSync(file, "utf8");
}

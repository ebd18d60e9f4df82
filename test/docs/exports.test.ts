// What each door exports, when the program runs and as types, is what exports.json says: whatever
// else gets there is a promise that nobody meant. UPDATE=1 writes the list anew.

import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import manifest from "../../package.json";
import { root } from "../support/child.ts";
import { doors, exportsOf, isValue } from "./published.ts";

const LIST = join(root, "test/package/exports.json");

interface Exports {
  readonly values: readonly string[];
  readonly types: readonly string[];
}

function exported(door: string): Exports {
  const all = [...exportsOf(door)];
  const named = (wanted: boolean): string[] =>
    all.flatMap(([name, symbol]) => (isValue(symbol) === wanted ? [name] : [])).sort();
  return { values: named(true), types: named(false) };
}

const found = Object.fromEntries(doors.map((door) => [door, exported(door)]));

test("the doors are package.json's exports", () => {
  const paths = Object.keys(manifest.exports).filter((path) => path !== "./package.json");
  const names = paths.map((path) => (path === "." ? "index" : path.replace("./", "")));
  expect([...doors]).toEqual(names.sort());
});

test("each door exports what is listed, and nothing else", () => {
  if (process.env["UPDATE"] === "1") writeFileSync(LIST, `${JSON.stringify(found, null, 2)}\n`);
  expect(found).toEqual(JSON.parse(readFileSync(LIST, "utf8")));
});

test("what is there when the program runs is what the types say", async () => {
  for (const door of doors) {
    const module = (await import(join(root, `src/${door}.ts`))) as object;
    expect([door, ...Object.keys(module).sort()]).toEqual([door, ...found[door]!.values]);
  }
});

test("bunix has all that its parts have", () => {
  const { index, ...parts } = found;
  const every = (kind: keyof Exports): string[] =>
    [...new Set(Object.values(parts).flatMap((part) => part[kind]))].sort();
  expect(index).toEqual({ values: every("values"), types: every("types") });
});

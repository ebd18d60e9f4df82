// macOS's column against the numbers of XNU's published headers, which test/fixtures/
// xnu-headers.json has with its source. No Mac is asked: that the headers say so is all this shows.

import { expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { Arch } from "../../native/platform.ts";
import { cellFor, structs, tables } from "../../native/table.ts";
import headers from "../fixtures/xnu-headers.json";
import { root } from "../support/child.ts";

const native = join(root, "native");
for (const file of readdirSync(native)) if (file.endsWith(".ts")) await import(join(native, file));

const machines: readonly Arch[] = ["x64", "arm64"];

/** In Apple's libc and not in XNU's headers. */
const elsewhere = ["CLOCK_MONOTONIC"];

/** There, but `null` in our column on purpose. */
const unused: Readonly<Record<string, string>> = {
  SO_TIMESTAMP: "only used for seqpacket sockets, which macOS does not have",
};

const addIt = "not in test/fixtures/xnu-headers.json: look it up in XNU and add it there";

const published = new Map<string, number>(
  Object.values(headers.constants).flatMap((file) => Object.entries(file)),
);
const layouts = new Map(Object.entries(headers.structs));

test.each(machines)("constants, %s", (machine) => {
  const wrong: string[] = [];
  let compared = 0;
  for (const { rows } of tables) {
    for (const [name, row] of Object.entries(rows)) {
      const mine = cellFor(row, "darwin", machine);
      const theirs = published.get(name);
      if (mine !== null && theirs !== undefined) compared++;
      if (mine === null && theirs === undefined) continue;
      if (mine === null && name in unused) continue;
      if (theirs === undefined && elsewhere.includes(name)) continue;
      if (theirs === undefined) wrong.push(`${name}: ${addIt}`);
      else if (mine !== theirs) wrong.push(`${name}: row ${mine}, XNU ${theirs}`);
    }
  }
  expect(wrong).toEqual([]);
  expect(compared).toBeGreaterThan(150);
});

test.each(machines)("layouts, %s", (machine) => {
  const wrong: string[] = [];
  for (const { name, size, fields } of structs) {
    const mine = cellFor(size, "darwin", machine);
    const theirs = layouts.get(name);
    if (mine === null && theirs === undefined) continue;
    if (theirs === undefined) {
      wrong.push(`${name}: ${addIt}`);
      continue;
    }
    if (mine !== theirs.size) wrong.push(`${name}: ${mine} bytes, XNU ${theirs.size}`);
    const there = new Map<string, number[]>(Object.entries(theirs.fields));
    for (const [field, rows] of Object.entries(fields)) {
      const [at, bytes] = rows.map((row) => cellFor(row, "darwin", machine));
      if (at === null) continue;
      if (`${at},${bytes}` !== String(there.get(field))) {
        wrong.push(`${name}.${field}: ${at},${bytes}, XNU ${there.get(field)}`);
      }
    }
  }
  expect(wrong).toEqual([]);
});

test("the source is named", () => {
  expect(headers.source).toMatch(/xnu-\d+.*commit [0-9a-f]{40}/);
  for (const name of Object.keys(unused)) expect(published.has(name)).toBeTrue();
});

// What the documents say about speed is what the last published run found, to the digit.

import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { chart } from "../../bench/chart.ts";
import { floorOf } from "../../bench/floors.ts";
import { speed } from "../../bench/prose.ts";
import { between, generated, merged, publishedFile } from "../../bench/publish.ts";
import type { Results } from "../../bench/results.ts";

const root = join(import.meta.dir, "../..");
const published = JSON.parse(readFileSync(publishedFile, "utf8")) as Results;

/** By far: of those nobody asks. */
const alwaysReached = ["64 bytes and a descriptor there and back", "threads with 100 connections"];

/** Without what a formatter adds to a table. */
const bare = (text: string): string => text.replace(/ +/g, " ").replace(/-{3,}/g, "---").trim();

for (const [file, mark, make] of generated) {
  test(`${relative(root, file)}, ${mark}: the figures of published.json`, () => {
    expect(bare(between(readFileSync(file, "utf8"), mark))).toBe(bare(make(published)));
  });
}

test("every line that has an aim says what bounds it, should it miss it", () => {
  const works = new Set(
    published.rows.filter(({ reach }) => reach !== null).map(({ work }) => work),
  );
  const silent = [...works].filter((work) => (floorOf(work)?.why ?? "") === "");
  expect(silent.filter((work) => !alwaysReached.some((one) => work.startsWith(one)))).toEqual([]);
});

test("the picture, too", () => {
  expect(readFileSync(join(root, "bench/chart.svg"), "utf8")).toBe(chart(published.rows));
});

test("a figure that was not taken takes its sentence along, and nothing else", () => {
  const { rows } = published;
  const without = { ...published, rows: rows.filter(({ group }) => group !== "start") };
  expect(speed(published)).toContain('`import "bunix"`');
  expect(speed(without)).not.toContain('`import "bunix"`');
  expect(speed(without)).toContain("`Bun.listen`");
});

test("of runs in parts a group is the last one's that has it", () => {
  const [first, ...others] = published.rows;
  const again = { ...published, rows: [{ ...first!, oursTaken: [7] }], calls: [] };
  const whole = merged([published, again]);
  expect(whole.rows.find(({ group }) => group === first!.group)?.oursTaken).toEqual([7]);
  expect(whole.rows.length).toBe(1 + others.filter(({ group }) => group !== first!.group).length);
  expect(whole.calls).toEqual(published.calls);
});

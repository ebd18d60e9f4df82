// docs/systemd.md has the table of what each property costs, which test/kernels/units/hardening.ts
// tries under systemd. UPDATE=1 writes it anew.

import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { hardenings } from "../kernels/hardening.ts";
import { root } from "../support/child.ts";
import { table } from "../support/markdown.ts";

const FILE = join(root, "docs/systemd.md");
const MADE = /(<!-- hardening:[^>]*-->\n)([\s\S]*?)(<!-- end of hardening -->)/;

const costs = (): string =>
  table([
    ["property", "what it costs, and what to do"],
    ...hardenings.map(({ properties, says }) => [
      properties.map((property) => `\`${property}\``).join(" with "),
      says,
    ]),
  ]);

test("the table is what is tried", () => {
  const text = readFileSync(FILE, "utf8");
  const made = text.replace(MADE, (_all, begin, _old, end) => `${begin}\n${costs()}\n\n${end}`);
  if (process.env["UPDATE"] === "1") writeFileSync(FILE, made);
  expect(readFileSync(FILE, "utf8")).toBe(made);
});

test("each property of the guide's unit that hardens it is tried", () => {
  const text = readFileSync(FILE, "utf8");
  const [, unit = ""] = /```ini\n(.*?)```/s.exec(text) ?? [];
  const lines = unit.slice(unit.indexOf("DynamicUser=")).trimEnd().split("\n");
  const tried = new Set(hardenings.flatMap(({ properties }) => properties));
  expect(lines.filter((line) => !tried.has(line))).toEqual([]);
});

// docs/systemd.md has the table of what each property costs, which test/kernels/units/hardening.ts
// tries under systemd. UPDATE=1 writes it anew.

import { expect, test } from "bun:test";
import { hardenings } from "../kernels/hardening.ts";
import { holdMade, table, textOf } from "../support/markdown.ts";

const FILE = "docs/systemd.md";

const costs = (): string =>
  table([
    ["property", "what it costs, and what to do"],
    ...hardenings.map(({ properties, says }) => [
      properties.map((property) => `\`${property}\``).join(" with "),
      says,
    ]),
  ]);

test("the table is what is tried", () => {
  holdMade(FILE, "hardening", costs());
});

test("each property of the guide's unit that hardens it is tried", () => {
  const text = textOf(FILE);
  const [, unit = ""] = /```ini\n(.*?)```/s.exec(text) ?? [];
  const lines = unit.slice(unit.indexOf("DynamicUser=")).trimEnd().split("\n");
  const tried = new Set(hardenings.flatMap(({ properties }) => properties));
  expect(lines.filter((line) => !tried.has(line))).toEqual([]);
});

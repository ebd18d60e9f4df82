// docs/kernels.md has the table that capabilities() is made of. UPDATE=1 writes it anew.

import { expect, test } from "bun:test";
import { isAtLeast } from "../../src/base/kernel.ts";
import { capabilities } from "../../src/capabilities/capabilities.ts";
import { besides, type Requirement, requirements } from "../../src/capabilities/table.ts";
import { holdMade, table } from "../support/markdown.ts";

const FILE = "docs/kernels.md";

const named: readonly [string, Requirement][] = Object.entries(requirements);

function features(): string {
  const row = (name: string, { since, what, otherwise }: Requirement): string[] => [
    what,
    name === "" ? "" : `\`${name}\``,
    since ?? "any",
    otherwise,
  ];
  return table([
    ["feature", "entry", "Linux", "before it, or without it"],
    ...named.map(([name, one]) => row(name, one)),
    ...besides.map((one) => row("", one)),
  ]);
}

test("the table is what capabilities() is made of", () => {
  holdMade(FILE, "features", features());
});

test("each entry of capabilities() has a row, and no other", () => {
  const entries = Object.entries(capabilities())
    .filter(([, value]) => typeof value === "object" && value !== null && "available" in value)
    .map(([name]) => name);
  expect(named.map(([name]) => name).sort()).toEqual(entries.sort());
});

test("what a reason says of versions is what the table says", () => {
  for (const [name, entry] of Object.entries(capabilities())) {
    const reason = (entry as { reason?: string } | null)?.reason;
    const version = /(?:since|came with) Linux ([\d.]+)/.exec(reason ?? "")?.[1];
    if (version === undefined) continue;
    const { since } = requirements[name as keyof typeof requirements] as Requirement;
    expect([name, since]).toEqual([name, version as never]);
  }
});

test("what this kernel is new enough for is there, or says why not", () => {
  const { release } = process.getBuiltinModule("node:os");
  const found: Readonly<Record<string, unknown>> = { ...capabilities() };
  for (const [name, { since }] of named) {
    const { available, reason = "" } = found[name] as { available: boolean; reason?: string };
    const old = since !== null && !isAtLeast(release(), since);
    if (old) expect([name, available]).toEqual([name, false]);
    else if (!available) expect(reason, name).not.toMatch(/^since Linux|came with Linux/);
  }
});

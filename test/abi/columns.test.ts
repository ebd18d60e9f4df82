// What can be said of the columns that this machine's headers do not answer for: that they hold
// together. Their numbers stay unverified until a machine of that kind runs the probe.

import { describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { errno } from "../../native/errno.ts";
import type { Arch, System } from "../../native/platform.ts";
import { cellFor, type Row, type Struct, structs, tables } from "../../native/table.ts";
import { root } from "../support/child.ts";
import { compileCSource, peerTest } from "../support/peers.ts";
import { judgeTable, tableSource } from "./probe.ts";

const native = join(root, "native");
for (const file of readdirSync(native)) if (file.endsWith(".ts")) await import(join(native, file));

const columns: readonly (readonly [System, Arch])[] = [
  ["linux", "x64"],
  ["linux", "arm64"],
  ["darwin", "x64"],
  ["darwin", "arm64"],
];

interface Span {
  readonly field: string;
  readonly from: number;
  readonly to: number;
}

/** Members of a union in C, which may lie on each other: SIGCHLD has a status, others a value. */
const inUnion = new Set(["si_status", "si_value"]);

/** Fields that are half there, stick out of the struct, or lie on each other. */
function flaws(struct: Struct, on: System, machine: Arch): string[] {
  const size = cellFor(struct.size, on, machine);
  const wrong: string[] = [];
  const spans: Span[] = [];
  for (const [field, rows] of Object.entries(struct.fields)) {
    const [from, bytes] = rows.map((row: Row) => cellFor(row, on, machine));
    if ((from === null) !== (bytes === null)) wrong.push(`${field}: an offset without a width`);
    if (from == null || bytes == null) continue;
    if (size === null || from + bytes > size) wrong.push(`${field}: outside of the struct`);
    spans.push({ field, from, to: from + bytes });
  }
  spans.sort((a, b) => a.from - b.from);
  for (const [i, { field, from }] of spans.entries()) {
    const before = spans[i - 1];
    if (before === undefined || before.to <= from) continue;
    if (inUnion.has(field) && inUnion.has(before.field)) continue;
    wrong.push(`${field}: lies on ${before.field}`);
  }
  return wrong;
}

describe.each(columns)("%s %s", (on, machine) => {
  test("layouts hold together", () => {
    const wrong = structs.flatMap((struct) =>
      flaws(struct, on, machine).map((flaw) => `${struct.name}.${flaw}`),
    );
    expect(wrong).toEqual([]);
  });

  test("no two errnos are the same number", () => {
    const table = tables.find(({ rows }) => "EPERM" in rows)!;
    const numbers = Object.values(table.rows).map((row) => cellFor(row, on, machine));
    expect(numbers).not.toContain(null);
    expect(new Set(numbers).size).toBe(numbers.length);
    expect(numbers.length).toBe(Object.keys(errno).length);
  });
});

test("a layout with flaws is found", () => {
  const fields: Struct["fields"] = {
    a: [
      [0, 0],
      [4, 4],
    ],
    b: [
      [2, 2],
      [4, 4],
    ],
    c: [
      [6, 6],
      [4, null],
    ],
  };
  const struct: Struct = { name: "struct s", headers: [], size: [8, 8], fields };
  expect(flaws(struct, "linux", "x64")).toEqual(["c: outside of the struct", "b: lies on a"]);
  expect(flaws(struct, "darwin", "x64")).toEqual(["c: an offset without a width", "b: lies on a"]);
});

// arm64 has the generic system call table, which linux-libc-dev has on every machine
peerTest("arm64's system call numbers", ["cc"], () => {
  const found = tables.find(({ rows }) => "SYS_io_submit" in rows)!;
  const rows: Record<string, Row> = {};
  for (const [name, row] of Object.entries(found.rows)) rows[name.replace("SYS_", "__NR_")] = row;
  const table = { headers: ["asm-generic/unistd.h"], rows };
  const column = { on: "linux", machine: "arm64" } as const;
  const program = compileCSource("arm64", tableSource(table, column));
  const output = Bun.spawnSync([program]).stdout.toString();
  expect(judgeTable(table, output, column).wrong).toEqual([]);
});

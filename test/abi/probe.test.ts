// Every row and every layout of native/ against this machine's own headers. The C is generated
// from the rows, so that none can be added unchecked.

import { describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { type Struct, structs, type Table, tables } from "../../native/table.ts";
import { root } from "../support/child.ts";
import { compileCSource, peerTest } from "../support/peers.ts";
import { headerTest } from "../support/unless.ts";
import { judgeStruct, judgeTable, structSource, tableSource } from "./probe.ts";

const native = join(root, "native");
for (const file of readdirSync(native)) if (file.endsWith(".ts")) await import(join(native, file));

const output = (name: string, source: string): string =>
  Bun.spawnSync([compileCSource(name, source)]).stdout.toString();

const title = ({ headers, rows }: Table): string => {
  const [first] = Object.keys(rows);
  return `${headers.join(", ")}: ${first} and ${Object.keys(rows).length - 1} more`;
};

describe("constants", () => {
  for (const table of tables) {
    headerTest(title(table), () => {
      const { wrong, absent } = judgeTable(table, output("constants", tableSource(table)));
      if (absent.length > 0) console.log(`note: not in these headers: ${absent.join(", ")}`);
      expect(wrong).toEqual([]);
    });
  }
});

describe("layouts", () => {
  for (const struct of structs) {
    headerTest(struct.name, () => {
      const source = structSource(struct);
      if (source === null) console.log(`note: no ${struct.name} on this system`);
      else expect(judgeStruct(struct, output("layout", source))).toEqual([]);
    });
  }
});

const header = ["fcntl.h"];

describe("a wrong row is found", () => {
  const cases: Record<string, { rows: Table["rows"]; complaint: string }> = {
    "wrong number": { rows: { O_RDWR: [3, 3] }, complaint: "O_RDWR: row 3, headers 2" },
    "null for what exists": {
      rows: { O_RDWR: [null, null] },
      complaint: "O_RDWR: null in the row, 2 in the headers",
    },
    "a name that C does not know": {
      rows: { O_NOSUCH: [1, 1] },
      complaint: 'O_NOSUCH: not in the headers; a remark "since …" would have to say why',
    },
    "a wrong enumerator": {
      rows: { "O_RDWR + 1": [2, 2] },
      complaint: "O_RDWR + 1: row 2, headers 3",
    },
  };
  for (const [name, { rows, complaint }] of Object.entries(cases)) {
    peerTest(name, ["cc"], () => {
      const table: Table = { headers: header, rows };
      expect(judgeTable(table, output("wrong", tableSource(table))).wrong).toEqual([complaint]);
    });
  }

  peerTest("an excused name is only noted", ["cc"], () => {
    const rows = { O_NOSUCH: [1, 1, "since Linux 99"] } as const;
    const table: Table = { headers: header, rows };
    expect(judgeTable(table, output("excused", tableSource(table)))).toEqual({
      wrong: [],
      absent: ["O_NOSUCH (since Linux 99)"],
    });
  });

  peerTest("wrong size, offset and width", ["cc"], () => {
    const struct: Struct = {
      name: "struct pollfd",
      headers: ["poll.h"],
      size: [16, 16],
      fields: {
        fd: [
          [0, 0],
          [8, 8],
        ],
        events: [
          [5, 5],
          [2, 2],
        ],
      },
    };
    expect(judgeStruct(struct, output("wronglayout", structSource(struct)!))).toEqual([
      "size: row 16, headers 8",
      "fd.bytes: row 8, headers 4",
      "events.offset: row 5, headers 4",
    ]);
  });
});

test("all of native/ is looked at", () => {
  expect(tables.length).toBeGreaterThan(10);
  expect(structs.length).toBeGreaterThan(6);
});

// Generates C from the rows of native/, and judges what the compiled program says about them.

import { type Arch, arch as here, type System, system } from "../../native/platform.ts";
import { cellFor, type Row, type Struct, type Table } from "../../native/table.ts";

export interface Verdict {
  /** What is wrong; empty where the table is right. */
  readonly wrong: string[];
  /** Names that these headers do not know, and whose row says why that may be. */
  readonly absent: string[];
}

/** The column that this machine's headers answer for. */
export interface Column {
  readonly on: System;
  readonly machine: Arch;
}

export const ownColumn: Column = { on: system, machine: here };

const excuse = /^(since|glibc:) ?/;
const identifier = /^[A-Za-z_]\w*$/;

/** No preprocessor can ask for it: an enumerator, or an expression of others. */
export function unconditional(name: string, row: Row): boolean {
  return !identifier.test(name) || row[2] === "enumerator";
}

export function includes(headers: readonly string[]): string {
  const lines = ["#include <stddef.h>", "#include <stdio.h>"];
  for (const header of headers) {
    lines.push(`#if __has_include(<${header}>)`, `#include <${header}>`, "#endif");
  }
  return lines.join("\n");
}

const program = (headers: readonly string[], body: readonly string[]): string =>
  `${includes(headers)}\nint main(void) {\n${body.join("\n")}\n  return 0;\n}\n`;

/** A program that prints one line per row: the name, a tab, the number or "absent". */
export function tableSource({ headers, rows }: Table, column: Column = ownColumn): string {
  const body: string[] = [];
  for (const [name, row] of Object.entries(rows)) {
    const value = `  printf("${name}\\t%lld\\n", (long long)(${name}));`;
    if (unconditional(name, row)) {
      if (cellFor(row, column.on, column.machine) !== null) body.push(value);
    } else {
      body.push(`#ifdef ${name}`, value, "#else", `  puts("${name}\\tabsent");`, "#endif");
    }
  }
  return program(headers, body);
}

function parse(output: string): Map<string, string> {
  const said = new Map<string, string>();
  for (const line of output.split("\n")) {
    const [name, value] = line.split("\t");
    if (name !== undefined && value !== undefined) said.set(name, value);
  }
  return said;
}

/** Compare a table's column with what its program printed. */
export function judgeTable(table: Table, output: string, column: Column = ownColumn): Verdict {
  const said = parse(output);
  const verdict: Verdict = { wrong: [], absent: [] };
  for (const [name, row] of Object.entries(table.rows)) {
    const mine = cellFor(row, column.on, column.machine);
    const theirs = said.get(name) ?? "absent";
    judgeRow(verdict, { name, remark: row[2], mine, theirs });
  }
  return verdict;
}

interface Comparison {
  readonly name: string;
  readonly remark: string | undefined;
  readonly mine: number | null;
  readonly theirs: string;
}

function judgeRow({ wrong, absent }: Verdict, { name, remark, mine, theirs }: Comparison): void {
  if (theirs !== "absent") {
    if (mine === null) wrong.push(`${name}: null in the row, ${theirs} in the headers`);
    else if (String(mine) !== theirs) wrong.push(`${name}: row ${mine}, headers ${theirs}`);
  } else if (mine !== null) {
    if (remark !== undefined && excuse.test(remark)) absent.push(`${name} (${remark})`);
    else wrong.push(`${name}: not in the headers; a remark "since …" would have to say why`);
  }
}

type FieldRow = readonly [field: string, rows: readonly [offset: Row, bytes: Row]];

const present = (row: Row, { on, machine }: Column): boolean => cellFor(row, on, machine) !== null;

/** A program that prints the size, and per field its offset and width. Null where none is here. */
export function structSource(struct: Struct, column: Column = ownColumn): string | null {
  if (!present(struct.size, column)) return null;
  const { name } = struct;
  const fields: FieldRow[] = Object.entries(struct.fields);
  const body = [`  printf("size\\t%zu\\n", sizeof(${name}));`];
  for (const [field, [offset]] of fields) {
    if (!present(offset, column)) continue;
    body.push(`  printf("${field}.offset\\t%zu\\n", offsetof(${name}, ${field}));`);
    body.push(`  printf("${field}.bytes\\t%zu\\n", sizeof(((${name} *)0)->${field}));`);
  }
  return program(struct.headers, body);
}

/** Compare a struct's column with what its program printed. */
export function judgeStruct(struct: Struct, output: string, column: Column = ownColumn): string[] {
  const said = parse(output);
  const wrong: string[] = [];
  const compare = (what: string, row: Row): void => {
    const mine = cellFor(row, column.on, column.machine);
    const theirs = said.get(what);
    if (mine === null && theirs === undefined) return;
    if (String(mine) !== theirs) wrong.push(`${what}: row ${mine}, headers ${theirs}`);
  };
  compare("size", struct.size);
  for (const [field, [offset, bytes]] of Object.entries(struct.fields)) {
    compare(`${field}.offset`, offset);
    compare(`${field}.bytes`, bytes);
  }
  return wrong;
}

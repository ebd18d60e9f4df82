// Rows with a column per system. A value that a system lacks is null in its row, and stays null in
// the type of what is picked: tsc refuses code that does not look.

import { type Arch, arch, type System, system } from "./platform.ts";

/** One number, or none on this system, or one per architecture. */
export type Cell = number | null | { readonly [A in Arch]: number };

/** `[linux, darwin, remark]`. The remark "since X" excuses a name from headers older than X. */
export type Row = readonly [linux: Cell, darwin: Cell, remark?: string];

type Value<R extends Row> = null extends R[0] | R[1] ? number | null : number;
export type Picked<T extends Record<string, Row>> = { readonly [K in keyof T]: Value<T[K]> };

/** What the generated C probe reads: the rows as they stand, and where C declares them. */
export interface Table {
  readonly headers: readonly string[];
  readonly rows: Readonly<Record<string, Row>>;
}

/** A struct: its size and, per field, offset and width in bytes; `[linux, darwin]` each. */
export interface Struct {
  readonly name: string;
  readonly headers: readonly string[];
  readonly size: Row;
  readonly fields: Readonly<Record<string, readonly [offset: Row, bytes: Row]>>;
}

/** Everything declared through `constants()` and `layout()`, for the probe in test/abi. */
export const tables: Table[] = [];
export const structs: Struct[] = [];

/** The number of one cell on one system and architecture. */
export function cellFor(row: Row, on: System, machine: Arch): number | null {
  const cell = on === "linux" ? row[0] : row[1];
  return cell !== null && typeof cell === "object" ? cell[machine] : cell;
}

/** This machine's column of a set of rows, which `headers` declare in C. */
export function constants<const T extends Record<string, Row>>(
  headers: readonly string[],
  rows: T,
): Picked<T> {
  tables.push({ headers, rows });
  const picked: Record<string, number | null> = {};
  for (const [name, row] of Object.entries(rows)) picked[name] = cellFor(row, system, arch);
  return picked as Picked<T>;
}

type Fields = Record<string, readonly [offset: Row, bytes: Row]>;

/** This machine's column of a struct's layout. A field that is missing here has offset −1. */
export interface Layout<F extends Fields> {
  readonly size: number;
  readonly at: { readonly [K in keyof F]: number };
  readonly bytes: { readonly [K in keyof F]: number };
}

/** Declare a struct: `name` as C writes it ("struct msghdr"). */
export function layout<const F extends Fields>(
  name: string,
  headers: readonly string[],
  size: Row,
  fields: F,
): Layout<F> {
  structs.push({ name, headers, size, fields });
  const at: Record<string, number> = {};
  const bytes: Record<string, number> = {};
  for (const [field, [offset, width]] of Object.entries(fields)) {
    at[field] = cellFor(offset, system, arch) ?? -1;
    bytes[field] = cellFor(width, system, arch) ?? 0;
  }
  return { size: cellFor(size, system, arch) ?? 0, at, bytes } as Layout<F>;
}

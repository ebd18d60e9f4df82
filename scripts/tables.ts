// The tables of native/ as they are published: an object literal per system in the place of rows
// with a column for each, which a program would else turn into that object at every start.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { System } from "../native/platform.ts";
import { cellFor, type Row, type Struct, structs, type Table, tables } from "../native/table.ts";

const folder = join(import.meta.dir, "../native");

/** One number, or the one of this system and machine, as source text. */
function cell(row: Row, absent: number | null): string {
  const on = (system: System): string => {
    const x64 = cellFor(row, system, "x64") ?? absent;
    const arm64 = cellFor(row, system, "arm64") ?? absent;
    return x64 === arm64 ? String(x64) : `(arch_ === "arm64" ? ${arm64} : ${x64})`;
  };
  const [linux, darwin] = [on("linux"), on("darwin")];
  return linux === darwin ? linux : `(darwin_ ? ${darwin} : ${linux})`;
}

type Rows = Readonly<Record<string, Row>>;

function object(rows: Rows, absent: number | null): string {
  const cells = Object.entries(rows).map(
    ([name, row]) => `${JSON.stringify(name)}: ${cell(row, absent)}`,
  );
  return `{ ${cells.join(", ")} }`;
}

/** One of the two halves of a struct's fields. */
const half = ({ fields }: Struct, which: 0 | 1): Rows =>
  Object.fromEntries(Object.entries(fields).map(([name, pair]) => [name, pair[which]]));

/** What `constants()` and `layout()` would return. */
const constantsOf = ({ rows }: Table): string => object(rows, null);
const layoutOf = (struct: Struct): string =>
  `{ size: ${cell(struct.size, 0)}, at: ${object(half(struct, 0), -1)},
     bytes: ${object(half(struct, 1), 0)} }`;

/** Where the call that begins at `from` ends. */
function endOf(text: string, from: number): number {
  let depth = 0;
  for (const { 0: token, index } of text.slice(from).matchAll(/"[^"]*"|\/\/.*|[()]/g)) {
    if (token === "(") depth++;
    if (token === ")" && --depth === 0) return from + index + 1;
  }
  throw new Error("a call without an end");
}

/** `text` with its calls of `name` replaced, in order. A call keeps its lines: the source map. */
function replaceCalls(text: string, name: string, by: readonly string[]): string {
  const call = new RegExp(`\\b${name}\\(`, "g");
  const left = [...by];
  let [result, from] = ["", 0];
  for (const { index } of text.matchAll(call)) {
    const end = endOf(text, index);
    const lines = text.slice(index, end).split("\n").length;
    const literal = left.shift()?.replaceAll("\n", " ");
    if (literal === undefined) throw new Error(`more calls of ${name} than tables`);
    result += text.slice(from, index) + literal + "\n".repeat(lines - 1);
    from = end;
  }
  if (left.length > 0) throw new Error(`more tables than calls of ${name}`);
  return result + text.slice(from);
}

/** A module of native/: its own tables are those that it adds when it is run. */
async function withLiterals(file: string): Promise<string> {
  const text = readFileSync(file, "utf8");
  const [before, structsBefore] = [tables.length, structs.length];
  await import(`${file}?again`);
  const own = tables.slice(before).map(constantsOf);
  const layouts = structs.slice(structsBefore).map(layoutOf);
  const machine =
    'import { arch as arch_, system as system_ } from "./platform.ts";' +
    ' const darwin_ = system_ === "darwin";';
  const first = text.replace(/^import .* from "\.\/table\.ts";$/m, machine);
  // what only this repository's tests may ask for
  const published = first.replaceAll('process.env["BUNIX_SYSTEM"]', "undefined");
  return replaceCalls(replaceCalls(published, "constants", own), "layout", layouts);
}

/** The sources of native/ that have tables, by file. */
export async function nativeSources(): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const name of readdirSync(folder)) {
    if (!name.endsWith(".ts") || name.endsWith(".d.ts") || name === "table.ts") continue;
    found.set(join(folder, name), await withLiterals(join(folder, name)));
  }
  return found;
}

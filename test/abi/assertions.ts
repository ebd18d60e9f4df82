// The rows of native/ as C that only compiles where they are right: for systems whose programs
// cannot be run here.

import { cellFor, type Row, type Struct, type Table } from "../../native/table.ts";
import { type Column, includes, unconditional } from "./probe.ts";

export interface Assertions {
  readonly headers: readonly string[];
  /** One line each. */
  readonly lines: readonly string[];
  /** Cells with a number. */
  readonly cells: number;
  /** Cells that are null, of names that the preprocessor can be asked for. */
  readonly nulls: number;
  /** The same of names, or structs, that it cannot be asked for. */
  readonly unasked: number;
  readonly source: string;
}

const withSource = (made: Omit<Assertions, "source">): Assertions => ({
  ...made,
  source: `${includes(made.headers)}\n${made.lines.join("\n")}\nint probe;\n`,
});

/** Several of the same headers as one. */
export const joined = (all: readonly Assertions[]): Assertions =>
  withSource({
    headers: all[0]!.headers,
    lines: all.flatMap(({ lines }) => lines),
    cells: all.reduce((sum, { cells }) => sum + cells, 0),
    nulls: all.reduce((sum, { nulls }) => sum + nulls, 0),
    unasked: all.reduce((sum, { unasked }) => sum + unasked, 0),
  });

const ABSENT = "absent";
const PRESENT = "present";

const claim = (value: string, mine: number, name: string): string =>
  `_Static_assert((long long)(${value}) == ${mine}LL, "${name}|${mine}");`;

/** An assertion for each row; that a name is there, and that one is not, are assertions, too. */
export function assertTable({ headers, rows }: Table, { on, machine }: Column): Assertions {
  const lines: string[] = [];
  let [cells, nulls, unasked] = [0, 0, 0];
  for (const [name, row] of Object.entries(rows)) {
    const mine = cellFor(row, on, machine);
    if (unconditional(name, row)) {
      if (mine === null) unasked++;
      else lines.push(claim(name, mine, name));
    } else {
      const refusal = (why: string): string => `_Static_assert(0, "${name}|${why}");`;
      const there = mine === null ? refusal(PRESENT) : claim(name, mine, name);
      lines.push(`#ifdef ${name}`, there, "#else", mine === null ? "" : refusal(ABSENT), "#endif");
      if (mine === null) nulls++;
    }
    if (mine !== null) cells++;
  }
  return withSource({ headers, lines, cells, nulls, unasked });
}

export function assertStruct({ name, headers, size, fields }: Struct, column: Column): Assertions {
  const lines: string[] = [];
  let unasked = 0;
  const add = (value: string, row: Row, what: string): void => {
    const mine = cellFor(row, column.on, column.machine);
    if (mine === null) unasked++;
    else lines.push(claim(value, mine, `${name}.${what}`));
  };
  add(`sizeof(${name})`, size, "size");
  for (const [field, [offset, bytes]] of Object.entries(fields)) {
    add(`offsetof(${name}, ${field})`, offset, `${field}.offset`);
    add(`sizeof(((${name} *)0)->${field})`, bytes, `${field}.bytes`);
  }
  return withSource({ headers, lines, cells: lines.length, nulls: 0, unasked });
}

export interface Judged {
  /** Cells that the compiler has looked at. */
  readonly checked: number;
  /** Empty where all that it looked at is right. */
  readonly wrong: string[];
  /** Names with a number that these headers do not know. */
  readonly absent: string[];
  /** Cells that are null, and the headers do not have the name. */
  readonly confirmed: number;
  /** Cells that are null, and nobody was asked. */
  readonly unasked: number;
}

const failure = /error: static assertion failed(?: due to requirement '(.*)')?: (.*)\|(.*)$/;

/** What the compiler said of them. */
export function judge({ cells, nulls, unasked }: Assertions, said: string): Judged {
  const [wrong, absent]: [string[], string[]] = [[], []];
  let contradicted = 0;
  const lines = said.split("\n");
  for (const [i, line] of lines.entries()) {
    if (!line.includes("error: ") || line.includes("unable to build C object")) continue;
    const [, , name, mine] = failure.exec(line) ?? [];
    if (name === undefined) wrong.push(line);
    else if (mine === ABSENT) absent.push(name);
    else if (mine === PRESENT) {
      contradicted++;
      wrong.push(`${name}: null in the row, and there in the headers`);
    } else wrong.push(`${name}: row ${mine}, headers ${evaluated(lines, i)}`);
  }
  const [checked, confirmed] = [cells - absent.length, nulls - contradicted];
  return { checked, wrong, absent, confirmed, unasked };
}

/** What an assertion's left side came to: in a note below it, or in the requirement itself. */
function evaluated(lines: readonly string[], at: number): string {
  for (const line of lines.slice(at, at + 6)) {
    const value = /expression evaluates to '(-?\d+) ==/.exec(line) ?? /'(-?\d+)L* ==/.exec(line);
    if (value !== null) return value[1]!;
  }
  return "something else";
}

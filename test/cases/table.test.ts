// The table in README.md: complete, and every test that it names is there.

import { expect, test } from "bun:test";
import { existsSync, globSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";

const folder = resolve(import.meta.dir, "..");

/** The last number of each section of the catalogue, and the numbers that it leaves out. */
const sections: Readonly<Record<string, readonly [last: number, without?: readonly number[]]>> = {
  ADR: [27, [25]],
  BND: [29, [12, 14, 20]],
  MOD: [8],
  CON: [27],
  STR: [20],
  DGR: [24],
  SEQ: [12],
  PAIR: [6],
  RTS: [54],
  CRD: [22],
  PID: [14],
  GFD: [8],
  SHD: [14],
  BCK: [7],
  MMS: [9],
  OOB: [7],
  POF: [3],
  INQ: [2],
  MQ: [24],
  FIF: [14],
  SIG: [16, [13, 14]],
  LEAK: [5, [2, 3]],
};

const caseOf = (section: string, number: number): string =>
  `${section}-${String(number).padStart(2, "0")}`;

const expected = Object.entries(sections).flatMap(([section, [last, without = []]]) =>
  Array.from({ length: last }, (_, i) => i + 1)
    .filter((number) => !without.includes(number))
    .map((number) => caseOf(section, number)),
);

interface Row {
  readonly id: string;
  readonly what: string;
  readonly where: string;
}

const rows: readonly Row[] = readFileSync(join(import.meta.dir, "README.md"), "utf8")
  .split("\n")
  .flatMap((line) => {
    const found = /^\| ([A-Z]+-\d+) \| (.*) \| (.*) \|$/.exec(line);
    return found === null ? [] : [{ id: found[1]!, what: found[2]!, where: found[3]! }];
  });

/** The cases that a test says it shows: "(RTS-02, RTS-06 to RTS-09)" at the end of its name. */
function casesIn(source: string): Set<string> {
  const found = new Set<string>();
  const one = "[A-Z]+-\\d+";
  for (const [, list] of source.matchAll(new RegExp(`\\((${one}(?:(?:, | to )${one})*)\\)`, "g"))) {
    for (const part of list!.split(", ")) {
      const [first, last = first] = part.split(" to ");
      const [section, from] = first!.split("-");
      const to = Number(last!.split("-")[1]);
      for (let i = Number(from); i <= to; i++) found.add(caseOf(section!, i));
    }
  }
  return found;
}

const sourceOf = (file: string): string => readFileSync(join(folder, `${file}.test.ts`), "utf8");

/** `folder/file` and, where it is said, “the test's name” (“ and ” enclose several of them). */
function references(where: string): { file: string; name: string | undefined }[] {
  const each = /`((?:\w+\/)[\w-]+)`(?: “([^”]+)”)?/g;
  return [...where.matchAll(each)].map(([, file, name]) => ({ file: file!, name }));
}

test("each case has one row", () => {
  expect(rows.map(({ id }) => id).sort()).toEqual([...expected].sort());
});

/** What is wrong with a row; null where nothing is. */
function complaint({ id, what, where }: Row): string | null {
  if (what.length < 2) return `${id}: say what it is`;
  if (/^does not apply: (?:as [A-Z]+-\d+|.{20})/.test(where)) return null;
  if (references(where).length === 0) return `${id}: name a test, or say why there is none`;
  for (const { file, name } of references(where)) {
    if (!existsSync(join(folder, `${file}.test.ts`))) return `${id}: there is no ${file}`;
    const source = sourceOf(file);
    if (name !== undefined && !source.includes(name)) return `${id}: no “${name}” in ${file}`;
    if (name === undefined && !casesIn(source).has(id)) {
      return `${id}: no test in ${file} has (${id}) in its name`;
    }
  }
  return null;
}

test("every row names tests that are there, or says why there is none", () => {
  expect(rows.map(complaint).filter((one) => one !== null)).toEqual([]);
});

test("a row that is wrong is found", () => {
  const good = { id: "ADR-03", what: "lengths", where: "`cases/addresses`" };
  expect(complaint(good)).toBeNull();
  const wrong: Partial<Row>[] = [
    { what: "" },
    { where: "" },
    { where: "does not apply: no" },
    { where: "`cases/nowhere`" },
    { where: "`cases/addresses` “a test that nobody wrote”" },
    { id: "MQ-01" },
  ];
  for (const change of wrong) expect(complaint({ ...good, ...change })).not.toBeNull();
});

test("every case that a test here is named after names its file", () => {
  const missing: string[] = [];
  for (const path of globSync("*.test.ts", { cwd: import.meta.dir })) {
    const file = `cases/${path.slice(0, -".test.ts".length)}`;
    if (file === "cases/table") continue;
    for (const id of casesIn(sourceOf(file))) {
      const row = rows.find((one) => one.id === id);
      if (row === undefined || !row.where.includes(`\`${file}\``)) missing.push(`${id}: ${file}`);
    }
  }
  expect(missing).toEqual([]);
});

// docs/facts.md: what cites it leads there, each entry is used, and the tests that it names exist.

import { describe, expect, test } from "bun:test";
import { existsSync, globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "../support/child.ts";
import {
  type Citation,
  citations,
  citationsIn,
  citingFiles,
  type Fact,
  facts,
  factsIn,
} from "../support/facts.ts";
import { textOf } from "../support/markdown.ts";

const MIN_FACTS = 60;
const DOCUMENT = textOf("docs/facts.md");

/** Anchors that test/facts probes, with the file's name. */
const probes: readonly { readonly anchor: string; readonly file: string }[] = globSync(
  "test/facts/*.test.ts",
  { cwd: root },
).flatMap((path) => {
  const file = path.slice("test/".length, -".test.ts".length);
  const text = readFileSync(join(root, path), "utf8");
  return Array.from(text.matchAll(/^fact\(\s*"([^"]+)"/gm), ([, anchor = ""]) => ({
    anchor,
    file,
  }));
});

/** `folder/file` and the “names” behind it. */
function shownBy(seen: string): { file: string; names: string[] }[] {
  const each = /`([\w-]+\/[\w-]+)`((?:,? “[^”]+”)*)/g;
  return Array.from(seen.matchAll(each), ([, file = "", names = ""]) => ({
    file,
    names: Array.from(names.matchAll(/“([^”]+)”/g), ([, name = ""]) => name),
  }));
}

const NOT_PROBED = /\bNot probed(?: here)?[:,] .{10}/;

/** What is wrong with an entry; null where nothing is. */
function complaint({ anchor, seen }: Fact): string | null {
  if (!/\b20\d\d-\d\d\b/.test(seen) && !NOT_PROBED.test(seen))
    return `${anchor}: when was it seen?`;
  const shown = shownBy(seen);
  if (shown.length === 0 && !NOT_PROBED.test(seen)) {
    return `${anchor}: name the test that shows it, or say "Not probed: …" and why`;
  }
  for (const { file, names } of shown) {
    const path = join(root, `test/${file}.test.ts`);
    if (!existsSync(path)) return `${anchor}: there is no test/${file}.test.ts`;
    const source = readFileSync(path, "utf8");
    for (const name of names) {
      if (!source.includes(name)) return `${anchor}: no “${name}” in ${file}`;
    }
    const own = probes.some((probe) => probe.anchor === anchor && probe.file === file);
    if (names.length === 0 && !own) return `${anchor}: ${file} has no fact("${anchor}", …)`;
  }
  return null;
}

const lost = (all: readonly Citation[], known: ReadonlySet<string>): string[] =>
  all
    .filter(({ anchor }) => !known.has(anchor))
    .map(({ file, line, anchor }) => `${file}:${line}: docs/facts.md has no entry ${anchor}`);

const all = facts();
const known = new Set(all.map(({ anchor }) => anchor));

test("every heading is an entry, in the form that is read here", () => {
  const headings = Array.from(DOCUMENT.matchAll(/^### (.+)$/gm), ([, heading = ""]) => heading);
  expect(all.map(({ anchor }) => anchor)).toEqual(headings);
  expect(headings.filter((one) => !/^[a-z0-9]+(?:-[a-z0-9]+)+$/.test(one))).toEqual([]);
  expect(known.size).toBe(headings.length);
  expect(headings.length).toBeGreaterThanOrEqual(MIN_FACTS);
});

test("every citation leads to an entry", () => {
  expect(lost(citations(), known)).toEqual([]);
});

test("entries say when they were seen, and name tests that exist, or why there is none", () => {
  expect(all.map(complaint).filter((one) => one !== null)).toEqual([]);
});

test("every entry is cited somewhere, or shown by a test", () => {
  const cited = new Set(citations().map(({ anchor }) => anchor));
  const idle = all.filter(({ anchor, seen }) => !cited.has(anchor) && shownBy(seen).length === 0);
  expect(idle.map(({ anchor }) => anchor)).toEqual([]);
});

test("every probe has an entry, which names it", () => {
  const wrong = probes.filter(({ anchor, file }) => {
    const entry = all.find((one) => one.anchor === anchor);
    return !shownBy(entry?.seen ?? "").some((one) => one.file === file);
  });
  expect(wrong).toEqual([]);
});

const NUMBERED = /\b(?:FACTS\b|[FKLS]\d{1,2}\b)/;

/** Lines that cite a catalogue by its numbers. */
const numbered = (file: string, text: string): string[] =>
  text.split("\n").flatMap((line, i) => (NUMBERED.test(line) ? [`${file}:${i + 1}: ${line}`] : []));

test("nothing cites a catalogue by numbers", () => {
  const code = citingFiles().filter(
    ({ file }) => /^(?:src|native|test)\//.test(file) && file !== "test/docs/facts.test.ts",
  );
  expect(code.length).toBeGreaterThan(100);
  expect(code.flatMap(({ file, text }) => numbered(file, text))).toEqual([]);
});

describe("the rules find what they look for", () => {
  const entry = "### a-b\n\nIt is so.\n\n- Seen: X, 2026-11. Shown by `facts/memory`.\n- So: y.\n";

  test("entries", () => {
    expect(factsIn(`${entry}\n${entry.replace("a-b", "c-d")}`).map((one) => one.anchor)).toEqual([
      "a-b",
      "c-d",
    ]);
    expect(factsIn(entry.replace("- So: y.\n", ""))).toEqual([]);
  });

  test("citations, also over two lines", () => {
    const text = ["x", "// it is (facts: #a-b, #c-d).", "/*", " * so (facts:", " * #e-f)", " */"];
    const more = ["see docs/facts.md#g-h and [this](facts.md#i-j)"];
    const found = citationsIn("f", [...text, ...more].join("\n"));
    expect(found.map(({ anchor }) => anchor)).toEqual(["a-b", "c-d", "e-f", "g-h", "i-j"]);
    expect(found[0]?.line).toBe(2);
    expect(lost(found, new Set(["a-b", "c-d", "e-f", "g-h"]))).toHaveLength(1);
  });

  test("wrong entries", () => {
    const good = all.find(({ anchor }) => anchor === "small-arrays-move")!;
    expect(complaint(good)).toBeNull();
    const wrong: Partial<Fact>[] = [
      { seen: "Bun 1.4.5. Shown by `facts/memory`." },
      { seen: "2026-11." },
      { seen: "2026-11. Not probed." },
      { seen: "2026-11. Shown by `facts/nowhere`." },
      { seen: "2026-11. Shown by `facts/loop`." },
      { seen: "2026-11. Shown by `cases/bind` “a test that nobody wrote”." },
    ];
    for (const change of wrong) expect(complaint({ ...good, ...change })).not.toBeNull();
  });

  test("numbers", () => {
    expect(numbered("f", `// so (K${13})\n// FAC${"TS"}, "x"\n// x (F${6})`)).toHaveLength(3);
    expect(numbered("f", "0xF1, sha1, SIG-03, `PKCS12`")).toEqual([]);
  });
});

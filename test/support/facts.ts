// docs/facts.md: its entries, who cites them, and the probe of one of them.

import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./child.ts";
import { testUnless } from "./unless.ts";

export const WHERE = "docs/facts.md";

/** One entry of docs/facts.md. */
export interface Fact {
  readonly anchor: string;
  readonly statement: string;
  /** Versions, date, and the tests that show it or why none does. */
  readonly seen: string;
  /** What the code does because of it. */
  readonly so: string;
}

const entry = /^### (\S+)\n\n(.+?)\n\n- Seen: (.+?)\n- So: (.+?)\n(?=\n|$(?![\s\S]))/gms;

const oneLine = (text: string): string => text.replace(/\s+/g, " ").trim();

/** The entries of a text in their order. */
export function factsIn(text: string): Fact[] {
  return Array.from(
    text.matchAll(entry),
    ([, anchor = "", statement = "", seen = "", so = ""]) => ({
      anchor,
      statement: oneLine(statement),
      seen: oneLine(seen),
      so: oneLine(so),
    }),
  );
}

export const facts = (): Fact[] => factsIn(readFileSync(join(root, WHERE), "utf8"));

/** An anchor in a comment or in a document, and where that is. */
export interface Citation {
  readonly anchor: string;
  readonly file: string;
  readonly line: number;
}

const cited = new RegExp(
  String.raw`\(facts: (#[a-z0-9-]+(?:, #[a-z0-9-]+)*)\)|docs\/facts\.md(#[a-z0-9-]+)` +
    String.raw`|\]\(facts\.md(#[a-z0-9-]+)\)`,
  "g",
);

/** The citations in a text; one may go on in the next line of a comment. */
export function citationsIn(file: string, text: string): Citation[] {
  const joined = text.replace(/(\(facts:|#[a-z0-9-]+,)\n[ \t]*(?:\/\/|\*)? ?/g, "$1 ");
  return [...joined.matchAll(cited)].flatMap((match) => {
    const line = joined.slice(0, match.index).split("\n").length;
    const list = match[1] ?? match[2] ?? match[3] ?? "";
    return list.split(", ").map((one) => ({ anchor: one.slice(1), file, line }));
  });
}

const places = [
  "{src,native,test,bench,examples}/**/*.{ts,c,py,md}",
  "docs/*.md",
  "{README,CONTRIBUTING,SECURITY}.md",
];

/** Files that may cite facts, as paths from the root, with their text. */
export function citingFiles(): { readonly file: string; readonly text: string }[] {
  const files = places.flatMap((pattern) => globSync(pattern, { cwd: root })).sort();
  return files.map((file) => ({ file, text: readFileSync(join(root, file), "utf8") }));
}

/** Has citations as examples. */
const OWN_TEST = "test/docs/facts.test.ts";

export const citations = (): Citation[] =>
  citingFiles()
    .filter(({ file }) => file !== OWN_TEST)
    .flatMap(({ file, text }) => citationsIn(file, text));

/** The message of a probe that failed: what was said to be so, and what leans on it. */
export function noLongerSo(anchor: string, cause: unknown): Error {
  const { statement, so } = facts().find((one) => one.anchor === anchor) ?? {};
  const leaning = citations().filter((one) => one.anchor === anchor);
  const at = leaning.map(({ file, line }) => `${file}:${line}`).join(", ");
  const found = cause instanceof Error ? cause.message : String(cause);
  return new Error(
    [
      `${WHERE}#${anchor} is not so here: ${statement ?? "it has no entry"}`,
      `what the code does because of it: ${so ?? "unknown"}`,
      `cited in ${at === "" ? "no comment" : at}`,
      `found: ${found}`,
    ].join("\n"),
    { cause },
  );
}

/**
 * A test that a fact still holds; when it does not, the message names the entry and what leans on
 * it. `unless`: why it cannot hold on this machine; then it is left out, and that is printed.
 */
export function fact(
  anchor: string,
  name: string,
  probe: () => void | Promise<void>,
  unless: string | null = null,
): void {
  testUnless(
    unless,
    `${name} (facts: #${anchor})`,
    async () => {
      try {
        await probe();
      } catch (error) {
        throw noLongerSo(anchor, error);
      }
    },
    30_000,
  );
}

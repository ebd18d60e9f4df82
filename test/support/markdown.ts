// The blocks of code in the documentation, and the programs among them.

import { expect } from "bun:test";
import { globSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { root } from "./child.ts";
import type { TempDir } from "./tmp.ts";

/** A fenced block. */
export interface Block {
  /** Path from the repository's root. */
  readonly file: string;
  readonly language: string;
  readonly code: string;
}

/** The README and everything in docs/, as paths from the root. */
export const documents: readonly string[] = [
  "README.md",
  ...globSync("docs/*.md", { cwd: root }).sort(),
];

export function textOf(file: string): string {
  return readFileSync(join(root, file), "utf8");
}

/** The blocks of one document, in their order. */
export function blocksOf(file: string): Block[] {
  const found = textOf(file).matchAll(/^```(\w*)\n(.*?)^```$/gms);
  return Array.from(found, ([, language, code]) => ({ file, language: language!, code: code! }));
}

/** A block of TypeScript as a file in `dir`; `number` counts from 1 in its document. */
export interface Program {
  readonly name: string;
  readonly path: string;
}

/** Put the TypeScript of `file` into `dir`, each block a program of its own. */
export function writePrograms(file: string, dir: TempDir): Program[] {
  const programs = blocksOf(file).filter(({ language }) => language === "ts");
  return programs.map(({ code }, i) => {
    const end = code.includes('from "bun:test"') ? "test.ts" : "ts";
    const path = dir.file(`${basename(file, ".md")}-${i + 1}.${end}`);
    writeFileSync(path, code);
    return { name: `${file}, program ${i + 1}`, path };
  });
}

/** A tsconfig.json in `dir`, with which `tsc -p` checks all programs there as strictly as ours. */
export function writeConfig(dir: TempDir): string {
  const config = {
    extends: join(root, "tsconfig.json"),
    compilerOptions: {
      paths: { bunix: [join(root, "src/index.ts")], "bunix/*": [join(root, "src/*.ts")] },
      typeRoots: [join(root, "node_modules/@types")],
      noUnusedLocals: false,
    },
    include: [dir.file("*.ts"), join(root, "native/c-source.d.ts")],
  };
  // packages that the programs import, as their readers have them
  symlinkSync(join(root, "node_modules"), dir.file("node_modules"));
  const path = dir.file("tsconfig.json");
  writeFileSync(path, JSON.stringify(config));
  return path;
}

/** A table with columns of equal width; its head is the first row. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, i) => Math.max(...rows.map((row) => row[i]!.length)));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join(" | ")} |`;
  const [head = [], ...rest] = rows;
  return [head, widths.map((width) => "-".repeat(width)), ...rest].map(line).join("\n");
}

/**
 * What stands in `file` between its marks of that name, which has to be what was made; UPDATE=1
 * writes it first.
 */
export function holdMade(file: string, name: string, made: string): void {
  const marks = new RegExp(`(<!-- ${name}:[^>]*-->\\n)([\\s\\S]*?)(<!-- end of ${name} -->)`);
  const text = textOf(file);
  expect(text).toMatch(marks);
  const wanted = text.replace(marks, (_, begin, _old, end) => `${begin}\n${made}\n\n${end}`);
  if (process.env["UPDATE"] === "1") writeFileSync(join(root, file), wanted);
  expect(textOf(file)).toBe(wanted);
}

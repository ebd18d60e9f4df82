// Reads TypeScript as text, for the style rules of test/tidy.test.ts: where code is and where it is
// not, and what is imported. Trusts biome's layout.

import { globSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { root } from "./child.ts";

export interface Source {
  /** Path from the repository's root. */
  readonly file: string;
  readonly text: string;
  readonly lines: readonly string[];
  /** The lines with blanks in the place of comments and of what is in strings. */
  readonly code: readonly string[];
}

export function sourceOf(file: string, text: string): Source {
  return { file, text, lines: text.split("\n"), code: mask(text).split("\n") };
}

/** All TypeScript files under `folders`. */
export function sources(...folders: string[]): Source[] {
  const found = folders.flatMap((folder) => globSync(`${folder}/**/*.ts`, { cwd: root }));
  return found.sort().map((file) => sourceOf(file, readFileSync(join(root, file), "utf8")));
}

/** What a piece of text that is no code may be: how it starts, and all of it. */
const blanks: readonly (readonly [start: RegExp, whole: RegExp])[] = [
  [/\/\//y, /\/\/[^\n]*/y],
  [/\/\*/y, /\/\*[\s\S]*?\*\//y],
  [/"/y, /"(?:[^"\\\n]|\\.)*"/y],
  [/'/y, /'(?:[^'\\\n]|\\.)*'/y],
];
const regex = /\/(?:[^/\\\n[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y;
const beforeRegex = /(?:^|[(,=:[!&|?{};>]|\b(?:return|of|in|case))\s*$/;

const blank = (text: string): string => text.replace(/[^\n]/g, " ");

/** Blanks instead of comments, strings, templates (not what is in their ${}) and regexps. */
export function mask(text: string): string {
  let out = "";
  let at = 0;
  const templates: number[] = []; // for each open ${: how many braces are open in it
  const skip = (whole: RegExp): boolean => {
    whole.lastIndex = at;
    const found = whole.exec(text)?.[0];
    if (found === undefined) return false;
    out += blank(found);
    at += found.length;
    return true;
  };
  const template = (): void => {
    skip(/(?:[^`\\$]|\\[\s\S]|\$(?!\{))*/y);
    const opens = text.startsWith("${", at);
    out += opens ? "${" : " ";
    at += opens ? 2 : 1;
    if (opens) templates.push(0);
  };
  while (at < text.length) {
    const found = blanks.find(([start]) => {
      start.lastIndex = at;
      return start.test(text);
    });
    if (found !== undefined && skip(found[1])) continue;
    const char = text[at]!;
    if (char === "/" && beforeRegex.test(out.slice(-40)) && skip(regex)) continue;
    const depth = templates.length - 1;
    at++;
    out += char === "`" ? " " : char;
    if (char === "`") template();
    else if (char === "{" && depth >= 0) templates[depth]!++;
    else if (char === "}" && depth >= 0 && templates[depth]!-- === 0) {
      templates.pop();
      template();
    }
  }
  return out;
}

export interface Import {
  readonly line: number;
  /** "bun:ffi", or a path from the repository's root. */
  readonly from: string;
}

const importForms = [
  /^(?:import|export)\b[^;"]*?\bfrom "([^"]+)"/.source,
  /^import "([^"]+)"/.source,
  /\bimport\("([^"]+)"\)/.source,
];

/** Static imports and re-exports, and dynamic imports of a constant. */
export function imports({ file, text, code }: Source): Import[] {
  const statement = new RegExp(importForms.join("|"), "gm");
  const found: Import[] = [];
  for (const match of text.matchAll(statement)) {
    const from = match[1] ?? match[2] ?? match[3]!;
    const line = text.slice(0, match.index).split("\n").length;
    if (!/\b(?:import|export)\b/.test(code[line - 1]!)) continue; // in a comment or a string
    const local = from.startsWith(".");
    found.push({ line, from: local ? posix.join(posix.dirname(file), from) : from });
  }
  return found;
}

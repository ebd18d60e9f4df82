// Reads TypeScript as text, for the style rules of test/tidy.test.ts: where code is and where it is
// not, what is imported, where functions begin and end. Trusts biome's layout.

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
  /** Gone when the program runs: `import type`, or a file taken as a file. */
  readonly erased: boolean;
}

const importForms = [
  /^(?:import|export)\b(?: (type)\b)?[^;"]*?\bfrom "([^"]+)"(.*)$/.source,
  /^import "([^"]+)"/.source,
  /\bimport\("([^"]+)"\)/.source,
];

/** Static imports and re-exports, and dynamic imports of a constant. */
export function imports({ file, text, code }: Source): Import[] {
  const statement = new RegExp(importForms.join("|"), "gm");
  const found: Import[] = [];
  for (const match of text.matchAll(statement)) {
    const from = match[2] ?? match[4] ?? match[5]!;
    const line = text.slice(0, match.index).split("\n").length;
    if (!/\b(?:import|export)\b/.test(code[line - 1]!)) continue; // in a comment or a string
    const erased = match[1] !== undefined || (match[3] ?? "").includes("with {");
    const local = from.startsWith(".");
    found.push({ line, from: local ? posix.join(posix.dirname(file), from) : from, erased });
  }
  return found;
}

export interface Function {
  readonly name: string;
  readonly line: number;
  /** Lines from its first to its last. */
  readonly length: number;
}

const named = /^\s*(?:export )?(?:default )?(?:async )?function\*? ?(\w+)/;
const arrow = /^\s*(?:export )?const (\w+)\b.*(?:=>|\($)/;
const modifier = "(?:static|async|override|protected|private|public|get|set) ";
const method = new RegExp(`^\\s+(?:${modifier})*\\*?(#?\\w+|\\[[\\w.]+\\])(?:<.*>)?\\(`);
const noMethod = /^(?:if|for|while|switch|catch|return|super|await|throw|new|function|import)$/;

/** Functions with a name: declarations, arrows that a const holds, methods. */
export function functions({ code }: Source): Function[] {
  const found: Function[] = [];
  for (const [i, line] of code.entries()) {
    const name = (named.exec(line) ?? arrow.exec(line) ?? methodAt(line))?.[1];
    if (name === undefined) continue;
    const end = endOf(code, i);
    if (end !== null) found.push({ name, line: i + 1, length: end - i + 1 });
  }
  return found;
}

function methodAt(line: string): RegExpExecArray | null {
  const match = method.exec(line);
  return match !== null && !noMethod.test(match[1]!) ? match : null;
}

/** ") {", "): Type {", ") => {", "): Type =>" */
const endOfHeader = /^\)(?:: .+)?(?: \{| => \{| =>)$/;

/** The last line of what begins at line `start`; null where that is no function with a body. */
function endOf(code: readonly string[], start: number): number | null {
  const first = code[start]!.trimEnd();
  const indent = /^\s*/.exec(first)![0];
  if (/[;}]$/.test(first)) return /=>|\) *(?::.*)?\{/.test(first) ? start : null;
  if (!/(?:[({]|=>)$/.test(first)) return null;
  if (/^\s*[#\w[\].]+\(.*=> \{$/.test(first)) return null; // a call with a callback
  for (let i = start + 1; i < code.length; i++) {
    const line = code[i]!.trimEnd();
    if (line === "" || !line.startsWith(indent)) continue;
    const inner = line.slice(indent.length);
    if (inner.startsWith("}") && !inner.endsWith("{")) return i;
    if (inner.startsWith(")") && !endOfHeader.test(inner)) return null; // a call
    if (first.endsWith("=>") && line.endsWith(";")) return i;
  }
  return null;
}

export function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

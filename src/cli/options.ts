// What all commands share: options, ends, and text that is safe to print.

import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { printable, toJson } from "../base/printable.ts";

/** sysexits(3): EX_USAGE, and EX_OSERR: a system call failed. */
export const usageCode = 64;
export const OSERR = 71;

/** The command line is wrong. */
export class UsageError extends Error {}

/** What a command takes. */
export interface Wanted {
  /** Options without a value, beside --json. */
  readonly flags?: readonly string[];
  /** Options with one. */
  readonly values?: readonly string[];
  /** Options with one that may be given several times. */
  readonly lists?: readonly string[];
  /** How many arguments that are not options it takes at most. */
  readonly max: number;
}

/** A command's arguments, parsed. */
export interface Parsed {
  readonly json: boolean;
  readonly flags: ReadonlySet<string>;
  readonly values: ReadonlyMap<string, string>;
  readonly lists: ReadonlyMap<string, readonly string[]>;
  readonly rest: readonly string[];
}

/** @throws UsageError */
export function parse(args: readonly string[], wanted: Wanted): Parsed {
  const options: Options = { json: { type: "boolean" } };
  for (const name of wanted.flags ?? []) options[name] = { type: "boolean" };
  for (const name of wanted.values ?? []) options[name] = { type: "string" };
  for (const name of wanted.lists ?? []) options[name] = { type: "string", multiple: true };
  const { values, positionals: rest } =
    simple(args, options) ?? parseOrComplain([...args], options);
  if (rest.length > wanted.max) throw new UsageError(`too many arguments: ${rest.join(" ")}`);
  const given = Object.entries(values);
  return {
    json: values["json"] === true,
    flags: new Set(given.flatMap(([name, value]) => (value === true ? [name] : []))),
    values: new Map(given.filter((one): one is [string, string] => typeof one[1] === "string")),
    lists: new Map(given.filter((one): one is [string, string[]] => Array.isArray(one[1]))),
    rest,
  };
}

type Options = Record<string, { type: "string" | "boolean"; multiple?: boolean }>;

interface Found {
  readonly values: Record<string, unknown>;
  readonly positionals: string[];
}

/** Words and known flags only need no parser, which takes 7 ms to load; null: something else. */
function simple(args: readonly string[], options: Options): Found | null {
  const found: Found = { values: {}, positionals: [] };
  for (const arg of args) {
    const name = arg.slice(2);
    if (!arg.startsWith("-")) found.positionals.push(arg);
    else if (!arg.startsWith("--") || !Object.hasOwn(options, name)) return null;
    else if (options[name]?.type !== "boolean") return null;
    else found.values[name] = true;
  }
  return found;
}

function parseOrComplain(args: string[], options: Options): Found {
  try {
    return parseArgs({ args, options, allowPositionals: true, strict: true });
  } catch (error) {
    if (!(error instanceof Error) || !("code" in error)) throw error;
    if (error.code !== "ERR_PARSE_ARGS_UNKNOWN_OPTION") throw new UsageError(error.message);
    const given = unknownOption(args, options);
    const meant = didYouMean(given.replace(/^--/, ""), Object.keys(options), "--");
    throw new UsageError(`there is no option ${given}${meant}`);
  }
}

/** The first option that is not among `options`, as it was written: "--fast", "-f". */
function unknownOption(args: string[], options: Options): string {
  const { tokens } = parseArgs({ args, options, strict: false, tokens: true });
  for (const token of tokens) {
    if (token.kind === "option" && !Object.hasOwn(options, token.name)) return token.rawName;
  }
  throw new Error("all options are known");
}

/** "; did you mean …?", if one of `words` is similar. */
export function didYouMean(word: string, words: Iterable<string>, before = ""): string {
  const meant = nearest(word, words);
  return meant === undefined ? "" : `; did you mean ${before}${meant}?`;
}

/** The most similar of `words`: at most a third of the letters differ. */
function nearest(word: string, words: Iterable<string>): string | undefined {
  let best: string | undefined;
  let shortest = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of words) {
    const distance = edits(word, candidate);
    if (distance < shortest) [best, shortest] = [candidate, distance];
  }
  return best;
}

/** The edit distance: letters inserted, deleted, changed, or swapped with the next. */
function edits(from: string, to: string): number {
  const rows = [Array.from({ length: to.length + 1 }, (_, i) => i)];
  for (let i = 1; i <= from.length; i++) {
    const [row, above] = [[i], rows[i - 1]!];
    for (let j = 1; j <= to.length; j++) {
      const same = from[i - 1] === to[j - 1] ? 0 : 1;
      let min = Math.min(above[j]! + 1, row[j - 1]! + 1, above[j - 1]! + same);
      const swapped = i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1];
      if (swapped) min = Math.min(min, rows[i - 2]![j - 2]! + 1);
      row.push(min);
    }
    rows.push(row);
  }
  return rows[from.length]![to.length]!;
}

/** The value of `--type`. @throws UsageError */
export function typeOption({ values }: Parsed): "stream" | "seqpacket" | "datagram" | undefined {
  const type = values.get("type");
  if (type === undefined || type === "stream" || type === "seqpacket" || type === "datagram") {
    return type;
  }
  throw new UsageError(`--type is stream, seqpacket or datagram, not ${type}`);
}

/** Text on one line, control characters escaped, "\\" doubled. */
export const escaped = (text: string): string => printable(text.replaceAll("\\", "\\\\"));

/** The value as JSON, two spaces deep. */
export const json = (value: unknown): string => toJson(value, 2);

/** This package's version, from the package.json above this file. */
export function version(): string {
  for (let at = import.meta.dirname; at !== dirname(at); at = dirname(at)) {
    try {
      const manifest: unknown = JSON.parse(readFileSync(join(at, "package.json"), "utf8"));
      const { name, version } = manifest as { name?: unknown; version?: unknown };
      if (name === "bunix" && typeof version === "string") return version;
    } catch {
      // not here, one up
    }
  }
  return "unknown";
}

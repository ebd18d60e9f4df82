// What all commands share: options, ends, and text that is safe to print.

import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";

/** sysexits(3): used wrongly; and the system refused. */
export const usageCode = 64;
export const OSERR = 71;

/** The command line makes no sense. */
export class UsageError extends Error {}

interface Wanted {
  /** Options without a value, beside --json. */
  readonly flags?: readonly string[];
  /** Options with one. */
  readonly values?: readonly string[];
  /** Most arguments that are not options. */
  readonly most: number;
}

/** A command's arguments, taken apart. */
export interface Parsed {
  readonly json: boolean;
  readonly flags: ReadonlySet<string>;
  readonly values: ReadonlyMap<string, string>;
  readonly rest: readonly string[];
}

/** @throws UsageError */
export function parse(args: readonly string[], wanted: Wanted): Parsed {
  const options: Record<string, { type: "string" | "boolean" }> = { json: { type: "boolean" } };
  for (const name of wanted.flags ?? []) options[name] = { type: "boolean" };
  for (const name of wanted.values ?? []) options[name] = { type: "string" };
  const { values, positionals: rest } = parseOrComplain([...args], options);
  if (rest.length > wanted.most) throw new UsageError(`too many arguments: ${rest.join(" ")}`);
  const given = Object.entries(values);
  return {
    json: values["json"] === true,
    flags: new Set(given.flatMap(([name, value]) => (value === true ? [name] : []))),
    values: new Map(given.filter((one): one is [string, string] => typeof one[1] === "string")),
    rest,
  };
}

function parseOrComplain(
  args: string[],
  options: Record<string, { type: "string" | "boolean" }>,
): { values: Record<string, unknown>; positionals: string[] } {
  try {
    return parseArgs({ args, options, allowPositionals: true, strict: true });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}

/** The value of `--type`. @throws UsageError */
export function typeOption({ values }: Parsed): "stream" | "seqpacket" | "datagram" | undefined {
  const type = values.get("type");
  if (type === undefined || type === "stream" || type === "seqpacket" || type === "datagram") {
    return type;
  }
  throw new UsageError(`--type is stream, seqpacket or datagram, not ${type}`);
}

/** Text from elsewhere, such as a process's name, without what a terminal would obey. */
export function printable(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) =>
    Array.from(new TextEncoder().encode(character), hex).join(""),
  );
}

const hex = (byte: number): string => `\\x${byte.toString(16).padStart(2, "0")}`;

/** The value as JSON, two spaces deep. */
export const json = (value: unknown): string => JSON.stringify(value, null, 2);

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

// Puts itself between the library and node:fs, without the library's knowing: `mock.module` changes
// what its imports are bound to. Calls that come from elsewhere, and those while nobody is in
// between, are node:fs's own.

import { mock } from "bun:test";
import * as fs from "node:fs";
import { root } from "../support/child.ts";

/** A function of node:fs, whichever. */
export type FileCall = (...args: never[]) => unknown;

/** Who answers instead of node:fs. */
export interface Between {
  /** Whether to ask at all: to find out who calls takes its time. */
  wants(name: string): boolean;
  answer(name: string, args: readonly unknown[], real: FileCall): unknown;
}

const SOURCES = `${root}/src/`;
const OWN = import.meta.path;
const FRAMES = 6;

/** Whether the library itself makes the call that this is asked in. */
function isLibrarys(): boolean {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = FRAMES;
  const frames = new Error().stack?.split("\n").slice(1) ?? [];
  Error.stackTraceLimit = limit;
  return frames.find((one) => !one.includes(OWN))?.includes(SOURCES) === true;
}

let between: Between | null = null;

function watched(name: string, real: FileCall): FileCall {
  return (...args) => {
    if (between?.wants(name) !== true || !isLibrarys()) return real(...args);
    return between.answer(name, args, real);
  };
}

function install(): void {
  const all: Record<string, unknown> = { ...fs };
  for (const [name, one] of Object.entries(all)) {
    if (name.endsWith("Sync")) all[name] = watched(name, one as FileCall);
  }
  mock.module("node:fs", () => all);
}

let installed = false;

/** Have `one` asked from now on; null: nobody. */
export function standBetween(one: Between | null): void {
  if (!installed) install();
  installed = true;
  between = one;
}

// Socket files that no process has any more.

import { readdirSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import type { UnixSocketInfo } from "./list.ts";
import { isLeftOver, probe } from "./probe.ts";
import { filesWithoutSocket } from "./unix-sockets.ts";

/** How deep usual places are searched, and how many files at the most. */
const DEPTH = 3;
const MAX_ENTRIES = 20_000;

/** The stale socket files below `directories`, by path. */
export function staleFiles(
  sockets: readonly UnixSocketInfo[],
  directories = usualPlaces(sockets),
): string[] {
  const found = new Set<string>();
  const search = { left: MAX_ENTRIES, seen: new Set<string>() };
  for (const directory of directories) {
    for (const path of socketFiles(directory, DEPTH, search)) found.add(path);
  }
  const all = [...found].sort();
  const without = filesWithoutSocket(all);
  return without === null
    ? all.filter((path) => isSo(() => probe(path, { follow: false }).state === "stale"))
    : without.filter((path) => isSo(() => isLeftOver(path)));
}

function isSo(question: () => boolean): boolean {
  try {
    return question();
  } catch {
    return false; // removed, or this process may not look at it
  }
}

function usualPlaces(sockets: readonly UnixSocketInfo[]): string[] {
  const places = ["/run", "/tmp", "/var/run"];
  const runtime = process.env["XDG_RUNTIME_DIR"];
  if (runtime !== undefined && runtime !== "") places.push(runtime);
  for (const { address } of sockets) {
    if (address?.kind !== "path" || typeof address.path !== "string") continue;
    if (address.path.startsWith("/")) places.push(dirname(address.path));
  }
  return [...new Set(places)];
}

interface Search {
  left: number;
  readonly seen: Set<string>;
}

function* socketFiles(directory: string, depth: number, search: Search): Generator<string> {
  const real = realPath(directory);
  if (real === null || search.seen.has(`${depth} ${real}`)) return;
  search.seen.add(`${depth} ${real}`);
  for (const entry of entriesOf(real)) {
    if (--search.left < 0) return;
    const path = join(real, entry.name);
    if (entry.isDirectory() && depth > 1) yield* socketFiles(path, depth - 1, search);
    if (entry.isSocket()) yield path;
  }
}

function entriesOf(directory: string) {
  try {
    return readdirSync(directory, { withFileTypes: true });
  } catch {
    return []; // this process may not read it
  }
}

function realPath(path: string): string | null {
  try {
    return realpathSync(path);
  } catch {
    return null;
  }
}

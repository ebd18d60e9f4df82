// Children that say which descriptors they have.

import { fstatSync } from "node:fs";
import { join } from "node:path";
import { type FdLike, fdNumber } from "../../src/fd/fd.ts";
import type { SpawnFds } from "../../src/spawn/descriptors.ts";
import { root } from "../support/child.ts";
import { compileC } from "../support/peers.ts";

/** The programs, each with the numbers that it is to have. */
export const listers = {
  sh: () => ["sh", "-c", "stat -L -c '%n %d:%i' /proc/$$/fd/* 2>/dev/null; :"],
  c: () => [compileC("test/fixtures/spawn-list.c")],
  python3: () => ["python3", join(root, "test/fixtures/spawn-list.py")],
  bun: (numbers: Iterable<number>) => [
    process.execPath,
    join(root, "test/fixtures/spawn-list.ts"),
    ...Array.from(numbers, String),
  ],
} as const;

/** What a child has: from 3 on by number, device and inode; what else it said. */
export interface Inventory {
  readonly fds: Record<number, string>;
  readonly rest: string[];
}

export function inventory(said: string): Inventory {
  const fds: Record<number, string> = {};
  const rest: string[] = [];
  for (const line of said.trim().split("\n")) {
    const [, number, identity] = /^(?:\/proc\/\d+\/fd\/)?(\d+) (\d+:\d+)$/.exec(line) ?? [];
    if (number === undefined) rest.push(line);
    else if (Number(number) > 2) fds[Number(number)] = identity ?? "";
  }
  return { fds, rest: rest.sort() };
}

/** Which open file this is: the same in every process. */
export function identity(fd: FdLike): string {
  const { dev, ino } = fstatSync(fdNumber(fd));
  return `${dev}:${ino}`;
}

/** What a child must have that was given `fds`. */
export function expected(fds: SpawnFds): Record<number, string> {
  const all: Record<number, string> = {};
  let next = 3;
  for (const [key, fd] of Object.entries(fds as Record<string, FdLike>)) {
    const fixed = !Array.isArray(fds) && /^\d+$/.test(key);
    all[fixed ? Number(key) : next++] = identity(fd);
  }
  return all;
}

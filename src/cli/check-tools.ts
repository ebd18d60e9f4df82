// What the checks of bunix doctor share.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The time limit of a check, and of each wait inside it. */
export const LIMIT_MS = 5_000;

/** @throws if it is something else */
export function expect(is: unknown, wanted: unknown, what: string): void {
  if (is !== wanted) throw new Error(`${what}: ${String(is)} instead of ${String(wanted)}`);
}

/** Wait for both; if one of them fails, the result of the other is closed. */
export async function both<A extends Disposable, B extends Disposable>(
  a: Promise<A>,
  b: Promise<B>,
): Promise<[A, B]> {
  try {
    return await Promise.all([a, b]);
  } catch (error) {
    for (const one of [a, b]) {
      one.then(
        (got) => got[Symbol.dispose](),
        () => {},
      );
    }
    throw error;
  }
}

/** Call `body` with a new directory, which is removed afterwards. */
export async function inDirectory(body: (directory: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "bunix-doctor-"));
  try {
    await body(directory);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

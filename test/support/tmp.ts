// A fresh directory with a short path: sun_path has room for 107 bytes.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { check } from "../../src/base/errors.ts";
import { chmod } from "../../src/syscalls/fd.ts";

export interface TempDir extends Disposable {
  readonly path: string;
  /** The path of `name` inside. Nothing is created. */
  file(name: string): string;
  /** Remove it and all that is in it; does nothing the second time. */
  remove(): void;
}

/** chmod with all bits: Bun 1.3's chmodSync drops the sticky bit. */
export const setMode = (path: string, mode: number): void => void check(chmod(path, mode), "chmod");

/** A new, empty directory of mode 0700: `using dir = tempDir()`. */
export function tempDir(): TempDir {
  const path = mkdtempSync(join(tmpdir(), "bx-"));
  const remove = (): void => rmSync(path, { recursive: true, force: true });
  return { path, file: (name) => join(path, name), remove, [Symbol.dispose]: remove };
}

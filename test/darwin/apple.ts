// The C compiler for macOS that setup.sh here fetches: Apple's headers, no Mac. It compiles, and
// nothing that it makes can be run here.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import type { Arch } from "../../native/platform.ts";
import { tempDir } from "../support/tmp.ts";

const cache = process.getuid?.() === 0 ? "/var/cache" : cacheOfUser();
const home = join(cache, "bunix-rigs/apple-0.11.0");
const zig = join(home, "package/zig");

function cacheOfUser(): string {
  return process.env["XDG_CACHE_HOME"] || join(homedir(), ".cache");
}

/** Why there is none; null where there is. */
export function noAppleCompiler(): string | null {
  if (process.platform !== "linux" || process.arch !== "x64") {
    return "the compiler for macOS is a program for Linux on x64";
  }
  return existsSync(zig) ? null : "needs a compiler for macOS: bash test/darwin/setup.sh";
}

/** Machines where CI may lack it. */
export const maybeNoApple = process.platform !== "linux" || process.arch !== "x64";

const targets: Readonly<Record<Arch, string>> = { arm64: "aarch64-macos", x64: "x86_64-macos" };

export interface Compiled {
  /** All that the compiler said. */
  readonly said: string;
  /** What it made; empty where it made nothing. */
  readonly made: string;
}

/** Have C compiled for a Mac; `flags` say into what ("-S": assembly). */
export async function compileForMac(
  machine: Arch,
  source: string,
  flags: readonly string[],
): Promise<Compiled> {
  using dir = tempDir();
  const [input, output] = [dir.file("in.c"), dir.file("out")];
  writeFileSync(input, source);
  const zigCache = join(home, "cache");
  mkdirSync(zigCache, { recursive: true });
  const child = Bun.spawn(
    [zig, "cc", "-target", targets[machine], "-ferror-limit=0", ...flags, "-o", output, input],
    {
      cwd: dir.path,
      env: { ...process.env, ZIG_GLOBAL_CACHE_DIR: zigCache, ZIG_LOCAL_CACHE_DIR: zigCache },
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  const [out, said] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  await child.exited;
  const made = existsSync(output) ? readFileSync(output, "latin1") : "";
  return { said: said + out, made };
}

/** Every name that macOS's libSystem exports, of the newest list that the package has. */
export function exportedByLibSystem(): ReadonlySet<string> {
  const list = readFileSync(join(home, "package/lib/libc/darwin/libSystem.13.tbd"), "utf8");
  return new Set(Array.from(list.matchAll(/\b_([\w$]+)/g), ([, name]) => name!));
}

// The shims of docs/, as modules; and packages of npm, unpacked and not installed: their install
// scripts build addons.

import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { writeConfig, writePrograms } from "./markdown.ts";
import type { TempDir } from "./tmp.ts";

/** Put the one program of docs/`name`.md into `dir`; the result is its path. */
export function writeShim(dir: TempDir, name: string): string {
  const programs = writePrograms(`docs/${name}.md`, dir);
  if (programs.length !== 1) throw new Error(`docs/${name}.md: ${programs.length} programs`);
  if (!existsSync(dir.file("tsconfig.json"))) writeConfig(dir);
  return programs[0]!.path;
}

const caches =
  process.getuid?.() === 0
    ? "/var/cache"
    : (process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"));

const MAX_TRIES = 2;

/** A directory with `name`@`version` as npm has it; or why there is none. Fetched once. */
export function unpacked(name: string, version: string): { path: string } | { reason: string } {
  const home = join(caches, "bunix-rigs", "suites", `${name}-${version}`);
  const path = join(home, "package");
  for (let tries = 0; !existsSync(path) && tries < MAX_TRIES; tries++) {
    mkdirSync(home, { recursive: true });
    const fresh = mkdtempSync(join(home, "fresh-"));
    const fetch = `npm pack --silent ${name}@${version} && tar xzf ./*.tgz`;
    const fetched = Bun.spawnSync(["sh", "-c", fetch], { cwd: fresh }).success;
    if (fetched && !existsSync(path)) renameSync(join(fresh, "package"), path);
    rmSync(fresh, { recursive: true, force: true });
  }
  return existsSync(path) ? { path } : { reason: `no ${name}@${version} from npm` };
}

/** Copy a file with texts replaced. */
export function copyWith(
  from: string,
  to: string,
  changes: Readonly<Record<string, string>>,
): void {
  let text = readFileSync(from, "utf8");
  for (const [before, after] of Object.entries(changes)) text = text.replaceAll(before, after);
  writeFileSync(to, text);
}

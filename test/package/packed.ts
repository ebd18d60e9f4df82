// The tarball as npm would publish it, and a project that has it.

import { cpSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Outcome, type RunOptions, root, run } from "../support/child.ts";
import type { TempDir } from "../support/tmp.ts";

export const TIMEOUT_MS = 60_000;

/** What it said; its failure is ours. */
export async function succeed(
  command: readonly string[],
  options: RunOptions = {},
): Promise<Outcome> {
  const outcome = await run(command, { timeoutMs: TIMEOUT_MS, ...options });
  if (outcome.code === 0) return outcome;
  const { code, signal, stdout, stderr } = outcome;
  throw new Error(`${command.join(" ")}: ${code ?? signal}\n${stdout}\n${stderr}`);
}

/** Pack a copy, so that nothing is built in the repository itself. */
export async function pack(dir: TempDir): Promise<string> {
  const tree = dir.file("tree");
  mkdirSync(tree);
  const files = ["package.json", "tsconfig.json", "tsconfig.build.json"];
  const documents = ["README.md", "CHANGELOG.md", "LICENSE"];
  for (const name of ["src", "native", "scripts", ...files, ...documents]) {
    cpSync(join(root, name), join(tree, name), { recursive: true });
  }
  symlinkSync(join(root, "node_modules"), join(tree, "node_modules"));
  await succeed(["npm", "pack", "--offline", "--pack-destination", dir.path], { cwd: tree });
  const [made, ...more] = readdirSync(dir.path).filter((name) => name.endsWith(".tgz"));
  if (made === undefined || more.length > 0) throw new Error("npm pack made no or many tarballs");
  return dir.file(made);
}

/** An empty project, no registry in reach. */
export async function install(dir: TempDir, tarball: string): Promise<string> {
  const path = dir.file("project");
  mkdirSync(path);
  writeFileSync(join(path, "package.json"), '{ "name": "user", "type": "module" }');
  const env = {
    BUN_CONFIG_REGISTRY: "http://127.0.0.1:9",
    BUN_INSTALL_CACHE_DIR: dir.file("cache"),
  };
  await succeed([process.execPath, "add", tarball], { cwd: path, env });
  return path;
}

// The package as it is published, and programs that use it, in a folder of their own.

import { cpSync, existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { folder, median, output, pinned, scaled, scratch } from "./harness.ts";

/** Starts in one round, after one that does not count. */
const STARTS = 12;
const root = join(folder, "..");
const built = join(scratch, "package");

/** Where programs are that import it. */
export const app = join(scratch, "app");

/**
 * dist/ as npm run build makes it, without types, from a copy: the working tree stays as it is.
 * Once for all groups of a run.
 */
export function build(): void {
  if (existsSync(join(app, "node_modules/bunix"))) return;
  mkdirSync(built, { recursive: true });
  for (const name of ["native", "src", "scripts", "package.json", "tsconfig.json"]) {
    cpSync(join(root, name), join(built, name), { recursive: true });
  }
  symlinkSync(join(root, "node_modules"), join(built, "node_modules"));
  output([process.execPath, join(built, "scripts/build.ts")]);
  mkdirSync(join(app, "node_modules/.bin"), { recursive: true });
  symlinkSync(built, join(app, "node_modules/bunix"));
}

/** A program in `app`. */
export function program(name: string, text: string): string {
  const file = join(app, name);
  writeFileSync(file, text);
  return file;
}

/** The median time of some starts of a command, whole processes, in ms. */
export function startOf(
  command: readonly string[],
  options: { cpu?: number | null; starts?: number } = {},
): number {
  const { cpu = 0, starts = STARTS } = options;
  const took: number[] = [];
  const whole = cpu === null ? [...command] : pinned(cpu, command);
  for (let i = 0; i <= scaled(starts); i++) {
    const begin = Bun.nanoseconds();
    const { success } = Bun.spawnSync(whole, { cwd: app, stdout: "ignore" });
    const ms = (Bun.nanoseconds() - begin) / 1e6;
    if (!success) throw new Error(`${command.join(" ")} failed`);
    if (i > 0) took.push(ms);
  }
  return median(took);
}

/** The median of a number that a program prints, of as many starts. */
export function printedBy(file: string): number {
  const command = pinned(0, [process.execPath, file]);
  return median(
    Array.from({ length: scaled(STARTS) }, () => Number(output(command, { cwd: app }))),
  );
}

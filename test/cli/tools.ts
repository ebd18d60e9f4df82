// Runs the command as a user would.

import { readFileSync } from "node:fs";
import { type Outcome, type RunOptions, runScript } from "../support/child.ts";

/** `bunix …args`. */
export const bunix = (args: readonly string[], options?: RunOptions): Promise<Outcome> =>
  runScript("src/cli/main.ts", args, options);

/** This process's name: "bun", or whatever its file is called. */
export const ownCommand = readFileSync("/proc/self/comm", "utf8").trimEnd();

// bunix listen and other commands, as programs see them.

import { type Child, type RunOptions, startScript } from "../support/child.ts";

/** One line of --json. */
export type Event = Readonly<Record<string, unknown>>;

/** `bunix …args`, running; its standard input stays open. */
export const startBunix = (args: readonly string[], options?: RunOptions): Child =>
  startScript("src/cli/main.ts", args, options);

/** `bunix listen …`, which listens by the time this is there. */
export async function listening(args: readonly string[]): Promise<Child> {
  const child = startBunix(["listen", ...args]);
  await child.lineWith("listening");
  return child;
}

/** The next event of a command with --json. */
export async function event(child: Child): Promise<Event> {
  const line = await child.line();
  if (line === null) throw new Error(`it ended: ${(await child.exited).stderr}`);
  return JSON.parse(line);
}

#!/usr/bin/env bun
// bunx bunix …: which command, and with what it ends.

import { UnixError, UnsupportedError } from "../errors.ts";
import { doctor } from "./doctor.ts";
import { help } from "./help.ts";
import { ls } from "./ls.ts";
import { OSERR, UsageError, usageCode, version } from "./options.ts";
import { postbox } from "./postbox.ts";
import { probeCommand } from "./probe.ts";

type Command = (args: readonly string[]) => number | Promise<number>;

const say = (text: string) => (): number => {
  console.log(text);
  return 0;
};

const commands = new Map<string, Command>([
  ["probe", probeCommand],
  ["ls", ls],
  ["doctor", doctor],
  ["postbox", postbox],
  ["help", say(help)],
  ["--help", say(help)],
  ["-h", say(help)],
  ["version", () => say(version())()],
  ["--version", () => say(version())()],
]);

function commandOf(name: string | undefined): Command {
  if (name === undefined) throw new UsageError("which command? probe, ls, doctor or postbox");
  const command = commands.get(name);
  if (command === undefined) throw new UsageError(`there is no command "${name}"`);
  return command;
}

async function main([name, ...args]: readonly string[]): Promise<number> {
  try {
    const command = commandOf(name);
    return await (args.includes("--help") || args.includes("-h") ? say(help)() : command(args));
  } catch (error) {
    return complain(error);
  }
}

/** To standard error, with what to do about it; what nobody foresaw keeps its stack. */
function complain(error: unknown): number {
  if (error instanceof UsageError || error instanceof TypeError || error instanceof RangeError) {
    console.error(`bunix: ${error.message}\n(bunix help says what there is)`);
    return usageCode;
  }
  if (error instanceof UnsupportedError) {
    console.error(`bunix: ${error.message}\n(bunix doctor says what works here)`);
    return OSERR;
  }
  if (error instanceof UnixError) {
    console.error(`bunix: ${error.message}`);
    return OSERR;
  }
  throw error;
}

process.exitCode = await main(process.argv.slice(2));

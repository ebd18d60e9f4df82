#!/usr/bin/env bun
// bunx bunix …: which command, and with what it ends.

import { UnixError, UnsupportedError } from "../base/errors.ts";
import { printable } from "../base/printable.ts";
import { commandNamed, commands, wanted } from "./commands.ts";
import { completion } from "./completion.ts";
import { doctor } from "./doctor.ts";
import { graph } from "./graph/graph.ts";
import { help, helpFor } from "./help.ts";
import { listenCommand } from "./listen.ts";
import { ls } from "./ls.ts";
import { didYouMean, json, OSERR, parse, UsageError, usageCode, version } from "./options.ts";
import { postbox } from "./postbox/postbox.ts";
import { probeCommand } from "./probe.ts";
import { send } from "./send.ts";
import { print } from "./terminal.ts";

type Run = (args: readonly string[]) => number | Promise<number>;

const runs = new Map<string, Run>([
  ["probe", probeCommand],
  ["ls", ls],
  ["graph", graph],
  ["listen", listenCommand],
  ["send", send],
  ["doctor", doctor],
  ["postbox", postbox],
  ["completion", completion],
  ["help", helpCommand],
  ["version", versionCommand],
]);

const others = new Map([
  ["--help", "help"],
  ["-h", "help"],
  ["--version", "version"],
  ["-v", "version"],
]);

function say(text: string): number {
  print(text);
  return 0;
}

function helpCommand(args: readonly string[]): number {
  const parsed = parse(args, wanted("help"));
  const [name] = parsed.rest;
  if (parsed.json) return say(json(name === undefined ? commands : commandNamed(known(name))));
  return say(name === undefined ? help() : helpFor(commandNamed(known(name))));
}

function versionCommand(args: readonly string[]): number {
  const parsed = parse(args, wanted("version"));
  return say(parsed.json ? json({ bunix: version(), bun: Bun.version }) : version());
}

/** The name of a command. @throws UsageError with the one that was meant */
function known(name: string): string {
  const command = others.get(name) ?? name;
  if (runs.has(command)) return command;
  throw new UsageError(`there is no command "${name}"${didYouMean(name, runs.keys())}`);
}

/** --help counts among a command's options only: after "--" it is an argument. */
function asksForHelp(args: readonly string[]): boolean {
  const end = args.indexOf("--");
  const options = end < 0 ? args : args.slice(0, end);
  return options.includes("--help") || options.includes("-h");
}

async function main([name, ...args]: readonly string[]): Promise<number> {
  try {
    if (name === undefined) throw new UsageError(`which command? ${[...runs.keys()].join(", ")}`);
    const command = known(name);
    if (asksForHelp(args)) return say(helpFor(commandNamed(command)));
    return await runs.get(command)!(args);
  } catch (error) {
    return complain(error);
  }
}

/** To standard error, with what to do about it; unexpected errors keep their stack. */
function complain(error: unknown): number {
  if (error instanceof UsageError || error instanceof TypeError || error instanceof RangeError) {
    sayWrong(error, "(bunix help says what there is)");
    return usageCode;
  }
  if (error instanceof UnsupportedError) {
    sayWrong(error, "(bunix doctor says what works here)");
    return OSERR;
  }
  if (error instanceof UnixError) {
    sayWrong(error);
    return OSERR;
  }
  throw error;
}

/** An argument may have come from elsewhere, and the message repeats it. */
function sayWrong({ message }: Error, ...more: string[]): void {
  const lines = message.split("\n").map(printable);
  console.error([`bunix: ${lines.join("\n")}`, ...more].join("\n"));
}

process.exitCode = await main(process.argv.slice(2));

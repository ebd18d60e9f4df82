#!/usr/bin/env bun
// bunx bunix …: runs a command, and sets the exit code.

import { commandNamed, commands, wanted } from "./commands.ts";
import { complain } from "./complain.ts";
import { completion } from "./completion.ts";
import { help, helpFor } from "./help.ts";
import { ls } from "./ls.ts";
import { didYouMean, json, parse, UsageError, version } from "./options.ts";
import { print } from "./terminal.ts";

type Run = (args: readonly string[]) => number | Promise<number>;

/** A command that is loaded when it is called; the others need little of the library. */
const other =
  (name: keyof typeof import("./others.ts").others): Run =>
  async (args) =>
    await (await import("./others.ts")).others[name](args);

const runs = new Map<string, Run>([
  ["probe", other("probe")],
  ["ls", ls],
  ["graph", other("graph")],
  ["listen", other("listen")],
  ["send", other("send")],
  ["doctor", other("doctor")],
  ["postbox", other("postbox")],
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

process.exitCode = await main(process.argv.slice(2));

// bunix help, and --help with each command: made of the table in commands.ts.

import { type Command, commands, type Option } from "./commands.ts";
import { OSERR, usageCode } from "./options.ts";

const COLUMN = 30;

const row = (left: string, right: string): string => `  ${left.padEnd(COLUMN)}  ${right}`;

const end = (code: number, meaning: string): string => `  ${String(code).padEnd(3)} ${meaning}`;
const everywhere = [end(usageCode, "usage error"), end(OSERR, "a system call failed")];

/** The text of `bunix help`. */
export function help(): string {
  const rows = commands.map(({ name, takes, about }) => row(`bunix ${name} ${takes}`, about));
  return `bunix: Unix sockets for Bun

${rows.join("\n")}

bunix COMMAND --help lists its options and exit status.
ADDRESS is a path, or an abstract name after "@".
--json with each command that prints: JSON output.

Exit status of all commands
${everywhere.join("\n")}

BUNIX_DEBUG=1 shows each system call that bunix makes, in any program.
Only root sees the processes of other users.`;
}

const optionRow = ({ name, value, about, many }: Option): string =>
  row(
    value === undefined ? `--${name}` : `--${name} ${value}`,
    many === true ? `${about}; may be repeated` : about,
  );

/** The help of one command. */
export function helpFor({ name, takes, about, options, notes, ends }: Command): string {
  const lines = [`bunix ${name}${takes === "" ? "" : ` ${takes}`}: ${about}`, ""];
  lines.push(...options.map(optionRow), row("--json", "JSON output"));
  if (notes !== undefined) lines.push("", ...notes);
  if (takes.startsWith("ADDRESS")) lines.push('ADDRESS is a path, or an abstract name after "@".');
  lines.push("", "Exit status");
  for (const [code, meaning] of ends ?? [[0, "done"]]) lines.push(end(code, meaning));
  lines.push(...everywhere);
  return lines.join("\n");
}

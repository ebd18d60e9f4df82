// How the demo looks: two columns, in colour on a terminal only.

const colour = process.stdout.isTTY === true && process.env["NO_COLOR"] === undefined;
const paint =
  (code: number) =>
  (text: string): string =>
    colour ? `\x1b[${code}m${text}\x1b[0m` : text;

const bold = paint(1);
export const dim = paint(2);
const red = paint(31);
const green = paint(32);
const cyan = paint(36);

const LABEL = 11;

export function heading(who: string, does: string): void {
  console.log(`  ${bold(cyan(who))} ${does}`);
}

export function fact(label: string, text: string): void {
  console.log(`    ${dim(label.padEnd(LABEL))}${text}`);
}

/** What somebody else wrote, line by line. */
export function quote(text: string): void {
  for (const line of text.trimEnd().split("\n")) fact("", `${dim("│")} ${line}`);
}

export function success(text: string): void {
  console.log(`\n  ${bold(green("✔"))} ${text}\n`);
}

/** Say what went wrong and end with code 1. */
export function fail(reason: unknown): never {
  const text = reason instanceof Error ? reason.message : String(reason);
  console.log(`\n  ${bold(red("✘"))} ${text}\n`);
  process.exit(1);
}

// The message and exit code of a command that failed.

import { UnixError, UnsupportedError } from "../base/errors.ts";
import { printable } from "../base/printable.ts";
import { OSERR, UsageError, usageCode } from "./options.ts";

/** Print the error and a hint to standard error; throw an unexpected error on, with its stack. */
export function complain(error: unknown): number {
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

/** Escaped: the message repeats arguments, which may come from another program. */
function sayWrong({ message }: Error, ...more: string[]): void {
  const lines = message.split("\n").map(printable);
  console.error([`bunix: ${lines.join("\n")}`, ...more].join("\n"));
}

// How a command ends that failed.

import { UnixError, UnsupportedError } from "../base/errors.ts";
import { printable } from "../base/printable.ts";
import { OSERR, UsageError, usageCode } from "./options.ts";

/** To standard error, with what to do about it; what nobody foresaw keeps its stack. */
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

/** An argument may have come from elsewhere, and the message repeats it. */
function sayWrong({ message }: Error, ...more: string[]): void {
  const lines = message.split("\n").map(printable);
  console.error([`bunix: ${lines.join("\n")}`, ...more].join("\n"));
}

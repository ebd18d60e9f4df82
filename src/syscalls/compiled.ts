// C that is compiled in this process's memory. Bun brings the compiler
// (facts: #cc-without-a-toolchain): no toolchain, no header and no file is needed; the text is
// inside whatever `bun build` makes. The compiler reads it from a pipe, which no filter for system
// calls (seccomp) can sensibly refuse.

import { cc } from "bun:ffi";
import { errnoName } from "../base/errors.ts";
import { close, pipe, write } from "./fd.ts";
import { symbol } from "./libc.ts";
import { addressOf } from "./memory.ts";

/** What any pipe holds, also that of a user who has too many of them: one page. @see pipe(7) */
const PIPE_ROOM = 4096;

type Symbols = Parameters<typeof cc>[0]["symbols"];

/** The compiled functions, or the reason why there are none here. Never freed. */
export function compiled<const T extends Symbols>(
  source: string,
  symbols: T,
): ReturnType<typeof cc<T>> | string {
  const text = new TextEncoder().encode(source);
  if (text.length > PIPE_ROOM) return `the source has more than ${PIPE_ROOM} bytes`;
  const made = pipe();
  if (typeof made === "number") return `pipe2: ${errnoName(-made)}`;
  const [from, into] = made;
  try {
    const written = write(into, addressOf(text), text.length);
    close(into); // or else the compiler would wait for more
    if (written !== text.length) return "write failed";
    const flags = ["-nostdlib", "-nostdinc"] as unknown as string;
    return cc({ source: `/proc/self/fd/${from}`, flags, symbols });
  } catch (error) {
    return `cc: ${error instanceof Error ? error.message : String(error)}`;
  } finally {
    close(from);
  }
}

/** Where functions of libc are, for compiled C to call; or the reason why not. */
export function callees(needed: readonly string[]): number[] | string {
  const found = needed.map(symbol);
  const missing = needed.filter((_, i) => !found[i]);
  return missing.length === 0 ? found : `this libc has no ${missing.join(", ")}`;
}

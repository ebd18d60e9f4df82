// C that is compiled in this process's memory. Bun brings the compiler
// (facts: #cc-without-a-toolchain): no toolchain, no header and no file is needed; the text is
// inside whatever `bun build` makes.

import { cc } from "bun:ffi";
import { memfd } from "../../native/file.ts";
import { close, memfdCreate, write } from "./fd.ts";
import { symbol } from "./libc.ts";
import { addressOf } from "./memory.ts";

type Symbols = Parameters<typeof cc>[0]["symbols"];

/** The compiled functions, or the reason why there are none here. Never freed. */
export function compiled<const T extends Symbols>(
  source: string,
  symbols: T,
): ReturnType<typeof cc<T>> | string {
  const fd = memfdCreate("bunix-c", memfd.MFD_CLOEXEC ?? 0);
  if (fd < 0) return "memfd_create failed";
  try {
    const text = new TextEncoder().encode(source);
    if (write(fd, addressOf(text), text.length) !== text.length) return "write failed";
    const flags = ["-nostdlib", "-nostdinc"] as unknown as string;
    return cc({ source: `/proc/self/fd/${fd}`, flags, symbols });
  } catch (error) {
    return `cc: ${error instanceof Error ? error.message : String(error)}`;
  } finally {
    close(fd);
  }
}

/** Where functions of libc are, for compiled C to call; or the reason why not. */
export function callees(needed: readonly string[]): number[] | string {
  const found = needed.map(symbol);
  const missing = needed.filter((_, i) => !found[i]);
  return missing.length === 0 ? found : `this libc has no ${missing.join(", ")}`;
}

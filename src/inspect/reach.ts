// Why an address cannot be reached.

import { statSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { unreachable } from "../base/errors.ts";
import { fileKindInWords } from "../base/file-kind.ts";
import type { Address } from "../structs/sockaddr-un.ts";

/**
 * What to do about a failed connect or send, by its errno and by what is there; undefined if there
 * is nothing to say. The kernel refuses a file of any other kind as it refuses a socket whose
 * server has gone.
 */
export function whyUnreachable(address: Address, result: number): string | undefined {
  const found = result === -errno.ECONNREFUSED ? otherThanSocket(address) : null;
  if (found !== null) return `there is ${found} of this name, not a socket`;
  return unreachable.get(-result);
}

function otherThanSocket(address: Address): string | null {
  if (address.kind !== "path") return null;
  try {
    const stats = statSync(
      typeof address.path === "string" ? address.path : Buffer.from(address.path),
    );
    return stats.isSocket() ? null : fileKindInWords(stats);
  } catch {
    return null; // removed since, or this process may not look at it
  }
}

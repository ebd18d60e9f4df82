// System call filters (seccomp), which a service manager or a container sets for a process.

import { readFileSync } from "node:fs";
import { system } from "../../native/platform.ts";

/**
 * Whether this thread is under one; without /proc it may be. `read`: what reads a text, null if it
 * cannot.
 *
 * @see seccomp(2)
 */
export function underFilter(read: (path: string) => string | null = byNode): boolean {
  if (system !== "linux") return false;
  const status = read("/proc/thread-self/status");
  return status === null || /^Seccomp:\s*0/m.exec(status) === null;
}

function byNode(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

const ALLOW = "allow it in the unit's SystemCallFilter= or the container's profile";

/** What to say of a call that the filter certainly refuses. */
export const REFUSED = `the seccomp filter in force refuses it: ${ALLOW}`;
const MAYBE = `perhaps the seccomp filter in force refuses it: ${ALLOW}`;
const FAMILIES = "perhaps the unit's RestrictAddressFamilies= leaves this one out";

const hints: ReadonlyMap<string, string> = new Map([
  ["EPERM", MAYBE],
  ["ENOSYS", MAYBE],
  ["EAFNOSUPPORT", FAMILIES],
]);

/** For an error that has no better explanation. */
export function filterHint(code: string): string | undefined {
  const hint = hints.get(code);
  return hint !== undefined && underFilter() ? hint : undefined;
}

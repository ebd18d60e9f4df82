// The kernel's version. What a kernel can do is found out by trying; the version only explains the
// answer.

import { release } from "node:os";
import { system } from "../../native/platform.ts";

/** A version of Linux: "5.10", "2.6.39". */
export type KernelVersion = `${number}.${number}` | `${number}.${number}.${number}`;

const parts = (version: string): number[] => version.split(/[^\d]+/, 3).map(Number);

/** Whether `version` is `wanted` or later. "6.1.0-50-amd64" is 6.1.0. */
export function isAtLeast(version: string, wanted: KernelVersion): boolean {
  const [have, want] = [parts(version), parts(wanted)];
  for (const [i, number] of want.entries()) {
    const own = have[i] || 0;
    if (own !== number) return own > number;
  }
  return true;
}

/** Whether this is Linux, of that version or later. */
export const kernelIsAtLeast = (wanted: KernelVersion): boolean =>
  system === "linux" && isAtLeast(release(), wanted);

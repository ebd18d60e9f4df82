// Dispositions of signals. They belong to the process, not to a thread.

import { lastSignal } from "../../native/signal.ts";
import { libc, libcName } from "./libc.ts";

let range: { readonly first: number; readonly last: number } | null | undefined;

/** The real-time signals that libc leaves to programs; null where there are none. */
export function realTimeRange(): { readonly first: number; readonly last: number } | null {
  if (range === undefined) range = askRange();
  return range;
}

function askRange(): { first: number; last: number } | null {
  if (libcName === "" || lastSignal < 32) return null;
  return { first: libc.__libc_current_sigrtmin(), last: libc.__libc_current_sigrtmax() };
}

// How long we have kept Bun's event loop from everything else: timers, requests, other sockets.

import { monotonicMs } from "../syscalls/clock.ts";

/** Work that begins at once goes on for this long before the rest of the loop gets its turn. */
const TURN_MS = 2;

let began = Number.NEGATIVE_INFINITY;

/** Bun's loop has just called us. */
export function turnBegins(): void {
  began = monotonicMs();
}

/** It is time to return to Bun's loop. */
export function overdue(): boolean {
  return monotonicMs() - began > TURN_MS;
}

// How long we have kept Bun's event loop from everything else: timers, requests, other sockets.

/** Work that begins at once goes on for so long before the rest of the loop gets its turn. */
const TURN_MS = 2;

let began = Number.NEGATIVE_INFINITY;

/** Bun's loop has just given us the word. */
export function turnBegins(): void {
  began = performance.now();
}

/** It is time to give it back. */
export function overdue(): boolean {
  return performance.now() - began > TURN_MS;
}

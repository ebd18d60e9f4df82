// What was collected goes out although the process ends in this turn.

/** Has messages that wait for the end of the turn. */
export interface Flushed {
  /** Send them, as far as the kernel takes them. Never throws. */
  flush(): void;
}

/** Those that have collected something since Bun's loop last had its turn, and perhaps others. */
const collecting = new Set<Flushed>();
let listening = false;
let exiting = false;

/** The process, or this Worker, has begun to end: no turn of Bun's loop will come. */
export const isExiting = (): boolean => exiting;

function flushAll(): void {
  exiting = true;
  for (const one of collecting) one.flush();
}

/**
 * Flush it should this turn be the last one. The listener changes nothing about how and when the
 * process ends.
 */
export function flushAtExit(one: Flushed): void {
  collecting.add(one);
  if (listening) return;
  listening = true;
  process.on("exit", flushAll);
}

/** It has nothing to flush any more. */
export const flushedBefore = (one: Flushed): boolean => collecting.delete(one);

// What was collected goes out although the process ends in this turn of Bun's loop.

/** Collects messages until the end of the turn. */
export interface Collecting {
  /** Send them, as far as the kernel takes them. Never throws. */
  flush(): void;
}

const collecting = new Set<Collecting>();
let listening = false;
let exiting = false;

/** This process, or this Worker, has begun to end: no turn will come, so nothing is collected. */
export const isExiting = (): boolean => exiting;

/** The listener changes neither when nor how the process ends. */
export function listenForExit(): void {
  if (listening) return;
  listening = true;
  process.on("exit", () => {
    exiting = true;
    for (const one of collecting) one.flush();
  });
}

/** It has something to flush, should this turn be the last one. */
export const flushAtExit = (one: Collecting): void => void collecting.add(one);

/** It has nothing any more. */
export const hasFlushed = (one: Collecting): void => void collecting.delete(one);

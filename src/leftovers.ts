// Socket files that are to go when this process does.

/** Something that can be removed at any moment, and more than once. */
export interface Removable {
  remove(): void;
}

const all = new Set<Removable>();
const signals = ["SIGTERM", "SIGINT"] as const;

function removeAll(): void {
  for (const one of [...all]) one.remove();
}

/**
 * Without a handler these signals end the process at once, and the files would stay. This handler
 * removes them and then lets the signal do what it would have done. Who handles the signal himself
 * decides for himself; then "exit" sees to the files.
 */
function onSignal(signal: NodeJS.Signals): void {
  if (process.listenerCount(signal) > 1) return;
  removeAll();
  stopListening();
  process.kill(process.pid, signal);
}

function startListening(): void {
  process.on("exit", removeAll);
  if (Bun.isMainThread) for (const signal of signals) process.on(signal, onSignal);
}

function stopListening(): void {
  process.off("exit", removeAll);
  for (const signal of signals) process.off(signal, onSignal);
}

/**
 * Wait in a call that blocks the thread. No handler can run meanwhile, so ours steps aside: a
 * signal then ends the process as if there were none, and the file is left to the next server.
 */
export function blocked<T>(wait: () => T): T {
  if (all.size === 0 || !Bun.isMainThread) return wait();
  for (const signal of signals) process.off(signal, onSignal);
  try {
    return wait();
  } finally {
    for (const signal of signals) process.on(signal, onSignal);
  }
}

/** Remove `one` when the process ends. */
export function removeAtEnd(one: Removable): void {
  if (all.size === 0) startListening();
  all.add(one);
}

/** It has been removed, or is no longer ours. */
export function removed(one: Removable): void {
  if (all.delete(one) && all.size === 0) stopListening();
}

// Files that are to go when this process ends by itself: "exit" only. How a process ends is not for
// a library to say, so no signal is listened to. What a signal ends leaves its files, and the next
// process takes them over.

/** A file that can be removed at any moment; removing it twice does nothing. */
export interface Cleanup {
  remove(): void;
}

/**
 * Weak: an owner that is no longer referenced is closed by its finalizer, and its name may be
 * another's then.
 */
const all = new Set<WeakRef<Cleanup>>();
const references = new WeakMap<Cleanup, WeakRef<Cleanup>>();
const forgotten = new FinalizationRegistry<WeakRef<Cleanup>>(drop);

function removeAll(): void {
  for (const reference of [...all]) reference.deref()?.remove();
}

/** Remove `one` when the process ends. */
export function cleanUpAtExit(one: Cleanup): void {
  if (references.has(one)) return;
  if (all.size === 0) process.on("exit", removeAll);
  const reference = new WeakRef(one);
  all.add(reference);
  references.set(one, reference);
  forgotten.register(one, reference, reference);
}

/** It has been removed, or is no longer ours. */
export function forgetCleanup(one: Cleanup): void {
  const reference = references.get(one);
  if (reference === undefined) return;
  references.delete(one);
  forgotten.unregister(reference);
  drop(reference);
}

function drop(reference: WeakRef<Cleanup>): void {
  if (all.delete(reference) && all.size === 0) process.off("exit", removeAll);
}

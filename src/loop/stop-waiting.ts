// Telling the waiters of a descriptor that it is about to be closed. The poller registers here how,
// once it exists: a program that never waits closes without it.

/** Drops the waiters of a descriptor, with a reason. */
type Drop = (fd: number, reason: () => unknown) => void;

let drop: Drop | undefined;

/** From now on `how` drops the waiters of this JS thread. */
export function dropBy(how: Drop): void {
  drop = how;
}

/** Drop the waiters of a descriptor that is about to be closed; cheap if there are none. */
export function stopWaiting(fd: number, reason: () => unknown): void {
  drop?.(fd, reason);
}

// Telling what waits on a descriptor that it is about to be closed. The poller says here how, once it
// is there: what never waits does not need it in order to close.

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

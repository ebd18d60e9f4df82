// Programs that are written anew while something watches them.

const FIRST_MS = 500;

/**
 * Write until `done`: the watcher may not be there yet. Each time after a longer while, for what is
 * written before the program has said anything starts it anew.
 */
export async function writeUntil(write: () => void, done: () => Promise<unknown>): Promise<void> {
  let timer: Timer | undefined;
  const again = (pauseMs: number): void => {
    write();
    timer = setTimeout(again, pauseMs, 2 * pauseMs);
  };
  again(FIRST_MS);
  try {
    await done();
  } finally {
    clearTimeout(timer);
  }
}

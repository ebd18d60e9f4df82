// What is to be done when all tests of a process are over. A support file that several test files
// of one process import is evaluated once: its own `afterAll` would belong to the first of them.

const last: (() => void)[] = [];

/** leaks.ts, which is preloaded, calls it. */
export const atEnd = (fn: () => void): unknown => last.push(fn);

export function endAll(): void {
  for (const fn of last.splice(0)) fn();
}

// Bun's event loop and clock as they were when this library was loaded. Tests of a program put
// others in their place for a while (sinon's fake timers), for the program's own waiting: sockets
// go on, as Bun's own do. Jest's stop Bun's clock itself, and setTimeout: what must not stand still
// asks syscalls/clock.ts.

const { clearInterval, clearTimeout, queueMicrotask, setImmediate, setInterval, setTimeout } =
  globalThis;
const { nextTick } = process;
/** Milliseconds on the clock of `performance.now()`. */
const { now } = performance;

/** Bun's loop has had its turn, and what was put off to it until now. */
const nextTurn = (): Promise<void> => new Promise((begins) => void setImmediate(begins));

export {
  clearInterval,
  clearTimeout,
  nextTick,
  nextTurn,
  now,
  queueMicrotask,
  setImmediate,
  setInterval,
  setTimeout,
};

// Bun's event loop and clocks as they were when this library was loaded. Tests of a program put
// others in their place for a while (sinon's fake timers), which are about the program's own
// waiting: sockets go on, as Bun's own do.

const { clearInterval, clearTimeout, queueMicrotask, setImmediate, setInterval, setTimeout } =
  globalThis;
const { nextTick } = process;
/** Milliseconds on the clock of `performance.now()`. */
const { now } = performance;
/** Milliseconds since 1970. */
const { now: wallClock } = Date;

export {
  clearInterval,
  clearTimeout,
  nextTick,
  now,
  queueMicrotask,
  setImmediate,
  setInterval,
  setTimeout,
  wallClock,
};

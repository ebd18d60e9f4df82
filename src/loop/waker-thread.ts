// The thread of the second waker. It stands alone (nothing but Bun's own modules is imported), so
// that it can be carried into bundles and compiled programs as its own text (thread-waker.ts).
//
// Protocol: bytes from the command descriptor, an eventfd or a pipe, are one request: "say when the
// selector's descriptor is readable, or one of those beside it is ready". The end of a pipe, or
// an eventfd's high half, is "end". The answer is one message to the parent.

import { dlopen, ptr } from "bun:ffi";
import { parentPort, workerData } from "node:worker_threads";

interface Start {
  readonly libc: string;
  readonly selector: number;
  readonly command: number;
  /** How many there are beside it, and which, and for what. Only macOS has some: FIFOs. */
  readonly beside: Int32Array | null;
}

const POLLIN = 1;
const POLLOUT = 4;
const POLLFD_WORDS = 2;
const WORD_BITS = 32;

type Watched = readonly [fd: number, events: number];

/**
 * poll(2) says too little of FIFOs on macOS, where it is a kqueue inside (facts:
 * #kqueue-and-fifos). Whatever select says ends the wait: also EINTR, and that one is closed.
 */
function selecting(libc: string): (...watched: readonly Watched[]) => void {
  const { symbols } = dlopen(libc, {
    select$DARWIN_EXTSN: { args: ["i32", "ptr", "ptr", "ptr", "ptr"], returns: "i32" },
  } as const);
  return (...watched) => {
    const count = watched.reduce((most, [fd]) => Math.max(most, fd + 1), 0);
    const bytes = 4 * Math.ceil(count / WORD_BITS);
    const setOf = (event: number): Int32Array => {
      const set = new Int32Array(new ArrayBuffer(bytes));
      for (const [fd, events] of watched) {
        if ((events & event) !== 0) set[fd >> 5]! |= 1 << (fd % WORD_BITS);
      }
      return set;
    };
    const [reading, writing] = [setOf(POLLIN), setOf(POLLOUT)];
    symbols.select$DARWIN_EXTSN(count, ptr(reading), ptr(writing), null, null);
  };
}

function serve({ libc, selector, command, beside }: Start): void {
  const { symbols } = dlopen(libc, {
    poll: { args: ["ptr", "u64", "i32"], returns: "i32" },
    read: { args: ["i32", "ptr", "u64"], returns: "i32" },
  } as const);
  const counter = new Int32Array(new ArrayBuffer(8));
  let fds = new Int32Array(new ArrayBuffer(2 * POLLFD_WORDS * 4));
  const wait = (...watched: readonly Watched[]): void => {
    const words = watched.length * POLLFD_WORDS;
    if (words > fds.length) fds = new Int32Array(new ArrayBuffer(words * 4));
    for (const [i, entry] of watched.entries()) fds.set(entry, i * POLLFD_WORDS);
    while (symbols.poll(ptr(fds), watched.length, -1) < 0) {} // EINTR: as often as it takes
  };
  const besides = (): Watched[] =>
    beside === null
      ? []
      : Array.from({ length: beside[0]! }, (_, i) => [beside[2 * i + 1]!, beside[2 * i + 2]!]);
  const select = beside === null ? wait : selecting(libc);
  for (;;) {
    wait([command, POLLIN]);
    const bytes = symbols.read(command, ptr(counter), 8);
    if (bytes < 0) continue;
    if (bytes === 0 || counter[1] !== 0) return;
    const others = besides();
    (others.length === 0 ? wait : select)([selector, POLLIN], [command, POLLIN], ...others);
    parentPort?.postMessage(null);
  }
}

if (workerData !== null && typeof workerData === "object" && "selector" in workerData) {
  serve(workerData as Start);
}

/** This module's text, as `import … with { type: "text" }` gives it; for the type checker only. */
export default "";

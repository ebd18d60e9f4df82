// The thread of the second waker. It stands alone (nothing but Bun's own modules is imported), so
// that it can be carried into bundles and compiled programs as its own text (thread-waker.ts).
//
// Protocol: bytes from the command descriptor, an eventfd or a pipe, are one request: "say when the
// selector's descriptor is readable, or one of those beside it has hung up". The end of a pipe, or
// an eventfd's high half, is "end". The answer is one message to the parent.

import { dlopen, ptr } from "bun:ffi";
import { parentPort, workerData } from "node:worker_threads";

interface Start {
  readonly libc: string;
  readonly selector: number;
  readonly command: number;
  /** How many there are beside it, and which. */
  readonly beside: Int32Array | null;
}

const POLLIN = 1;
const POLLFD_WORDS = 2;

function serve({ libc, selector, command, beside }: Start): void {
  const { symbols } = dlopen(libc, {
    poll: { args: ["ptr", "u64", "i32"], returns: "i32" },
    read: { args: ["i32", "ptr", "u64"], returns: "i32" },
  } as const);
  const counter = new Int32Array(new ArrayBuffer(8));
  let fds = new Int32Array(new ArrayBuffer(2 * POLLFD_WORDS * 4));
  const wait = (...watched: (readonly [fd: number, events: number])[]): void => {
    const words = watched.length * POLLFD_WORDS;
    if (words > fds.length) fds = new Int32Array(new ArrayBuffer(words * 4));
    for (const [i, entry] of watched.entries()) fds.set(entry, i * POLLFD_WORDS);
    while (symbols.poll(ptr(fds), watched.length, -1) < 0) {} // EINTR: as often as it takes
  };
  const hangUps = (): (readonly [number, number])[] =>
    beside === null ? [] : Array.from(beside.subarray(1, 1 + beside[0]!), (fd) => [fd, 0]);
  for (;;) {
    wait([command, POLLIN]);
    const bytes = symbols.read(command, ptr(counter), 8);
    if (bytes < 0) continue;
    if (bytes === 0 || counter[1] !== 0) return;
    wait([selector, POLLIN], [command, POLLIN], ...hangUps());
    parentPort?.postMessage(null);
  }
}

if (workerData !== null && typeof workerData === "object" && "selector" in workerData) {
  serve(workerData as Start);
}

/** This module's text, as `import … with { type: "text" }` gives it; for the type checker only. */
export default "";

// The thread of the second waker. It stands alone (nothing but Bun's own modules is imported), so
// that it can be carried into bundles and compiled programs as its own text (thread-waker.ts).
//
// Protocol: eight bytes from the command eventfd are one request: below STOP "say when the epoll
// descriptor is readable", from STOP on "end". The answer is one message to the parent.

import { dlopen, ptr } from "bun:ffi";
import { parentPort, workerData } from "node:worker_threads";

interface Start {
  readonly libc: string;
  readonly epfd: number;
  readonly command: number;
}

const POLLIN = 1;
const POLLFD_WORDS = 2;

function serve({ libc, epfd, command }: Start): void {
  const { symbols } = dlopen(libc, {
    poll: { args: ["ptr", "u64", "i32"], returns: "i32" },
    read: { args: ["i32", "ptr", "u64"], returns: "i32" },
  } as const);
  const counter = new Int32Array(new ArrayBuffer(8));
  const fds = new Int32Array(new ArrayBuffer(2 * POLLFD_WORDS * 4));
  const wait = (count: number, ...watched: number[]): void => {
    for (const [i, fd] of watched.entries()) fds.set([fd, POLLIN], i * POLLFD_WORDS);
    while (symbols.poll(ptr(fds), count, -1) < 0) {} // EINTR: as often as it takes
  };
  for (;;) {
    wait(1, command);
    if (symbols.read(command, ptr(counter), 8) !== 8) continue;
    if (counter[1] !== 0) return;
    wait(2, epfd, command);
    parentPort?.postMessage(null);
  }
}

if (workerData !== null && typeof workerData === "object" && "epfd" in workerData) {
  serve(workerData as Start);
}

/** This module's text, as `import … with { type: "text" }` gives it; for the type checker only. */
export default "";

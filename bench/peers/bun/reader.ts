// The Worker of workers.ts: says when the socket is readable, then waits to be told that it was
// read.

import { dlopen, ptr } from "bun:ffi";
import { parentPort, workerData } from "node:worker_threads";

const { libc, sock, wake } = workerData as { libc: string; sock: number; wake: number };
const { symbols: c } = dlopen(libc, {
  poll: { args: ["ptr", "u64", "i32"], returns: "i32" },
  read: { args: ["i32", "ptr", "u64"], returns: "i64" },
} as const);

const POLLIN = 1;
const fds = new Int32Array(new ArrayBuffer(16));
const commands = new Uint8Array(new ArrayBuffer(64));
let watching = true;

for (;;) {
  fds.set([sock, watching ? POLLIN : 0, wake, POLLIN]);
  if (c.poll(ptr(fds), 2, -1) < 0) continue; // EINTR
  const [, socketEvents = 0, , wakeEvents = 0] = fds;
  if (wakeEvents >> 16 !== 0) {
    c.read(wake, ptr(commands), commands.length);
    watching = true;
  }
  if (watching && socketEvents >> 16 !== 0) {
    watching = false;
    parentPort?.postMessage(null);
  }
}

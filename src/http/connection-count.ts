// `server.getConnections` counts connections that a server accepted itself; this adds ours.

import type { AnyServer } from "./server-kinds.ts";

type Counted = (callback: (error: Error | null, count: number) => void) => unknown;

const counters = new WeakMap<object, Set<() => number>>();

function wrap(server: AnyServer, ours: Set<() => number>): void {
  const real = server.getConnections;
  if (typeof real !== "function") return;
  const value: Counted = (callback) =>
    real.call(server, (error, count) => {
      let sum = count;
      for (const one of ours) sum += one();
      callback(error, sum);
    });
  Object.defineProperty(server, "getConnections", { value, configurable: true, writable: true });
}

/** Add `count()` to the server's count, until the result is called. */
export function addToConnectionCount(server: AnyServer, count: () => number): () => void {
  let ours = counters.get(server);
  if (ours === undefined) {
    ours = new Set();
    counters.set(server, ours);
    wrap(server, ours);
  }
  ours.add(count);
  return () => ours.delete(count);
}

// Yama, the security module that lets a process be traced by its ancestors only, or by the one
// process that it names.

import { readFileSync } from "node:fs";
import { check, UnsupportedError } from "../base/errors.ts";
import { setTracer } from "../syscalls/process.ts";

/**
 * Which process may trace another: 0 no rule of Yama's, 1 ancestors and the named one, 2 root, 3
 * none.
 */
export function yamaScope(): number {
  try {
    return Number(readFileSync("/proc/sys/kernel/yama/ptrace_scope", "utf8"));
  } catch {
    return 0; // there is no Yama
  }
}

/** Settles when the last one in line is done. */
let queue: Promise<void> = Promise.resolve();

/**
 * Let a process trace this one until the result is disposed of, if it is still alive then. Only one
 * can be named at a time, so other calls wait in line meanwhile.
 *
 * @throws UnixError EINVAL (no such process); the signal's reason
 * @throws UnsupportedError in a Worker: there is one line per thread, and one name per process
 * @see prctl(2), PR_SET_PTRACER
 */
export async function allowTracer(
  { pid, alive }: { pid: number; alive: () => boolean },
  signal: AbortSignal,
): Promise<Disposable> {
  if (!Bun.isMainThread) {
    throw new UnsupportedError("sendFd", "under Yama a process allows one receiver: main thread");
  }
  const { promise: done, resolve: end } = Promise.withResolvers<void>();
  const turn = queue;
  queue = turn.then(() => done);
  try {
    await until(turn, signal);
    // not a later process with its pid; if it ends just now, the next call fails and takes this
    // back
    if (alive()) check(setTracer(pid), "prctl", { hint: "PR_SET_PTRACER: Yama did not take it" });
  } catch (error) {
    end();
    throw error;
  }
  return {
    [Symbol.dispose]() {
      setTracer(0);
      end();
    },
  };
}

function until(turn: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(signal.reason);
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    void turn.then(resolve);
  });
}

// Pipes whose ends are ours to give away.

import { check, UnixError } from "../base/errors.ts";
import { pipe as makePipe, setNonBlocking } from "../syscalls/fd.ts";
import { Fd } from "./fd.ts";

/** Which end of a pipe another program gets. */
export interface PipeOptions {
  /** This end blocks, as programs expect of their standard input and output. Default: neither. */
  readonly child?: "read" | "write" | undefined;
}

/** Both ends of a pipe, yours to close. */
export interface Pipe extends Disposable {
  /** The end to read from. */
  readonly read: Fd;
  /** The end to write to. */
  readonly write: Fd;
}

/**
 * A pipe. Both ends are close-on-exec and do not block, except for the one that a child gets: lend
 * that to `spawn` and close it here, and the pipe ends when the child does. `using` closes both.
 *
 * @throws TypeError; UnixError EMFILE, ENFILE
 * @see pipe(2)
 */
export function pipe({ child }: PipeOptions = {}): Pipe {
  if (child !== undefined && child !== "read" && child !== "write") {
    throw new TypeError('child is "read" or "write": the end that blocks');
  }
  const made = makePipe();
  if (typeof made === "number") throw new UnixError("pipe2", made);
  const [read, write] = [Fd.of(made[0], "pipe", "ours"), Fd.of(made[1], "pipe", "ours")];
  const both = { read, write, [Symbol.dispose]: () => close() };
  const close = (): void => {
    both.read.close();
    both.write.close();
  };
  try {
    for (const end of ["read", "write"] as const) {
      if (end !== child) check(setNonBlocking(both[end].fd, true), "fcntl");
    }
  } catch (error) {
    close();
    throw error;
  }
  return both;
}

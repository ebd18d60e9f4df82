// Dispositions of signals, and the pipe that the handler writes to. Dispositions belong to the
// process, not to a thread.

import { MAX_PIPE_BYTES, pipeSize } from "../../native/fifo.ts";
import { action, handlers, lastSignal, sigaction } from "../../native/signal.ts";
import { pipe } from "./fd.ts";
import { libc } from "./libc.ts";
import { Memory } from "./memory.ts";
import { result } from "./result.ts";

let range: { readonly first: number; readonly last: number } | null | undefined;

/**
 * The real-time signals that libc leaves to programs; null if there are none.
 * @throws UnsupportedError without a libc
 */
export function realTimeRange(): { readonly first: number; readonly last: number } | null {
  if (range === undefined) range = askRange();
  return range;
}

const STANDARD_SIGNALS = 31;

function askRange(): { first: number; last: number } | null {
  if (lastSignal <= STANDARD_SIGNALS) return null;
  return { first: libc.__libc_current_sigrtmin(), last: libc.__libc_current_sigrtmax() };
}

const FLAGS = action.SA_SIGINFO | action.SA_RESTART | action.SA_ONSTACK;

/** A struct sigaction: what the kernel does when a signal comes. */
export class Disposition {
  readonly #memory = new Memory(sigaction.size);

  /** Call the C function at `address`; what it interrupts goes on (SA_RESTART). */
  static handler(address: number): Disposition {
    const made = new Disposition();
    const { view } = made.#memory;
    view.setBigUint64(sigaction.at.sa_sigaction, BigInt(address), true);
    view.setInt32(sigaction.at.sa_flags, FLAGS, true);
    return made;
  }

  /** What the kernel does by itself (SIG_DFL). */
  static byDefault(): Disposition {
    return new Disposition();
  }

  /** Nothing at all (SIG_IGN). */
  static ignored(): Disposition {
    const made = new Disposition();
    made.#memory.view.setBigUint64(
      sigaction.at.sa_sigaction,
      BigInt(handlers["(long)SIG_IGN"]),
      true,
    );
    return made;
  }

  /** What holds now, or a negative errno. */
  static of(number: number): Disposition | number {
    const found = new Disposition();
    const got = result(libc.sigaction(number, null, found.#memory.address));
    return got < 0 ? got : found;
  }

  /** Make it hold. */
  install(number: number): number {
    return result(libc.sigaction(number, this.#memory.address, null));
  }

  /** Whether both call the same function. */
  calls(other: Disposition): boolean {
    const at = sigaction.at.sa_sigaction;
    return this.#memory.view.getBigUint64(at, true) === other.#memory.view.getBigUint64(at, true);
  }

  /** The struct's bytes, to be compared. */
  get bytes(): Uint8Array {
    return this.#memory.bytes.slice();
  }
}

/** A pipe that never blocks, with as much room as it may have; or a negative errno. */
export function signalPipe(): { readonly reader: number; readonly writer: number } | number {
  const made = pipe(true);
  if (typeof made === "number") return made;
  const [reader, writer] = made;
  enlarge(writer);
  return { reader, writer };
}

function enlarge(fd: number): void {
  if (pipeSize.F_SETPIPE_SZ === null) return;
  for (let bytes = MAX_PIPE_BYTES; bytes > 0; bytes >>= 1) {
    if (result(libc.fcntl(fd, pipeSize.F_SETPIPE_SZ, bytes)) >= 0) return;
  }
}

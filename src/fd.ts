// Descriptors: who owns a number, and what it stands for.

import type { Socket, TCPSocketListener, UnixSocketListener } from "bun";
import { file } from "../native/file.ts";
import { check, closedError } from "./errors.ts";
import { describeFd, type FdDescription } from "./fd-description.ts";
import { noLonger, type Owner, watchOver } from "./forgotten.ts";
import { stopWaiting } from "./loop/poller.ts";
import {
  close,
  descriptorFlags,
  duplicate,
  pipe as makePipe,
  setNonBlocking,
  statusFlags,
} from "./syscalls/fd.ts";
import { cells } from "./syscalls/memory.ts";

export type { FdDescription } from "./fd-description.ts";

/**
 * Anything that names an open descriptor: a number, an {@link Fd}, or an object with a numeric
 * `fd`, as Bun's sockets and Node's FileHandle have. Naming never takes ownership.
 */
export type FdLike =
  | number
  | Fd
  | { readonly fd: number }
  | Socket<unknown>
  | TCPSocketListener<unknown>
  | UnixSocketListener<unknown>;

const MOST = 0x7fffffff;

/** @internal The number of `from`. Throws TypeError or RangeError before any system call. */
export function fdNumber(from: FdLike): number {
  const fd = typeof from === "object" && from !== null ? (from as { fd?: unknown }).fd : from;
  if (typeof fd !== "number") {
    throw new TypeError(`a descriptor is a number or has a numeric fd, not ${describeValue(from)}`);
  }
  if (!Number.isInteger(fd) || fd > MOST || (fd < 0 && !(from instanceof Fd))) {
    throw new RangeError(`a descriptor is an integer from 0 to ${MOST}, not ${fd}`);
  }
  return fd;
}

function describeValue(value: unknown): string {
  return value === null ? "null" : typeof value;
}

/**
 * A descriptor with an owner: this object closes it, once.
 *
 * A forgotten Fd is closed when it is collected, and the process is warned once for each kind of
 * place that it came from.
 *
 * @see close(2)
 */
export class Fd implements Disposable, Owner {
  #fd: number;
  /** @internal Where it comes from, for the warning should it be forgotten. */
  readonly place: string;
  /** @internal */
  registered = false;

  private constructor(fd: number, place: string) {
    this.#fd = fd;
    this.place = place;
    watchOver(this);
  }

  /**
   * Own `fd`: from now on this object closes it, and nobody else may.
   * @param place where it comes from, for the warning should it be forgotten
   */
  static adopt(fd: number, place = "Fd.adopt"): Fd {
    return new Fd(fdNumber(fd), place);
  }

  /**
   * A new descriptor for the same open file, close-on-exec; `from` stays as it is.
   * @throws UnixError EBADF, EMFILE
   * @see dup(2)
   */
  static duplicate(from: FdLike): Fd {
    return new Fd(check(duplicate(fdNumber(from)), "fcntl"), "Fd.duplicate");
  }

  /** @internal */
  get owned(): number {
    return this.#fd;
  }

  /** The number; −1 once closed or released. It is borrowed: do not close it yourself. */
  get fd(): number {
    return this.#fd;
  }

  get closed(): boolean {
    return this.#fd < 0;
  }

  /** What it stands for, by asking the kernel. @throws UnixError ERR_CLOSED */
  describe(): FdDescription {
    return describeFd(this.#open("describe"));
  }

  /** Whether exec closes it. All descriptors of this library are born so. @see fcntl(2) F_GETFD */
  get closeOnExec(): boolean {
    const flags = check(descriptorFlags(this.#open("fcntl")), "fcntl");
    return (flags & file.FD_CLOEXEC) !== 0;
  }

  /**
   * O_NONBLOCK. It belongs to the open file: a process that shares it sees the change too. This
   * library's own calls do not depend on it; a child that reads from it may.
   * @see fcntl(2) F_SETFL
   */
  get nonBlocking(): boolean {
    return (check(statusFlags(this.#open("fcntl")), "fcntl") & file.O_NONBLOCK) !== 0;
  }
  set nonBlocking(on: boolean) {
    check(setNonBlocking(this.#open("fcntl"), on), "fcntl");
  }

  #open(syscall: string): number {
    if (this.#fd < 0) throw closedError(syscall);
    return this.#fd;
  }

  /** Give up ownership: the number is the caller's to close. @throws UnixError ERR_CLOSED */
  release(): number {
    const fd = this.#open("release");
    stopWaiting(fd, () => closedError("release"));
    noLonger(this, this.owned);
    this.#fd = -1;
    return fd;
  }

  /** Close it. Whoever waits on it gets ERR_CLOSED. Does nothing the second time, never throws. */
  close(): void {
    const fd = this.#fd;
    if (fd < 0) return;
    noLonger(this, this.owned);
    this.#fd = -1;
    stopWaiting(fd, () => closedError("close"));
    close(fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Which end of a pipe another program gets. */
export interface PipeOptions {
  /** This end blocks, as programs expect of their standard input and output. Default: neither. */
  readonly child?: "read" | "write" | undefined;
}

/** Both ends of a pipe, yours to close. */
export interface Pipe extends Disposable {
  readonly read: Fd;
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
  check(makePipe(), "pipe2");
  const [read, write] = [cells.words[0]!, cells.words[1]!].map((fd) => Fd.adopt(fd, "pipe"));
  const both = { read: read!, write: write!, [Symbol.dispose]: () => close() };
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

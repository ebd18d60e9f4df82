// Descriptors: who owns a number, and what it stands for.

import type { Socket, TCPSocketListener, UnixSocketListener } from "bun";
import { file } from "../../native/file.ts";
import { check, closedError } from "../base/errors.ts";
import { stopWaiting } from "../loop/stop-waiting.ts";
import { descriptorFlags, duplicate, setNonBlocking, statusFlags } from "../syscalls/fd.ts";
import { requireCalls } from "../syscalls/libc.ts";
import { closeOne, type Origin } from "./closing.ts";
import { describeFd, type FdDescription } from "./description.ts";
import { track, untrack } from "./finalizer.ts";

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

const MAX_FD = 0x7fffffff;

/** @internal The number of `from`. Throws TypeError or RangeError before any system call. */
export function fdNumber(from: FdLike): number {
  const fd = typeof from === "object" && from !== null ? (from as { fd?: unknown }).fd : from;
  if (typeof fd !== "number") {
    throw new TypeError(`a descriptor is a number or has a numeric fd, not ${describeValue(from)}`);
  }
  if (!Number.isInteger(fd) || fd > MAX_FD || (fd < 0 && !(from instanceof Fd))) {
    throw new RangeError(`a descriptor is an integer from 0 to ${MAX_FD}, not ${fd}`);
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
export class Fd implements Disposable {
  #fd: number;
  /** @internal Where it comes from, for the warning should it be forgotten. */
  readonly place: string;
  /** @internal */
  registered = false;
  readonly #origin: Origin;

  private constructor(fd: number, place: string, origin: Origin) {
    this.#fd = fd;
    this.place = place;
    this.#origin = origin;
    track(this);
  }

  /** @internal Own one of which it is known what it stands for. */
  static of(fd: number, place: string, origin: Origin): Fd {
    return new Fd(fd, place, origin);
  }

  /**
   * Own `fd`: from now on this object closes it, and nothing else may.
   * @param place where it comes from, for the warning should it be forgotten
   * @throws TypeError, RangeError; UnsupportedError if it could not be closed (no libc)
   */
  static adopt(fd: number, place = "Fd.adopt"): Fd {
    requireCalls();
    return new Fd(fdNumber(fd), place, "anybody");
  }

  /**
   * A new descriptor for the same open file, close-on-exec; `from` stays as it is.
   * @throws UnixError EBADF, EMFILE
   * @see dup(2)
   */
  static duplicate(from: FdLike): Fd {
    return new Fd(check(duplicate(fdNumber(from)), "fcntl"), "Fd.duplicate", "anybody");
  }

  /** @internal */
  get owned(): number {
    return this.#fd;
  }

  /** The number; −1 once closed or released. It is borrowed: do not close it yourself. */
  get fd(): number {
    return this.#fd;
  }

  /** True once it is closed or released; `fd` is −1 then. */
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

  /**
   * Give up ownership: the number is the caller's to close. It is a number, since nothing owns it
   * now; the `release()` of sockets, listeners and queues gives an Fd, which does. For what takes a
   * number and closes it (`Bun.connect({ fd })`) it is `socket.release().release()`.
   *
   * @throws UnixError ERR_CLOSED
   */
  release(): number {
    const fd = this.#open("release");
    stopWaiting(fd, () => closedError("release"));
    untrack(this, this.owned);
    this.#fd = -1;
    return fd;
  }

  /** Close it. What waits on it gets ERR_CLOSED. Does nothing the second time, never throws. */
  close(): void {
    const fd = this.#fd;
    if (fd < 0) return;
    untrack(this, this.owned);
    this.#fd = -1;
    closeOne(fd, this.#origin);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/**
 * @internal Own what an `adopt…` function is given: a number or an Fd itself, of any other object a
 * duplicate. `number` is what {@link fdNumber} said: an object is asked once.
 */
export function ownFd(from: FdLike, number: number, place: string, origin: Origin): Fd {
  if (from instanceof Fd) return Fd.of(from.release(), place, origin);
  return typeof from === "number" ? Fd.of(number, place, origin) : Fd.duplicate(number);
}

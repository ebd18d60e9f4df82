// What owns one descriptor and waits on it.

import { errno } from "../../native/errno.ts";
import { closedError, UnixError } from "../base/errors.ts";
import { Referenced } from "../base/referenced.ts";
import { poll } from "../syscalls/fd.ts";
import type { Fd } from "./fd.ts";

/** The owner of a descriptor: it is open until this is closed, or has released it. */
export abstract class FdOwner extends Referenced {
  /** @internal */
  protected readonly handle: Fd;

  /** @internal */
  constructor(handle: Fd) {
    super();
    this.handle = handle;
  }

  /** The descriptor's number, borrowed; −1 once closed. */
  get fd(): number {
    return this.handle.fd;
  }

  /** True once it is closed or released here: what waits then fails with ERR_CLOSED. */
  get closed(): boolean {
    return this.fd < 0;
  }

  /** @internal The number. @throws UnixError ERR_CLOSED */
  protected open(syscall: string): number {
    const { fd } = this;
    if (fd < 0) throw closedError(syscall);
    return fd;
  }

  /**
   * @internal Try until it works or no time is left, blocking the thread. The deadline of poll is
   *   the monotonic clock's: setting the time of day does not move it.
   */
  protected blocking<T>(
    syscall: string,
    event: number,
    left: () => number,
    once: () => T | undefined,
  ): T {
    for (;;) {
      const fd = this.open(syscall);
      const value = once();
      if (value !== undefined) return value;
      const wait = left();
      if (wait === 0) throw new UnixError(syscall, -errno.ETIMEDOUT);
      poll(fd, event, wait);
    }
  }
}

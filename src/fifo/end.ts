// What both ends of a FIFO are: owners of descriptors that wait on Bun's event loop.

import type { Abortable } from "../base/deadline.ts";
import { closedError, UnixError } from "../base/errors.ts";
import { Referenced } from "../base/referenced.ts";
import type { Fd } from "../fd/fd.ts";
import { LazyWatch } from "../loop/lazy-watch.ts";
import type { Watch } from "../loop/poller.ts";

/** How long an asynchronous call waits. */
export interface FifoWaitOptions extends Abortable {}

/** One end of a FIFO, which this process owns. @see fifo(7) */
export abstract class FifoEnd extends Referenced {
  /** The path that it was opened by, as text. */
  readonly path: string;
  #end: Fd | null = null;
  readonly #watch = new LazyWatch();
  #closed = false;

  /** @internal */
  constructor(path: string) {
    super();
    this.path = path;
  }

  /** @internal From now on this is the descriptor. */
  protected own(end: Fd): void {
    this.#end = end;
  }

  /** The descriptor's number, borrowed; −1 if there is none. */
  get fd(): number {
    return this.#end?.fd ?? -1;
  }

  /** True once it is closed: what waits then fails with ERR_CLOSED. */
  get closed(): boolean {
    return this.#closed;
  }

  /** @internal */
  protected open(syscall: string): void {
    if (this.#closed) throw closedError(syscall);
  }

  /** @internal An error with the path in it. */
  protected failed(syscall: string, result: number, hint?: string): UnixError {
    return new UnixError(syscall, result, { address: this.path, hint });
  }

  /** @internal */
  protected get watch(): Watch {
    return this.#watch.of(this.fd);
  }

  /** @internal */
  protected get referenced(): boolean {
    return this.#watch.referenced;
  }

  /** @internal */
  protected reference(on: boolean): void {
    this.#watch.referenced = on;
  }

  /** Close at once. What waits gets ERR_CLOSED. Never throws; the FIFO's file stays. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.beforeClose();
    this.#end?.close();
  }

  /** @internal */
  protected beforeClose(): void {}
}

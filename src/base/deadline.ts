// Time limits and pauses; an AbortSignal and a time limit as one signal.

import { integer } from "./checks.ts";
import type { UnixError } from "./errors.ts";
import { clearTimeout, setTimeout } from "./timers.ts";

/** A wait that the caller can cancel: part of the options of every call that waits. */
export interface Abortable {
  /** When it is aborted the call fails with its reason. Default: none. */
  readonly signal?: AbortSignal | undefined;
}

/** A wait with a time limit: part of the options of calls that block or connect. */
export interface TimeLimited {
  /** Milliseconds until it fails with ETIMEDOUT. Default: no limit, unless the call names one. */
  readonly timeoutMs?: number | undefined;
}

/** Options of one call that blocks the thread: no AbortSignal can fire meanwhile. */
export interface SyncOptions extends TimeLimited {}

/** A pause that a signal can end. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(
      () => {
        signal?.removeEventListener("abort", stop);
        resolve();
      },
      integer("ms", ms),
    );
    signal?.addEventListener("abort", stop, { once: true });
    if (signal?.aborted === true) stop();
  });
}

/** The caller's signal and the time that is left, as one. */
export class Deadline implements Disposable {
  readonly #stop = new AbortController();
  readonly #timer: ReturnType<typeof setTimeout>;
  readonly #caller: AbortSignal | undefined;
  readonly #onAbort = (): void => this.#stop.abort(this.#caller?.reason);

  constructor(caller: AbortSignal | undefined, ms: number, late: () => UnixError) {
    this.#caller = caller;
    this.#timer = setTimeout(() => this.#stop.abort(late()), ms);
    caller?.addEventListener("abort", this.#onAbort, { once: true });
  }

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#caller?.removeEventListener("abort", this.#onAbort);
  }
}

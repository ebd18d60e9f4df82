// The watch of a descriptor that may never have to wait: made when it first does.

import { Watch } from "./poller.ts";

/** Held by the owner of a descriptor. `Fd.close` and `Fd.release` end the watch. */
export class LazyWatch {
  #watch: Watch | null = null;
  #referenced = true;

  /** The watch of `fd`, which is the same number each time. */
  of(fd: number): Watch {
    if (this.#watch === null) {
      this.#watch = Watch.of(fd, true);
      this.#watch.referenced = this.#referenced;
    }
    return this.#watch;
  }

  /** The watch, if one was needed so far. */
  get current(): Watch | null {
    return this.#watch;
  }

  /** No waiter in the direction "write": a new send may try at once. */
  get idle(): boolean {
    return this.#watch?.hasWaiters("write") !== true;
  }

  /** Whether what waits keeps the process alive. */
  get referenced(): boolean {
    return this.#referenced;
  }
  set referenced(on: boolean) {
    this.#referenced = on;
    if (this.#watch !== null) this.#watch.referenced = on;
  }
}

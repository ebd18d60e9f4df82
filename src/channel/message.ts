// What comes through a channel.

import type { Fd } from "../fd/fd.ts";
import type { Credentials } from "../structs/credentials.ts";

const NONE: readonly Fd[] = Object.freeze([]);

/**
 * A value that came, and its descriptors. `using` or `close()` closes those that were not taken,
 * the ones that stand in `value` included.
 */
export class ChannelMessage<T> implements Disposable {
  /** The value; a descriptor that was sent in it is an {@link Fd} in the same place. */
  readonly value: T;
  /** Of the sender, if the socket passes credentials: the sender's claim, checked by the kernel. */
  readonly credentials: Credentials | undefined;
  #fds: readonly Fd[];

  /** @internal */
  constructor(value: T, fds: readonly Fd[], credentials: Credentials | undefined) {
    this.value = value;
    this.credentials = credentials;
    this.#fds = fds;
  }

  /** All descriptors of the message that were not taken, in the order they were sent. */
  get fds(): readonly Fd[] {
    return this.#fds;
  }

  /** Take all descriptors: they are the caller's to close from now on. */
  takeFds(): Fd[] {
    const fds = [...this.#fds];
    this.#fds = NONE;
    return fds;
  }

  /** Close the descriptors that were not taken. */
  close(): void {
    const fds = this.#fds;
    if (fds.length === 0) return;
    this.#fds = NONE;
    for (const fd of fds) fd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

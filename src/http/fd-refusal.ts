// Clients must not send descriptors to connections that Bun reads: Bun would not receive them. So
// the kernel is told to refuse them, on the listener already: a connection inherits that from its
// listener when it is made (facts: #a-listeners-refusal-is-inherited).

import { option } from "../../native/socket.ts";
import { holdsMore } from "../fd/unread.ts";
import type { Listener } from "../listener/listener.ts";
import { getOption, setOption } from "../syscalls/socket.ts";

export class FdRefusal {
  readonly #listener: Listener;
  /** This object has made the listener refuse. */
  #set = false;

  constructor(listener: Listener) {
    this.#listener = listener;
    this.#begin();
  }

  #begin(): void {
    const { SO_PASSRIGHTS } = option;
    const { fd } = this.#listener;
    if (SO_PASSRIGHTS === null || getOption(fd, SO_PASSRIGHTS) !== 1) return;
    this.#set = setOption(fd, SO_PASSRIGHTS, 0) === 0 || this.#set;
  }

  /** Whether a socket refuses descriptors: a connection does, as the listener did. */
  static of(fd: number): boolean {
    return option.SO_PASSRIGHTS !== null && getOption(fd, option.SO_PASSRIGHTS) === 0;
  }

  /**
   * Whether an accepted connection has no queued descriptors, and gets none from now on. Before
   * Linux 6.16 it may get some, which are closed on arrival.
   */
  appliesTo(fd: number): boolean {
    const { SO_PASSRIGHTS } = option;
    if (FdRefusal.of(fd)) return true; // inherited when it was made
    if (SO_PASSRIGHTS !== null) {
      this.#begin(); // another process that shares the listener may have changed it
      setOption(fd, SO_PASSRIGHTS, 0);
    }
    return !holdsMore(fd, true);
  }

  /** The listener closes, or is transferred: undo it. */
  end(): void {
    if (!this.#set || option.SO_PASSRIGHTS === null) return;
    setOption(this.#listener.fd, option.SO_PASSRIGHTS, 1);
  }
}

// Clients must not send descriptors to connections that Bun reads: it would not look at them. So
// the kernel refuses them, on the listener's behalf, too: a connection has from its listener how it
// stands to that when it is made (facts: #a-listeners-refusal-is-inherited).

import { option } from "../../native/socket.ts";
import { holdsMore } from "../fd/unread.ts";
import type { Listener } from "../listener/listener.ts";
import { getOption, setOption } from "../syscalls/socket.ts";

export class Refusal {
  readonly #listener: Listener;
  /** The listener refuses because of this. */
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

  /**
   * Whether an accepted connection has no descriptors, and gets none from now on. Before Linux 6.16
   * it may get some, which are closed on arrival.
   */
  holdsFor(fd: number): boolean {
    const { SO_PASSRIGHTS } = option;
    if (SO_PASSRIGHTS !== null) {
      if (getOption(fd, SO_PASSRIGHTS) === 0) return true; // since it was made
      this.#begin(); // another process may have turned it on: a listener can be shared
      setOption(fd, SO_PASSRIGHTS, 0);
    }
    return !holdsMore(fd, true);
  }

  /** The listener is going, maybe to another process. */
  end(): void {
    if (!this.#set || option.SO_PASSRIGHTS === null) return;
    setOption(this.#listener.fd, option.SO_PASSRIGHTS, 1);
  }
}

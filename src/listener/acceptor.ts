// Accepting by rules, the same for all takers of a connection.

import { errno } from "../../native/errno.ts";
import { poll as events } from "../../native/poll.ts";
import { Backoff } from "../base/backoff.ts";
import { closedError, isShortage, UnixError } from "../base/errors.ts";
import { setImmediate, setTimeout } from "../base/timers.ts";
import { closeOne } from "../fd/closing.ts";
import type { Fd } from "../fd/fd.ts";
import type { LazyWatch } from "../loop/lazy-watch.ts";
import { admits, type Rules } from "../peer/admission.ts";
import { peerCredentials } from "../peer/credentials.ts";
import { pollNow } from "../syscalls/fd.ts";
import { accept } from "../syscalls/socket.ts";

const SHORTAGE = { first: 5, max: 1000 } as const;
/** If at most this many connections come at a time, poll is asked first: see `#isEmpty`. */
const MAX_POLLED = 4;
/** Refused connections closed in one try, before the rest of Bun's loop gets its turn. */
const REFUSALS = 64;

interface Source<T> {
  readonly handle: Fd;
  readonly watch: LazyWatch;
  readonly rules: Rules;
  /** The address it listens on, for messages. */
  readonly where: () => string;
  /** Called before each accept; what it throws is thrown, and nothing has been accepted. */
  readonly before?: () => void;
  /** Take over an admitted connection's descriptor; on failure it is closed. */
  readonly take: (fd: number) => T;
}

/** Admitted connections, one by one. */
export class Acceptor<T> {
  readonly #source: Source<T>;
  #warned = false;
  readonly #pauses = new Backoff(SHORTAGE);
  #pausing = false;
  /** Accepted since none waited. */
  #taken = 0;
  /** They come few at a time. */
  #sparse = true;

  constructor(source: Source<T>) {
    this.#source = source;
  }

  #open(): number {
    const { handle } = this.#source;
    if (handle.closed) throw closedError("accept");
    return handle.fd;
  }

  /**
   * A connection, if there is one and this process has a descriptor for it; else it waits, and
   * warns.
   */
  tryOnce(): T | undefined {
    try {
      const accepted = this.now() ?? undefined;
      this.#pauses.reset();
      return accepted;
    } catch (error) {
      if (!cannotAccept(error)) throw error;
      this.#warn(error);
      this.#pause();
      return undefined;
    }
  }

  /** A connection that waits, or null. @throws UnixError EMFILE: it goes on waiting */
  now(): T | null {
    const { rules, watch, take, before } = this.#source;
    for (let refused = 0; refused < REFUSALS; refused++) {
      if (rules.full) return null;
      const listening = this.#open(); // `allow` may have closed it
      if (this.#isEmpty(listening)) return this.#none();
      before?.();
      const fd = accept(listening);
      if (fd === -errno.EAGAIN) return this.#none();
      if (fd >= 0) this.#taken++;
      if (fd < 0 && fd !== -errno.ECONNABORTED) throw new UnixError("accept", fd);
      if (fd >= 0 && this.#allowed(fd)) return this.#counted(take(fd));
      if (fd >= 0) closeOne(fd, "socket");
    }
    setImmediate(() => watch.current?.retry("read"));
    return null;
  }

  /**
   * A fruitless accept costs the kernel a socket, which is as much as half a connection, and after
   * each event there are two. poll costs an eighth of that, which is too much if many come.
   */
  #isEmpty(listening: number): boolean {
    return this.#sparse && pollNow(listening, events.POLLIN) === 0;
  }

  #none(): null {
    if (this.#taken > 0) this.#sparse = this.#taken < MAX_POLLED;
    this.#taken = 0;
    return null;
  }

  #allowed(fd: number): boolean {
    const { allow } = this.#source.rules;
    if (allow === null) return true;
    try {
      return admits(allow, peerCredentials(fd));
    } catch (error) {
      closeOne(fd, "socket");
      throw error;
    }
  }

  #counted(accepted: T): T {
    this.#source.rules.open += 1;
    return accepted;
  }

  /** A connection that was accepted here is closed. */
  readonly ended = (): void => {
    const { rules, watch } = this.#source;
    rules.open -= 1;
    if (rules.open === rules.maxConnections - 1) watch.current?.retry("read");
  };

  /**
   * Try again later: the kernel reports nothing when a descriptor is free again (facts:
   * #accept-at-emfile-stays-readable).
   */
  #pause(): void {
    if (this.#pausing) return;
    this.#pausing = true;
    const again = (): void => {
      this.#pausing = false;
      this.#source.watch.current?.retry("read");
    };
    setTimeout(again, this.#pauses.next()).unref();
  }

  #warn(error: UnixError): void {
    if (this.#warned) return;
    this.#warned = true;
    process.emitWarning(`connections to ${this.#source.where()} have to wait: ${error.message}`, {
      type: "AcceptWarning",
      code: error.code,
    });
  }
}

/** A shortage may pass (facts: #accept-at-emfile-stays-readable). */
function cannotAccept(error: unknown): error is UnixError {
  return isShortage(error) && error.syscall === "accept";
}

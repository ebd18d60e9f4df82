// A send that has to wait: what it holds meanwhile, and how it lets go.

import type { UnixError } from "./errors.ts";
import { fdNumber } from "./fd.ts";
import type { Operation } from "./loop/attempt.ts";
import { closeTransferred, duplicateAll, type Outgoing, wouldBlock } from "./outgoing.ts";
import { close } from "./syscalls/fd.ts";

/** One try on some socket: bytes taken, or a negative errno. */
export type SendOnce = (
  message: Pick<Outgoing, "parts" | "credentials">,
  rest: { skip: number; fds: readonly number[] },
) => number;

interface Start {
  readonly sendOnce: SendOnce;
  /** Bytes that an earlier try has sent; descriptors are then gone too. */
  readonly skip?: number;
  /** What a try that failed is thrown as. */
  readonly failed: (result: number) => UnixError;
  /** Told how many bytes wait in this operation: positive when it begins, negative at its end. */
  readonly account: (bytes: number) => void;
  /** Called when it has ended, in whatever way. */
  readonly ended?: () => void;
}

/**
 * Holds duplicates of the descriptors (with `transfer` the caller's own) until the kernel has
 * taken the first byte, with which they all go. Ends with no duplicate left, however it ends.
 */
export class SendOperation implements Operation<true> {
  #parts: readonly Uint8Array[];
  readonly #message: Outgoing;
  readonly #start: Start;
  readonly #bytes: number;
  #copies: number[] | null = null;
  #skip: number;

  /** @throws UnixError EMFILE where the duplicates cannot be made; then nothing is held */
  constructor(message: Outgoing, start: Start) {
    this.#message = message;
    this.#parts = message.parts;
    this.#start = start;
    this.#skip = start.skip ?? 0;
    this.#bytes = message.total - this.#skip;
    if (message.fds.length > 0 && !message.transfer && this.#skip === 0) {
      this.#copies = duplicateAll(message.fds);
    }
    start.account(this.#bytes);
  }

  once(): true | undefined {
    const { total, credentials } = this.#message;
    const parts = this.#parts;
    let bytes = 0;
    for (const part of parts) bytes += part.byteLength;
    if (bytes !== total) throw new TypeError("the data was detached or resized while it waited");
    const sent = this.#start.sendOnce(
      { parts, credentials },
      { skip: this.#skip, fds: this.#fds() },
    );
    if (sent < 0) {
      if (wouldBlock(sent)) return undefined;
      throw this.#start.failed(sent);
    }
    if (this.#skip === 0) this.#taken();
    this.#skip += sent;
    return this.#skip >= total ? true : undefined;
  }

  #fds(): readonly number[] {
    if (this.#skip > 0) return [];
    return this.#copies ?? this.#message.fds.map(fdNumber);
  }

  /** The kernel has the descriptors. */
  #taken(): void {
    this.#closeCopies();
    closeTransferred(this.#message);
  }

  #closeCopies(): void {
    for (const copy of this.#copies ?? []) close(copy);
    this.#copies = null;
  }

  done(): void {
    this.#closeCopies();
    this.#start.account(-this.#bytes);
    this.#start.ended?.();
  }

  /** Half a message is out: the rest follows, from a copy, for the caller's buffer is free now. */
  committed(): boolean {
    if (this.#skip === 0) return false;
    this.#parts = this.#parts.map((part) => new Uint8Array(part)); // slice of a Buffer shares
    return true;
  }
}

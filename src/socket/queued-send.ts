// A send that has to wait: what it holds meanwhile, and how it releases that.

import type { UnixError } from "../base/errors.ts";
import { Fd } from "../fd/fd.ts";
import type { Operation } from "../loop/attempt.ts";
import type { Piece } from "../syscalls/piece.ts";
import { ReceivedFds } from "./message.ts";
import { closeTransferred, duplicateAll, type Outgoing, wouldBlock } from "./send.ts";

/** One try on some socket: bytes taken, or a negative errno. */
export type SendOnce = (
  message: Pick<Outgoing, "parts" | "credentials">,
  rest: { skip: number; fds: readonly number[] },
) => number;

interface QueuedSend {
  readonly sendOnce: SendOnce;
  /** Bytes that an earlier try has sent; descriptors are then gone too. */
  readonly skip?: number;
  /** What a try that failed is thrown as. */
  readonly failed: (result: number) => UnixError;
  /** Told how many bytes wait in this operation: positive when it begins, negative at its end. */
  readonly account: (bytes: number) => void;
  /** Called when it has ended, in whatever way. */
  readonly ended?: () => void;
  readonly onRest?: ((rest: Promise<void>) => void) | undefined;
}

/**
 * Holds duplicates of the descriptors (with `transfer` the caller's own) until the kernel has
 * taken the first byte, with which they all go. Ends with no duplicate left, however it ends.
 */
export class SendOperation implements Operation<true> {
  #parts: readonly Piece[];
  readonly #message: Outgoing;
  readonly #start: QueuedSend;
  readonly #bytes: number;
  #copies: ReceivedFds | null = null;
  #skip: number;

  /** @throws UnixError EMFILE if the duplicates cannot be made; then nothing is held */
  constructor(message: Outgoing, start: QueuedSend) {
    this.#message = message;
    this.#parts = message.parts;
    this.#start = start;
    this.#skip = start.skip ?? 0;
    this.#bytes = message.total - this.#skip;
    if (message.fds.length > 0 && !message.transfer && this.#skip === 0) {
      this.#copies = new ReceivedFds(duplicateAll(message.numbers), "send");
    }
    start.account(this.#bytes);
  }

  get onRest(): ((rest: Promise<void>) => void) | undefined {
    return this.#start.onRest;
  }

  tryOnce(): true | undefined {
    const { total, credentials } = this.#message;
    const sent = this.#start.sendOnce(
      { parts: this.#parts, credentials },
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
    const { fds, numbers } = this.#message;
    // transferred: an Fd that was closed meanwhile has no number any more
    return this.#copies?.numbers ?? fds.map((fd, i) => (fd instanceof Fd ? fd.fd : numbers[i]!));
  }

  /** The kernel has the descriptors. */
  #taken(): void {
    this.#closeCopies();
    closeTransferred(this.#message);
  }

  #closeCopies(): void {
    this.#copies?.close();
    this.#copies = null;
  }

  cleanup(): void {
    this.#closeCopies();
    this.#start.account(-this.#bytes);
    this.#start.ended?.();
  }

  /** A part was sent: the rest goes from a copy, so that the caller may use its buffer again. */
  partlyDone(): boolean {
    if (this.#skip === 0) return false;
    this.#parts = this.#parts.map((part) => part.kept());
    return true;
  }
}

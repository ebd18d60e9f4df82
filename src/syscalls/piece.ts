// One piece of what is sent: a caller's bytes, which may have moved or be gone at the next look.

import {
  addressOf,
  bytesIn,
  goneBytes,
  hasByteElements,
  isView,
  viewOf,
  wholeOf,
} from "./memory.ts";

const encoder = new TextEncoder();

/**
 * A caller's bytes to be sent, as many as there were when they were given. Each use of them looks
 * whether they are still there, and throws a TypeError if they are not, before anything is sent.
 */
export class Piece {
  /** Its elements are bytes. It is the caller's: only memory.ts asks it anything. */
  readonly #view: Uint8Array;
  /** How many. */
  readonly bytes: number;

  private constructor(view: Uint8Array, bytes: number) {
    this.#view = view;
    this.bytes = bytes;
  }

  /** @throws TypeError for what is no data, and for bytes that are gone */
  static of(data: unknown): Piece {
    if (isView(data)) {
      const bytes = bytesIn(data);
      const plain = hasByteElements(data, bytes);
      return new Piece(plain ? (data as Uint8Array) : viewOf(data, 0, bytes), bytes);
    }
    const whole = typeof data === "string" ? encoder.encode(data) : wholeOf(data);
    if (whole !== null) return new Piece(whole, bytesIn(whole));
    throw new TypeError(`data is a string, an ArrayBuffer or a view of one, not ${typeof data}`);
  }

  /** Several as one, copied together. */
  static join(pieces: readonly Piece[]): Piece {
    if (pieces.length === 1) return pieces[0]!;
    let bytes = 0;
    for (const piece of pieces) bytes += piece.bytes;
    const whole = new Uint8Array(bytes);
    let at = 0;
    for (const piece of pieces) {
      piece.copyTo(whole, at);
      at += piece.bytes;
    }
    return new Piece(whole, bytes);
  }

  /** Where byte `skip` of it is, good until the caller's next chance to run. */
  address(skip = 0): number {
    return addressOf(this.#view, this.bytes) + skip;
  }

  /** Copy bytes `from` to `to` to index `at` of memory of ours. */
  copyTo(target: Uint8Array, at: number, from = 0, to: number = this.bytes): void {
    const there = bytesIn(this.#view);
    if (there < this.bytes) throw goneBytes();
    const whole = from === 0 && to === there;
    target.set(whole ? this.#view : viewOf(this.#view, from, to), at);
  }

  /** In memory of our own; if the bytes are gone as it is, which the next use finds out. */
  kept(): Piece {
    try {
      const copy = new Uint8Array(this.bytes);
      this.copyTo(copy, 0);
      return new Piece(copy, this.bytes);
    } catch {
      return this;
    }
  }
}

// Bytes cut into lines.

import { errno } from "../../native/errno.ts";
import { UnixError } from "../base/errors.ts";

const NEWLINE = 10;
const NONE = new Uint8Array(0);
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Room for the beginning of a line: at first, and what is kept at most when the line is out. */
const MIN_BUFFER_BYTES = 256;
const MAX_KEPT_BYTES = 64 * 1024;

/** Bytes that were read and not yet taken. */
export class LineBuffer {
  /** The beginning of a line whose end has not come yet, in room that is doubled where it ends. */
  #begun: Uint8Array = NONE;
  #begunBytes = 0;
  #chunk: Uint8Array = NONE;
  #at = 0;

  get bytes(): number {
    return this.#begunBytes + this.#chunk.length - this.#at;
  }

  /** Add what was read; only after `line` has said that there is no whole one. */
  push(chunk: Uint8Array): void {
    this.#chunk = chunk;
    this.#at = 0;
  }

  /** The next whole line, without its newline. @throws UnixError EMSGSIZE, and keeps it all */
  line(maxBytes: number): string | undefined {
    const end = this.#chunk.indexOf(NEWLINE, this.#at);
    const stop = end < 0 ? this.#chunk.length : end;
    if (this.#begunBytes + stop - this.#at > maxBytes) throw tooLong(maxBytes);
    const piece = this.#chunk.subarray(this.#at, stop);
    this.#at = end < 0 ? stop : end + 1;
    if (end >= 0 && this.#begunBytes === 0) return decoder.decode(piece);
    this.#begin(piece);
    if (end < 0) return undefined;
    const line = decoder.decode(this.#begun.subarray(0, this.#begunBytes));
    this.#forget();
    return line;
  }

  #begin(piece: Uint8Array): void {
    const bytes = this.#begunBytes + piece.length;
    if (bytes > this.#begun.length) {
      const larger = new Uint8Array(Math.max(MIN_BUFFER_BYTES, bytes, 2 * this.#begun.length));
      larger.set(this.#begun.subarray(0, this.#begunBytes));
      this.#begun = larger;
    }
    this.#begun.set(piece, this.#begunBytes);
    this.#begunBytes = bytes;
  }

  #forget(): void {
    this.#begunBytes = 0;
    if (this.#begun.length > MAX_KEPT_BYTES) this.#begun = NONE;
  }

  /** The first of what is left, at most `most` bytes, as it came. */
  take(max: number): Uint8Array {
    const bytes = new Uint8Array(Math.min(max, this.bytes));
    const begun = Math.min(bytes.length, this.#begunBytes);
    bytes.set(this.#begun.subarray(0, begun));
    if (begun < this.#begunBytes) {
      this.#begun = this.#begun.subarray(begun, this.#begunBytes);
      this.#begunBytes -= begun;
      return bytes;
    }
    this.#forget();
    const rest = bytes.length - begun;
    bytes.set(this.#chunk.subarray(this.#at, this.#at + rest), begun);
    this.#at += rest;
    return bytes;
  }

  /** All that is left, as it came. */
  rest(): Uint8Array {
    return this.take(this.bytes);
  }

  /** The same as text: a last line that has no newline. */
  lastLine(): string {
    return decoder.decode(this.rest());
  }
}

function tooLong(maxBytes: number): UnixError {
  const hint = `a line is longer than maxLineBytes, ${maxBytes}; read() gives its bytes`;
  return new UnixError("read", -errno.EMSGSIZE, { hint });
}

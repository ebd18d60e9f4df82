// Bytes cut into lines.

import { errno } from "../native/errno.ts";
import { UnixError } from "./errors.ts";

const NEWLINE = 10;
const NONE = new Uint8Array(0);
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** What has been read and not yet been asked for. */
export class LineBuffer {
  /** The beginning of a line whose end has not come yet. */
  #parts: Uint8Array[] = [];
  #partBytes = 0;
  #chunk: Uint8Array = NONE;
  #at = 0;

  get bytes(): number {
    return this.#partBytes + this.#chunk.length - this.#at;
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
    if (this.#partBytes + stop - this.#at > maxBytes) throw tooLong(maxBytes);
    if (stop > this.#at) this.#parts.push(this.#chunk.subarray(this.#at, stop));
    this.#partBytes += stop - this.#at;
    this.#at = end < 0 ? stop : end + 1;
    return end < 0 ? undefined : this.#take();
  }

  #take(): string {
    const parts = this.#parts;
    const text = decoder.decode(parts.length === 1 ? parts[0] : Buffer.concat(parts));
    this.#parts = [];
    this.#partBytes = 0;
    return text;
  }

  /** All that is left, as it came. */
  rest(): Uint8Array {
    const all = [...this.#parts, this.#chunk.subarray(this.#at)];
    const bytes = new Uint8Array(this.bytes);
    let at = 0;
    for (const part of all) {
      bytes.set(part, at);
      at += part.length;
    }
    this.#parts = [];
    this.#partBytes = 0;
    this.push(NONE);
    return bytes;
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

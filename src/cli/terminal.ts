// Signals, standard output and standard input of a command that runs for a while. The reader of its
// output may be slow, or close the pipe.

import { fstatSync, read, readSync, type Stats, writeSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { poll as events } from "../../native/poll.ts";
import { UnixError } from "../base/errors.ts";
import { poll, write } from "../syscalls/fd.ts";
import { libcName } from "../syscalls/libc.ts";
import { bytesToC } from "../syscalls/memory.ts";
import { AGAIN } from "../syscalls/result.ts";

const STDIN = 0;
const STDOUT = 1;

/** An error of reading or writing, as a UnixError. */
function failed(syscall: "read" | "write", cause: unknown): UnixError {
  const { errno: number } = cause as { errno?: number };
  const hint = syscall === "read" ? "standard input" : "standard output";
  return new UnixError(syscall, -Math.abs(number ?? errno.EIO), { hint, cause });
}

const isCode = (error: unknown, ...codes: string[]): boolean =>
  codes.includes(String((error as { code?: unknown }).code));

/** Lines to standard output, all of them before this returns. @throws UnixError, but for EPIPE */
export function print(text: string): void {
  const bytes = new TextEncoder().encode(`${text}\n`);
  if (libcName === "") {
    printWithoutCalls(bytes);
    return;
  }
  const copy = bytesToC(bytes);
  for (let from = 0; from < bytes.length; ) {
    const written = write(STDOUT, copy.address + from, bytes.length - from);
    if (written >= 0) from += written;
    else if (written === -errno.EPIPE)
      return; // the reader has closed the pipe
    else if (written === AGAIN) poll(STDOUT, events.POLLOUT, -1);
    else throw failed("write", { errno: written });
  }
}

const NEXT_TRY_MS = 5;

/** As Node writes, if no C function can be called: `bunix doctor` has to say so. */
function printWithoutCalls(bytes: Uint8Array): void {
  for (let rest = bytes; rest.length > 0; ) {
    try {
      rest = rest.subarray(writeSync(STDOUT, rest));
    } catch (error) {
      if (isCode(error, "EPIPE")) return;
      if (!isCode(error, "EAGAIN", "EINTR")) throw failed("write", error);
      Bun.sleepSync(NEXT_TRY_MS);
    }
  }
}

const stops = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** A signal asks this command to end. */
export class Stop implements Disposable {
  #told = Promise.withResolvers<void>();
  readonly #listener = (): void => this.#told.resolve();

  constructor() {
    for (const signal of stops) process.on(signal, this.#listener);
  }

  /** The next signal: after a first one a second can end the clean-up as well. */
  next(): Promise<void> {
    const { promise } = this.#told;
    promise.then(() => {
      this.#told = Promise.withResolvers();
    });
    return promise;
  }

  [Symbol.dispose](): void {
    for (const signal of stops) process.off(signal, this.#listener);
  }
}

/** Standard output, whose reader may be slow, or close the pipe. */
export class Output implements Disposable {
  #room: Promise<void> | null = null;
  readonly #gone = Promise.withResolvers<void>();
  readonly #failed = (error: unknown): void => {
    if (isCode(error, "EPIPE")) this.#gone.resolve();
    else this.#gone.reject(failed("write", error));
  };

  constructor() {
    this.#gone.promise.catch(() => {}); // callers that await it get the error
    process.stdout.on("error", this.#failed);
  }

  /** Resolved when its reader has closed the pipe; rejected with the UnixError of other errors. */
  get gone(): Promise<void> {
    return this.#gone.promise;
  }

  /** Print a line. A promise if the reader has to catch up first. */
  line(text: string): Promise<void> | undefined {
    return this.bytes(`${text}\n`);
  }

  /** Write bytes, unmodified. */
  bytes(data: string | Uint8Array): Promise<void> | undefined {
    if (process.stdout.write(data)) return undefined;
    this.#room ??= new Promise((resolve) => {
      process.stdout.once("drain", () => {
        this.#room = null;
        resolve();
      });
    });
    return this.#room;
  }

  [Symbol.dispose](): void {
    process.stdout.off("error", this.#failed);
  }
}

/** The file status of standard input; null if it is closed: reading then fails. */
function input(): Stats | null {
  try {
    return fstatSync(STDIN);
  } catch {
    return null;
  }
}

const PIECE = 64 * 1024;

/** The next piece of a file; null at its end. Bun 1.3's stream does not report errors of a file. */
function readFile(): Promise<Uint8Array | null> {
  const room = new Uint8Array(PIECE);
  return new Promise((resolve, reject) => {
    read(STDIN, room, 0, PIECE, null, (error, bytes) => {
      if (error) reject(failed("read", error));
      else resolve(bytes === 0 ? null : room.subarray(0, bytes));
    });
  });
}

/** Bun reports some errors (EIO) as the end; a second read tells the two apart. */
function lastError(): UnixError | null {
  try {
    readSync(STDIN, new Uint8Array(1));
    return null;
  } catch (error) {
    return isCode(error, "EAGAIN", "EINTR") ? null : failed("read", error);
  }
}

const NEWLINE = 10;

/** Standard input, in pieces as they come. Nothing is read before the first `next`. */
export class Input implements Disposable {
  #wanted: PromiseWithResolvers<Uint8Array | null> | null = null;
  #error: UnixError | null = null;
  readonly #chunks: Uint8Array[] = [];
  #begun = false;
  #isFile = false;
  #ended = false;
  readonly #data = (chunk: Uint8Array): void => {
    process.stdin.pause();
    this.#chunks.push(new Uint8Array(chunk));
    this.#answer();
  };
  readonly #end = (): void => {
    this.#error ??= lastError();
    this.#ended = true;
    this.#answer();
  };

  readonly #failed = (error: unknown): void => {
    this.#error ??= failed("read", error);
    this.#end();
  };

  #begin(): void {
    const what = input();
    // Bun would report it as an error that cannot be caught
    if (what?.isDirectory() === true) throw failed("read", { errno: errno.EISDIR });
    this.#isFile = what?.isFile() === true;
    if (this.#isFile) return;
    this.#begun = true;
    process.stdin.on("data", this.#data).on("end", this.#end).on("error", this.#failed).pause();
  }

  /** The next piece; null at the end. @throws UnixError if it cannot be read */
  async next(): Promise<Uint8Array | null> {
    if (!this.#begun && !this.#isFile) this.#begin();
    if (this.#isFile) return await readFile();
    const wanted = Promise.withResolvers<Uint8Array | null>();
    this.#wanted = wanted;
    if (!this.#answer()) process.stdin.resume();
    return await wanted.promise;
  }

  #answer(): boolean {
    const wanted = this.#wanted;
    if (wanted === null || (this.#chunks.length === 0 && !this.#ended)) return false;
    this.#wanted = null;
    const chunk = this.#chunks.shift() ?? null;
    if (chunk === null && this.#error !== null) wanted.reject(this.#error);
    else wanted.resolve(chunk);
    return true;
  }

  /** Lines without their ends; the last one may have none. */
  async *lines(): AsyncGenerator<Uint8Array> {
    let rest: Uint8Array[] = [];
    for (let chunk = await this.next(); chunk !== null; chunk = await this.next()) {
      let from = 0;
      for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
        yield Buffer.concat([...rest, chunk.subarray(from, end)]);
        rest = [];
        from = end + 1;
      }
      if (from < chunk.length) rest.push(chunk.subarray(from));
    }
    if (rest.length > 0) yield Buffer.concat(rest);
  }

  /** All of it. */
  async all(): Promise<Uint8Array> {
    const chunks: Uint8Array[] = [];
    for (let chunk = await this.next(); chunk !== null; chunk = await this.next()) {
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  }

  /** Stop reading; input then keeps the program alive no longer. */
  [Symbol.dispose](): void {
    if (!this.#begun) return;
    process.stdin.off("data", this.#data).off("end", this.#end).off("error", this.#failed);
    process.stdin.pause();
    (process.stdin as { unref?: () => void }).unref?.(); // a file or /dev/null has none
  }
}

// The errors of this library, beside those of one feature. Every floor may import this file: it
// imports only numbers, and what makes foreign text safe to print.

import { type ErrnoName, errno, meanings } from "../../native/errno.ts";
import { printable } from "../base/printable.ts";
import { filterHint } from "./filter.ts";

const names = new Map<number, ErrnoName>();
for (const [name, number] of Object.entries(errno)) names.set(number, name as ErrnoName);

/** @internal The name of a positive errno: "EADDRINUSE"; "E999" if the table has none. */
export function errnoName(number: number): string {
  return names.get(number) ?? `E${number}`;
}

/** Where a failed call was aimed, and what the user may do about it. */
export interface ErrorDetail {
  /** The address in its text form, as `formatAddress` writes it. */
  readonly address?: string | undefined;
  /** A sentence that says what to do. */
  readonly hint?: string | undefined;
  readonly cause?: unknown;
}

/**
 * A call to the system failed, or an object was used after it was closed.
 *
 * The fields are Node's: `code` ("EADDRINUSE", or "ERR_CLOSED" after close), `errno` (negative),
 * `syscall` ("bind"), and `address`/`path` if there is one. The message has all of them in words,
 * and for the common mistakes what to do. What others chose (a process's name, a path) has no
 * control characters there: they are written `\xHH`.
 *
 * @see errno(3)
 */
export class UnixError extends Error {
  /** Always the class's name. */
  override readonly name: string = "UnixError";
  /** The errno's name, "ECONNREFUSED"; or one of this library's: "ERR_CLOSED" and other "ERR_…". */
  readonly code: string;
  /** The errno, negative as in Node's errors: −111. */
  readonly errno: number;
  /** The call that failed, "connect". */
  readonly syscall: string;
  /** The address in words, as `formatAddress` has it; absent if the call had none. */
  declare readonly address?: string;
  /** The same, if it is a path. */
  declare readonly path?: string;

  /** @param result a negative errno, as every function in src/syscalls returns it */
  constructor(syscall: string, result: number, detail: ErrorDetail & { code?: string } = {}) {
    const code = detail.code ?? errnoName(-result);
    super(
      printable(sentence(syscall, code, detail)),
      detail.cause === undefined ? undefined : { cause: detail.cause },
    );
    this.code = code;
    this.errno = result;
    this.syscall = syscall;
    if (detail.address !== undefined) {
      this.address = printable(detail.address);
      if (!this.address.startsWith("@")) this.path = this.address;
    }
  }
}

function sentence(syscall: string, code: string, { address, hint }: ErrorDetail): string {
  const meaning = code === "ERR_CLOSED" ? "already closed" : meanings[code as ErrnoName];
  let text = `${syscall} ${code}`;
  if (meaning !== undefined) text += `: ${meaning}`;
  if (address !== undefined) text += ` ${address}`;
  const say = hint ?? filterHint(code);
  return say === undefined ? text : `${text} (${say})`;
}

/**
 * Something that this system, kernel, libc or Bun does not have.
 * `capability` is its key in `capabilities()`, where the reason stands too.
 */
export class UnsupportedError extends Error {
  /** Always the class's name. */
  override readonly name: string = "UnsupportedError";
  /** Always this one. */
  readonly code = "ERR_UNSUPPORTED";
  /** Its key in `capabilities()`, if it has one there. */
  readonly capability: string;

  constructor(capability: string, reason: string) {
    super(printable(`${capability} is not available here: ${reason}`));
    this.capability = capability;
  }
}

/** @internal Used after close, or closed while waiting. */
export function closedError(syscall: string): UnixError {
  return new UnixError(syscall, -errno.EBADF, { code: "ERR_CLOSED" });
}

/** @internal The result of a call, or its error thrown. */
export function check(result: number, syscall: string, detail?: ErrorDetail): number {
  if (result < 0) throw new UnixError(syscall, result, detail);
  return result;
}

/**
 * A bind mount, as `-v /run/x.sock:/run/x.sock` makes in a container: no other file can take its
 * place.
 */
const MOUNTED =
  "the file is a mount of its own: mount its directory instead, in which files can come and go";
const moves: ReadonlySet<string> = new Set(["unlink", "rename"]);

/** @internal The errno of what node:fs threw, by its name: as this library has it. */
export function fileErrno(error: unknown): number | undefined {
  const { code, errno: number } = error as { code?: string; errno?: number };
  const known = errno[code as keyof typeof errno];
  return number === undefined || typeof known !== "number" ? number : -known;
}

/**
 * @internal A call of node:fs, made again for as long as signals interrupt it. What it throws
 *   becomes a UnixError.
 */
export function fileCall<T>(call: () => T, detail?: ErrorDetail): T {
  for (;;) {
    try {
      return call();
    } catch (cause) {
      const number = fileErrno(cause);
      const { syscall } = cause as { syscall?: string };
      const own = cause instanceof UnixError || number === undefined || syscall === undefined;
      if (own) throw cause;
      const hint = moves.has(syscall) && number === -errno.EBUSY ? MOUNTED : detail?.hint;
      if (number !== -errno.EINTR) throw new UnixError(syscall, number, { ...detail, hint, cause });
    }
  }
}

const shortages = new Set([errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM]);

/**
 * @internal Out of resources (descriptors or memory): a later try may succeed. Takes an error, or a
 *   call's result.
 */
export function isShortage(found: unknown): found is UnixError {
  const number = found instanceof UnixError ? found.errno : found;
  return typeof number === "number" && shortages.has(-number);
}

/** @internal What to do if an address cannot be reached, by errno. */
export const unreachable: ReadonlyMap<number, string> = new Map([
  [errno.ECONNREFUSED, "no process listens there; a socket's file outlives its server"],
  [errno.ENOENT, "there is no such socket; is the server running?"],
  [errno.EACCES, "write permission on the socket and search permission on its directories"],
  [errno.EPROTOTYPE, "the socket there is of another type"],
]);
/** @internal Sends are queued, and this call would overtake them. */
export function busy(): UnixError {
  const hint = "sends are queued: await them first";
  return new UnixError("sendmsg", -errno.EBUSY, { hint });
}

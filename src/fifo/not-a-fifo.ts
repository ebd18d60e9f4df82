// What is thrown when a FIFO was expected and something else has the name.

import { errno } from "../../native/errno.ts";
import { UnixError } from "../base/errors.ts";

/** What a path leads to that should be a FIFO. */
export type NotAFifo =
  | "file"
  | "directory"
  | "socket"
  | "character-device"
  | "block-device"
  | "symlink"
  | "other";

/**
 * Something else than a FIFO has the name: `code` is "ERR_NOT_A_FIFO", and `found` says what it is.
 * It was neither opened nor read.
 */
export class NotAFifoError extends UnixError {
  /** Always the class's name. */
  override readonly name: string = "NotAFifoError";
  /** What has the name. */
  readonly found: NotAFifo;

  /** @internal */
  constructor(syscall: string, address: string, found: NotAFifo) {
    const hint = `not a FIFO but a ${found.replace("-", " ")}`;
    super(syscall, -errno.EINVAL, { code: "ERR_NOT_A_FIFO", address, hint });
    this.found = found;
  }
}

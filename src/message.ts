// What is sent, and what comes.

import type { Fd } from "./fd.ts";
import type { Credentials } from "./structs/credentials.ts";
import type { Address } from "./structs/sockaddr-un.ts";

/** One piece of data. A string is sent as UTF-8. */
export type Data = string | ArrayBuffer | ArrayBufferView;

/** What is sent. An array is gathered into one message without being copied together (iovec). */
export type Payload = Data | readonly Data[];

const decoder = new TextDecoder();
const NONE: readonly Fd[] = Object.freeze([]);

/** What came beside the data of a message. */
export interface Ancillary {
  readonly fds: readonly Fd[] | null;
  readonly credentials: Credentials | undefined;
  readonly pidfd: Fd | undefined;
  readonly security: string | undefined;
}

const NOTHING: Ancillary = {
  fds: null,
  credentials: undefined,
  pidfd: undefined,
  security: undefined,
};

/**
 * What one receive call took in, beside the data: descriptors, credentials, the sender's address.
 *
 * Descriptors are owned from birth: take them with `takeFds()`, or let `using` or `close()` close
 * those that were not taken.
 *
 * @see recvmsg(2), unix(7)
 */
export class Envelope implements Disposable {
  #fds: readonly Fd[];
  /** Who sent it: the sender's claim, which the kernel checks unless the sender is root. */
  readonly credentials: Credentials | undefined;
  /** The sender's process, with `passPidfd`. Closed with the message. @see pidfd_open(2) */
  readonly pidfd: Fd | undefined;
  /** The sender's security label (SCM_SECURITY), where a security module is active. */
  readonly security: string | undefined;
  /** The address the sender is bound to; undefined where it is bound to none. */
  readonly from: Address | undefined;
  /** The message had more data than there was room for: the rest is gone. */
  readonly truncated: boolean;
  /**
   * Fewer descriptors are here than were sent: more than `acceptFds`, or this process is at its
   * limit of open files (MSG_CTRUNC). Those that are here are all right, and nothing leaked.
   */
  readonly fdsTruncated: boolean;

  /** @internal */
  constructor(
    ancillary: Ancillary | null,
    from: Address | undefined,
    { truncated, fdsTruncated }: { truncated: boolean; fdsTruncated: boolean },
  ) {
    const { fds, credentials, pidfd, security } = ancillary ?? NOTHING;
    this.#fds = fds ?? NONE;
    this.credentials = credentials;
    this.pidfd = pidfd;
    this.security = security;
    this.from = from;
    this.truncated = truncated;
    this.fdsTruncated = fdsTruncated;
  }

  /** The descriptors that came and were not taken, in the order they were sent. */
  get fds(): readonly Fd[] {
    return this.#fds;
  }

  /** The descriptors; from now on they are the caller's to close. */
  takeFds(): Fd[] {
    const taken = this.#fds;
    this.#fds = NONE;
    return [...taken];
  }

  /** Close the descriptors that were not taken, and the pidfd. */
  close(): void {
    for (const fd of this.#fds) fd.close();
    this.#fds = NONE;
    this.pidfd?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** A received message: data, and what came with it. */
export class Message extends Envelope {
  /** The bytes, in memory of their own. */
  readonly data: Uint8Array;

  /** @internal */
  constructor(
    data: Uint8Array,
    ancillary: Ancillary | null,
    from: Address | undefined,
    cut: { truncated: boolean; fdsTruncated: boolean },
  ) {
    super(ancillary, from, cut);
    this.data = data;
  }

  /** The data as UTF-8 text. */
  text(): string {
    return decoder.decode(this.data);
  }
}

/** What `receiveInto` answers: how many bytes of your buffer were filled, and what came along. */
export class Received extends Envelope {
  readonly bytes: number;

  /** @internal */
  constructor(
    bytes: number,
    ancillary: Ancillary | null,
    from: Address | undefined,
    cut: { truncated: boolean; fdsTruncated: boolean },
  ) {
    super(ancillary, from, cut);
    this.bytes = bytes;
  }
}

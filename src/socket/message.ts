// Received messages and their descriptors.

import { closeMany, closeOne } from "../fd/closing.ts";
import { Fd } from "../fd/fd.ts";
import { type Owner, ownershipMoved, track, untrack } from "../fd/finalizer.ts";
import type { Credentials } from "../structs/credentials.ts";
import type { Address } from "../structs/sockaddr-un.ts";

const decoder = new TextDecoder();
const NONE: readonly Fd[] = Object.freeze([]);
const NO_NUMBERS: readonly number[] = Object.freeze([]);

/** Ancillary data of a message. */
export interface Ancillary {
  readonly received: ReceivedFds | null;
  readonly credentials: Credentials | undefined;
  readonly pidfd: Fd | undefined;
  readonly security: string | undefined;
  readonly from: Address | undefined;
  readonly truncated: boolean;
  readonly fdsTruncated: boolean;
}

/**
 * Descriptors that came together. They get an owner each only when they are looked at. Where
 * nothing came beside them they are all of the ancillary data: one object less.
 */
export class ReceivedFds implements Owner, Ancillary {
  #numbers: number | readonly number[];
  #fds: readonly Fd[] | null = null;
  readonly place: string;
  registered = false;

  /** @param numbers one, or a list */
  constructor(numbers: number | readonly number[], place: string) {
    this.#numbers = numbers;
    this.place = place;
    track(this);
  }

  get owned(): number | readonly number[] {
    return this.#numbers;
  }

  /** Those that got no owner yet. */
  get numbers(): readonly number[] {
    return typeof this.#numbers === "number" ? [this.#numbers] : this.#numbers;
  }

  get fds(): readonly Fd[] {
    return (this.#fds ??= this.#apart());
  }

  #apart(): Fd[] {
    const numbers = this.#numbers;
    const { place } = this;
    this.#numbers = NO_NUMBERS;
    ownershipMoved(this);
    if (typeof numbers === "number") return [Fd.of(numbers, place, "anybody")];
    return numbers.map((fd) => Fd.of(fd, place, "anybody"));
  }

  take(): Fd[] {
    const fds = this.#fds;
    this.#fds = NONE;
    return fds === null ? this.#apart() : [...fds];
  }

  close(): void {
    const numbers = this.#numbers;
    const fds = this.#fds;
    this.#numbers = NO_NUMBERS;
    this.#fds = NONE;
    untrack(this, numbers);
    if (typeof numbers === "number") closeOne(numbers);
    else if (numbers.length > 0) closeMany(numbers);
    if (fds !== null) for (const fd of fds) fd.close();
  }

  get received(): this {
    return this;
  }
  get credentials(): undefined {
    return undefined;
  }
  get pidfd(): undefined {
    return undefined;
  }
  get security(): undefined {
    return undefined;
  }
  get from(): undefined {
    return undefined;
  }
  get truncated(): false {
    return false;
  }
  get fdsTruncated(): false {
    return false;
  }
}

/**
 * What one receive call brought beside the data: descriptors, credentials, the sender's address.
 *
 * Descriptors are owned from birth: take them with `takeFds()`, or let `using` or `close()` close
 * those that were not taken.
 *
 * @see recvmsg(2), unix(7)
 */
export class ReceivedMessage implements Disposable {
  readonly #ancillary: Ancillary | null;

  /** @internal null: data alone, all of it */
  constructor(ancillary: Ancillary | null) {
    this.#ancillary = ancillary;
  }

  /** @internal No ancillary data came. */
  get alone(): boolean {
    return this.#ancillary === null;
  }

  /** Who sent it: the sender's claim, which the kernel checks unless the sender is root. */
  get credentials(): Credentials | undefined {
    return this.#ancillary?.credentials;
  }

  /**
   * The sender's process, with `passPidfd`. Closed with the message. Before Linux 6.17 undefined if
   * the sender had ended and was waited for when its message was received.
   * @see pidfd_open(2)
   */
  get pidfd(): Fd | undefined {
    return this.#ancillary?.pidfd;
  }

  /** The sender's security label (SCM_SECURITY), if a security module is active. */
  get security(): string | undefined {
    return this.#ancillary?.security;
  }

  /** The address that the sender of a datagram is bound to; undefined if it is bound to none. */
  get from(): Address | undefined {
    return this.#ancillary?.from;
  }

  /** The message had more data than there was room for: the rest is gone. */
  get truncated(): boolean {
    return this.#ancillary?.truncated ?? false;
  }

  /**
   * Fewer descriptors are here than were sent: more than `acceptFds`, or this process is at its
   * limit of open files (MSG_CTRUNC). Those that are here are valid, and none leaked.
   */
  get fdsTruncated(): boolean {
    return this.#ancillary?.fdsTruncated ?? false;
  }

  /** The descriptors that came and were not taken, in the order they were sent. */
  get fds(): readonly Fd[] {
    return this.#ancillary?.received?.fds ?? NONE;
  }

  /** The descriptors; from now on they are the caller's to close. */
  takeFds(): Fd[] {
    return this.#ancillary?.received?.take() ?? [];
  }

  /** Close the descriptors that were not taken, and the pidfd. */
  close(): void {
    const ancillary = this.#ancillary;
    if (ancillary === null) return;
    ancillary.received?.close();
    ancillary.pidfd?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** A received message: data, and what came with it. */
export class Message extends ReceivedMessage {
  /** The bytes, in memory of their own. */
  readonly data: Uint8Array;

  /** @internal */
  constructor(data: Uint8Array, ancillary: Ancillary | null) {
    super(ancillary);
    this.data = data;
  }

  /** The data as UTF-8 text. */
  text(): string {
    return decoder.decode(this.data);
  }

  /** The data as JSON. The sender decides on its shape: check it. @throws SyntaxError */
  json(): unknown {
    return JSON.parse(this.text());
  }
}

/** What `receiveInto` answers: how many bytes of your buffer were filled, and what came along. */
export class Received extends ReceivedMessage {
  /** How many bytes of the buffer were filled; the rest of it is as it was. */
  readonly bytes: number;

  /** @internal */
  constructor(bytes: number, ancillary: Ancillary | null) {
    super(ancillary);
    this.bytes = bytes;
  }
}

// What all sockets share: they own a descriptor, wait on it, and end.

import { callAlone } from "../base/callbacks.ts";
import { integer } from "../base/checks.ts";
import { busy, check, UnixError } from "../base/errors.ts";
import { Fd } from "../fd/fd.ts";
import { FdOwner } from "../fd/owner.ts";
import { attempt, type Operation } from "../loop/attempt.ts";
import { rejected } from "../loop/gate.ts";
import { Watch } from "../loop/poller.ts";
import { peerCredentials, peerGroups, peerPidfd, peerSecurity } from "../peer/credentials.ts";
import { type VerifiedPeer, verifyPeer } from "../peer/verify.ts";
import type { Credentials } from "../structs/credentials.ts";
import type { Address } from "../structs/sockaddr-un.ts";
import { socketName } from "../syscalls/socket.ts";
import { bufferBytes } from "./kernel-limits.ts";
import { type Settings, setBufferBytes } from "./options.ts";
import type { ReceivePolicy } from "./receive.ts";

/** @internal How a socket class differs from the others. */
export interface Kind {
  readonly name: string;
  readonly receives: Omit<ReceivePolicy, "acceptFds">;
  /** Bytes without boundaries: a send may be taken in part. */
  readonly stream: boolean;
}

/** Policies by kind and `acceptFds`: many sockets share one. */
const policies = new Map<Kind, ReceivePolicy[]>();

function rulesOf(kind: Kind, acceptFds: number): ReceivePolicy {
  let rules = policies.get(kind);
  if (rules === undefined) policies.set(kind, (rules = []));
  return (rules[acceptFds] ??= { ...kind.receives, acceptFds });
}

/**
 * A socket that this process owns. Made by `connect`, `listen().accept`, `socketPair`,
 * `openDatagram` or `adoptSocket`.
 *
 * @see unix(7), socket(7)
 */
export abstract class BaseSocket extends FdOwner implements AsyncDisposable {
  /** @internal */
  protected readonly settings: Settings;
  /** @internal */
  protected readonly rules: ReceivePolicy;
  /** From the first wait on. A LazyWatch would be one more object for each connection. */
  #watch: Watch | null = null;
  #referenced = true;
  #onClose: (() => void) | null = null;

  /** @internal */
  constructor(handle: Fd, settings: Settings, kind: Kind) {
    super(handle);
    this.settings = settings;
    this.rules = rulesOf(kind, settings.acceptFds);
  }

  /** @internal */
  protected abstract get kind(): Kind;

  /** Tells sockets from listeners. */
  get listening(): false {
    return false;
  }

  /** The descriptor's number, borrowed; −1 once closed. */
  override get fd(): number {
    const watch = this.#watch; // whoever waits has just looked at it, and not at the Fd
    return watch === null || watch.closed ? this.handle.fd : watch.fd;
  }

  /** @internal */
  protected get watch(): Watch {
    return (this.#watch ??= this.#newWatch());
  }

  #newWatch(): Watch {
    const watch = Watch.of(this.handle.fd, true);
    watch.referenced = this.#referenced;
    return watch;
  }

  /**
   * Have `callback` called once, when this socket is closed or released. What it throws then is an
   * uncaught exception.
   */
  onClose(callback: () => void): void {
    const before = this.#onClose;
    if (this.closed) callback();
    else if (before === null) this.#onClose = callback;
    else this.#onClose = both(before, callback);
  }

  /** The address this socket is bound to. @see getsockname(2) */
  get localAddress(): Address {
    return this.#name("getsockname");
  }

  /** The address of the socket it is connected to. @throws UnixError ENOTCONN */
  get peerAddress(): Address {
    return this.#name("getpeername");
  }

  #name(call: "getsockname" | "getpeername"): Address {
    const name = socketName(this.open(call), call);
    if (typeof name === "number") throw new UnixError(call, name);
    return name;
  }

  /**
   * SO_SNDBUF, in bytes as one asks for it (the kernel counts twice as much, its own records too);
   * no more than net.core.wmem_max. It may be set at any time.
   * @throws TypeError, RangeError; UnixError ERR_CLOSED
   * @see socket(7)
   */
  get sendBufferBytes(): number {
    return check(bufferBytes(this.open("getsockopt"), "sendBufferBytes"), "getsockopt");
  }
  set sendBufferBytes(bytes: number) {
    integer("sendBufferBytes", bytes, { min: 1 });
    setBufferBytes(this.open("setsockopt"), "sendBufferBytes", bytes);
  }

  /** SO_RCVBUF, likewise; of a Unix socket it bounds nothing. */
  get receiveBufferBytes(): number {
    return check(bufferBytes(this.open("getsockopt"), "receiveBufferBytes"), "getsockopt");
  }
  set receiveBufferBytes(bytes: number) {
    integer("receiveBufferBytes", bytes, { min: 1 });
    setBufferBytes(this.open("setsockopt"), "receiveBufferBytes", bytes);
  }

  /** The peer's credentials: {@link peerCredentials}. */
  peerCredentials(): Credentials {
    return peerCredentials(this.open("getsockopt"));
  }
  /** The peer's supplementary groups: {@link peerGroups}. */
  peerGroups(): number[] {
    return peerGroups(this.open("getsockopt"));
  }
  /** The peer's process; yours to close: {@link peerPidfd}. */
  peerPidfd(): Fd {
    return peerPidfd(this.open("getsockopt"));
  }
  /** The peer's security label: {@link peerSecurity}. */
  peerSecurity(): string | null {
    return peerSecurity(this.open("getsockopt"));
  }
  /** The peer, looked at closely: {@link verifyPeer}. */
  peer(): VerifiedPeer {
    return verifyPeer(this.open("getsockopt"));
  }

  /** @internal */
  protected get referenced(): boolean {
    return this.#referenced;
  }

  /** @internal */
  protected reference(on: boolean): void {
    this.#referenced = on;
    if (this.#watch !== null) this.#watch.referenced = on;
  }

  /** @internal The last receive emptied the queue: the next waits until the kernel reports more. */
  protected noteDrained(): void {
    const watch = this.#watch;
    if (watch !== null && watch.registered !== 0 && !watch.ended) watch.readable = false;
  }

  /** @internal Nothing waits to be sent: a new send may try at once. */
  protected get idle(): boolean {
    return !this.closed && this.#watch?.hasWaiters("write") !== true;
  }

  /** @internal Wait on this socket; closed sockets reject. */
  protected waitFor<T>(
    direction: "read" | "write",
    signal: AbortSignal | undefined,
    operation: Operation<T>,
  ): Promise<T> {
    try {
      this.open(direction === "read" ? "recvmsg" : "sendmsg");
      return attempt({ watch: this.watch, direction, signal }, operation);
    } catch (error) {
      operation.cleanup?.();
      return rejected(error);
    }
  }

  /**
   * Hand the descriptor on: this object is closed, the result owns it. What waits here gets
   * ERR_CLOSED. It does not block (O_NONBLOCK); `fd.nonBlocking = false` changes that.
   *
   * @throws UnixError ERR_CLOSED, EBUSY while sends are queued
   */
  release(): Fd {
    this.open("release");
    if (!this.idle) throw busy();
    this.beforeRelease();
    const fd = Fd.of(this.handle.release(), "release", "socket");
    this.#ended();
    return fd;
  }

  /** Close at once. What waits gets ERR_CLOSED, queued sends are dropped. Never throws. */
  close(): void {
    if (this.closed) return;
    this.beforeClose();
    this.handle.close();
    this.#ended();
  }

  #ended(): void {
    const onClose = this.#onClose;
    this.#onClose = null;
    if (onClose !== null) callAlone(onClose);
  }

  /** @internal What must happen while the descriptor is still open. */
  protected beforeClose(): void {}

  /** @internal The same if the descriptor stays open, with another owner. */
  protected beforeRelease(): void {}

  /** Close once the queued sends are out. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.idle || this.closed) return this.close();
    await this.waitFor("write", undefined, { tryOnce: () => true }).catch(() => {});
    this.close();
  }
}

const both = (first: () => void, second: () => void) => (): void => {
  callAlone(first);
  callAlone(second);
};

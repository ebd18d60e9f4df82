// What the three kinds of socket share: who owns the descriptor, waiting, receiving, sending.

import { errno } from "../native/errno.ts";
import { poll as events } from "../native/poll.ts";
import {
  type Credentials,
  peerCredentials,
  peerGroups,
  peerPidfd,
  peerSecurity,
  type VerifiedPeer,
  verifyPeer,
} from "./credentials.ts";
import { closedError, UnixError } from "./errors.ts";
import { Fd } from "./fd.ts";
import { type Rules, receiveIntoOnce, receiveOnce } from "./incoming.ts";
import { attempt, type Operation, settled } from "./loop/attempt.ts";
import { Watch } from "./loop/poller.ts";
import type { Message, Payload, Received } from "./message.ts";
import {
  closeTransferred,
  type Outgoing,
  plainTotal,
  prepare,
  type SendOptions,
  sendError,
  sendOnce,
  sendPlain,
  wouldBlock,
} from "./outgoing.ts";
import { type SendOnce, SendOperation } from "./send-operation.ts";
import { integer, type Settings } from "./socket-options.ts";
import type { Address } from "./structs/sockaddr-un.ts";
import { poll } from "./syscalls/fd.ts";
import { socketName } from "./syscalls/socket.ts";

/** Options of one asynchronous send. */
export interface SendWaitOptions extends SendOptions {
  /** Give up; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Options of one asynchronous receive. */
export interface ReceiveOptions {
  readonly signal?: AbortSignal | undefined;
  /** At most so many bytes of data. Default: the socket's `maxMessageBytes`. */
  readonly maxBytes?: number | undefined;
}

/** Options of one call that blocks the thread. */
export interface SyncOptions {
  /** Milliseconds until it fails with ETIMEDOUT. Default: wait for ever. */
  readonly timeoutMs?: number | undefined;
}

/** @internal How a socket class differs from the others. */
export interface Kind {
  readonly name: string;
  readonly rules: Omit<Rules, "acceptFds">;
  /** Bytes without boundaries: a send may be taken in part. */
  readonly stream: boolean;
}

/** The rest of a deadline, as poll wants it. */
export function remaining(timeoutMs: number | undefined): () => number {
  if (timeoutMs === undefined) return () => -1;
  const end = performance.now() + integer("timeoutMs", timeoutMs);
  return () => Math.max(0, Math.ceil(end - performance.now()));
}

/**
 * A socket that this process owns. Made by `connect`, `listen().accept`, `socketPair`,
 * `openDatagram` or `adoptSocket`.
 *
 * @see unix(7), socket(7)
 */
export abstract class SocketBase implements Disposable, AsyncDisposable {
  readonly #handle: Fd;
  readonly #kind: Kind;
  /** @internal */
  protected readonly settings: Settings;
  /** @internal */
  protected readonly rules: Rules;
  #watch: Watch | null = null;
  #referenced = true;
  #queuedBytes = 0;
  readonly #closeCallbacks: (() => void)[] = [];
  /** The plain receive, made once: it is what most programs do most of the time. */
  readonly #receiving: Operation<Message | null> = {
    once: () => this.take(this.settings.maxMessageBytes),
  };

  /** @internal */
  constructor(handle: Fd, settings: Settings, kind: Kind) {
    this.#handle = handle;
    this.settings = settings;
    this.#kind = kind;
    this.rules = { ...kind.rules, acceptFds: settings.acceptFds };
  }

  /** The descriptor's number, borrowed; −1 once closed. */
  get fd(): number {
    return this.#handle.fd;
  }

  get closed(): boolean {
    return this.#handle.closed;
  }

  /** @internal The number, or ERR_CLOSED. */
  protected open(syscall: string): number {
    const { fd } = this.#handle;
    if (fd < 0) throw closedError(syscall);
    return fd;
  }

  /** @internal */
  protected get watch(): Watch {
    if (this.#watch === null) {
      this.#watch = Watch.of(this.#handle.fd, true);
      this.#watch.referenced = this.#referenced;
    }
    return this.#watch;
  }

  /** Have `callback` called once, when this socket is closed or released. It must not throw. */
  onClose(callback: () => void): void {
    if (this.closed) callback();
    else this.#closeCallbacks.push(callback);
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

  /** Who connected, or listened: {@link peerCredentials}. */
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

  /** Keep the process alive while something waits on this socket. The default. */
  ref(): this {
    this.#reference(true);
    return this;
  }

  /** Do not keep the process alive for this socket. */
  unref(): this {
    this.#reference(false);
    return this;
  }

  /** @internal */
  protected get referenced(): boolean {
    return this.#referenced;
  }

  #reference(on: boolean): void {
    this.#referenced = on;
    if (this.#watch !== null) this.#watch.referenced = on;
  }

  /**
   * The next message, when there is one; null when the peer has ended (a datagram socket has no
   * end). Receives are served in the order they were asked for.
   *
   * @throws UnixError ECONNRESET, ERR_CLOSED; the signal's reason
   * @see recvmsg(2)
   */
  receive(options?: ReceiveOptions): Promise<Message | null> {
    if (options === undefined) return this.waitFor("read", undefined, this.#receiving);
    const maxBytes = this.#most(options?.maxBytes);
    return this.waitFor("read", options?.signal, { once: () => this.take(maxBytes) });
  }

  /** The next message if one is here; null: the peer has ended; undefined: nothing now. */
  tryReceive(options?: { maxBytes?: number }): Message | null | undefined {
    this.open("recvmsg");
    return this.take(this.#most(options?.maxBytes));
  }

  /** The next message; blocks the thread. @throws UnixError ETIMEDOUT */
  receiveSync(options?: SyncOptions & { maxBytes?: number }): Message | null {
    const maxBytes = this.#most(options?.maxBytes);
    return this.#blocking("recvmsg", events.POLLIN, options, () => this.take(maxBytes));
  }

  /**
   * Receive into your own bytes: no copy. The buffer must not be touched until the promise settles.
   */
  receiveInto(
    buffer: ArrayBufferView,
    options?: { signal?: AbortSignal },
  ): Promise<Received | null> {
    checkBuffer(buffer);
    return this.waitFor("read", options?.signal, { once: () => this.takeInto(buffer) });
  }

  /** `receiveInto` if something is here; null: the end; undefined: nothing now. */
  tryReceiveInto(buffer: ArrayBufferView): Received | null | undefined {
    this.open("recvmsg");
    checkBuffer(buffer);
    return this.takeInto(buffer);
  }

  /** `receiveInto`, blocking the thread. @throws UnixError ETIMEDOUT */
  receiveIntoSync(buffer: ArrayBufferView, options?: SyncOptions): Received | null {
    checkBuffer(buffer);
    return this.#blocking("recvmsg", events.POLLIN, options, () => this.takeInto(buffer));
  }

  /** @internal One receive. Overridden where a kind has more to say about ends and errors. */
  protected take(maxBytes: number): Message | null | undefined {
    return receiveOnce(this.#handle.fd, this.rules, maxBytes);
  }

  /** @internal */
  protected takeInto(buffer: ArrayBufferView): Received | null | undefined {
    return receiveIntoOnce(this.#handle.fd, this.rules, buffer);
  }

  #most(maxBytes: number | undefined): number {
    if (maxBytes === undefined) return this.settings.maxMessageBytes;
    return integer("maxBytes", maxBytes, { least: 1 });
  }

  /** Messages until the peer ends. Leaving the loop does not close the socket. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Message> {
    return iterate(() => this.receive());
  }

  /**
   * Send; resolves when the kernel has taken all of it, not when the peer has read it. Sends are
   * taken in the order they were asked for; one that has to wait keeps duplicates of its
   * descriptors, and its data must not be changed until the promise settles.
   *
   * @throws TypeError, RangeError at once; UnixError EPIPE, ECONNRESET, EMSGSIZE, EPERM, ENOBUFS
   *   (more than `maxQueuedBytes` wait already), ERR_CLOSED; the signal's reason
   * @see sendmsg(2)
   */
  send(data: Payload, options?: SendWaitOptions): Promise<void> {
    let skip = 0;
    if (options === undefined && !Array.isArray(data) && this.#mayTry()) {
      const sent = sendPlain(this.#handle.fd, data as Exclude<Payload, readonly unknown[]>);
      if (sent === plainTotal) return settled(undefined);
      if (sent < 0 && !wouldBlock(sent)) return Promise.reject(sendError(sent, NOTHING_BESIDE));
      skip = Math.max(sent, 0);
    }
    const message = prepare(data, options);
    this.checkMessage(message);
    return this.sendPrepared(message, options?.signal, skip);
  }

  /** @internal The last receive emptied the queue: the next waits for the kernel's word. */
  protected noteDrained(): void {
    const watch = this.#watch;
    if (watch !== null && watch.registered !== 0 && !watch.ended) watch.readable = false;
  }

  /** @internal Nothing waits to be sent: a new send may try at once. */
  protected get idle(): boolean {
    return this.#mayTry();
  }

  #mayTry(): boolean {
    return !this.closed && (this.#watch === null || this.#watch.writers.length === 0);
  }

  /** @internal Send what was checked, from byte `skip` on. */
  protected sendPrepared(
    message: Outgoing,
    signal: AbortSignal | undefined,
    skip = 0,
  ): Promise<void> {
    if (signal?.aborted === true && skip === 0) return Promise.reject(signal.reason);
    try {
      this.open("sendmsg");
      if (message.total === 0 && this.#kind.stream) return settled(undefined);
      if (skip === 0 && this.#mayTry()) {
        const sent = this.#now(message);
        if (sent === message.total) return settled(undefined);
        return this.enqueue(message, { skip: sent ?? 0, signal });
      }
      return this.enqueue(message, { skip, signal });
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** @internal Wait with what is left of `message`. */
  protected enqueue(
    message: Outgoing,
    { skip, signal }: { skip: number; signal?: AbortSignal | undefined },
  ): Promise<void> {
    this.checkRoom(message.total - skip);
    const send: SendOnce = (what, rest) => sendOnce(this.#handle.fd, what, rest);
    const operation = new SendOperation(message, { sendOnce: send, skip, account: this.account });
    return attempt({ watch: this.watch, direction: "write", signal }, operation).then(nothing);
  }

  /** @internal */
  protected checkRoom(bytes: number): void {
    if (this.#queuedBytes === 0 || this.#queuedBytes + bytes <= this.settings.maxQueuedBytes)
      return;
    const hint = `${this.#queuedBytes} bytes wait already: await send() before sending more`;
    throw new UnixError("send", -errno.ENOBUFS, { hint });
  }

  /** @internal */
  protected readonly account = (bytes: number): void => {
    this.#queuedBytes += bytes;
  };

  /** Bytes that wait in this process to be sent. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** @internal Send at once: bytes taken, or null. */
  #now(message: Outgoing): number | null {
    const sent = sendOnce(this.#handle.fd, message, { fds: message.numbers });
    if (sent >= 0) {
      closeTransferred(message);
      return sent;
    }
    if (wouldBlock(sent)) return null;
    throw sendError(sent, message);
  }

  /**
   * Send what fits now: the bytes taken (on a stream perhaps not all; descriptors go with the
   * first), or null where nothing can be sent without waiting.
   */
  trySend(data: Payload, options?: SendOptions): number | null {
    this.open("sendmsg");
    if (options === undefined && !Array.isArray(data)) {
      if (!this.#mayTry()) return null;
      const sent = sendPlain(this.#handle.fd, data as Exclude<Payload, readonly unknown[]>);
      if (sent >= 0) return sent;
      if (wouldBlock(sent)) return null;
      throw sendError(sent, NOTHING_BESIDE);
    }
    const message = prepare(data, options);
    this.checkMessage(message);
    if (message.total === 0 && this.#kind.stream) return 0;
    return this.#mayTry() ? this.#now(message) : null;
  }

  /** Send all of it, blocking the thread. @throws UnixError ETIMEDOUT, EBUSY (sends are queued) */
  sendSync(data: Payload, options?: SendOptions & SyncOptions): void {
    const message = prepare(data, options);
    this.checkMessage(message);
    this.open("sendmsg");
    if (!this.#mayTry()) throw busy();
    if (message.total === 0 && this.#kind.stream) return;
    let skip = 0;
    this.#blocking("sendmsg", events.POLLOUT, options, () => {
      const rest = { skip, fds: skip === 0 ? message.numbers : [] };
      const sent = sendOnce(this.#handle.fd, message, rest);
      if (sent < 0 && !wouldBlock(sent)) throw sendError(sent, message);
      if (sent < 0) return undefined;
      if (skip === 0) closeTransferred(message);
      skip += sent;
      return skip >= message.total ? true : undefined;
    });
  }

  /** @internal Rules of the kind that hold before any call. */
  protected checkMessage(message: Outgoing): void {
    const { total, fds, credentials } = message;
    if (this.#kind.stream && total === 0 && (fds.length > 0 || credentials !== undefined)) {
      throw new RangeError("on a stream at least one byte goes with descriptors or credentials");
    }
  }

  #blocking<T>(
    syscall: string,
    event: number,
    options: SyncOptions | undefined,
    once: () => T | undefined,
  ): T {
    const left = remaining(options?.timeoutMs);
    for (;;) {
      const fd = this.open(syscall);
      const value = once();
      if (value !== undefined) return value;
      const wait = left();
      if (wait === 0) throw new UnixError(syscall, -errno.ETIMEDOUT);
      poll(fd, event, wait);
    }
  }

  /** @internal Wait on this socket; closed sockets reject. */
  protected waitFor<T>(
    direction: "read" | "write",
    signal: AbortSignal | undefined,
    operation: Operation<T>,
  ): Promise<T> {
    if (this.closed)
      return Promise.reject(closedError(direction === "read" ? "recvmsg" : "sendmsg"));
    return attempt({ watch: this.watch, direction, signal }, operation);
  }

  /**
   * Hand the descriptor on: this object is closed, the result owns it. What waits here gets
   * ERR_CLOSED. It does not block (O_NONBLOCK); `fd.nonBlocking = false` changes that.
   *
   * @throws UnixError ERR_CLOSED, EBUSY while sends are queued
   */
  release(): Fd {
    this.open("release");
    if (!this.#mayTry()) throw busy();
    const fd = Fd.adopt(this.#handle.release(), "release");
    this.#ended();
    return fd;
  }

  /** Close at once. What waits gets ERR_CLOSED, queued sends are dropped. Never throws. */
  close(): void {
    if (this.closed) return;
    this.beforeClose();
    this.#handle.close();
    this.#ended();
  }

  #ended(): void {
    for (const callback of this.#closeCallbacks.splice(0)) callback();
  }

  /** @internal What must happen while the descriptor is still open. */
  protected beforeClose(): void {}

  [Symbol.dispose](): void {
    this.close();
  }

  /** Close once the queued sends are out. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#mayTry() || this.closed) return this.close();
    await this.waitFor("write", undefined, { once: () => true }).catch(nothing);
    this.close();
  }
}

/** An iterator over what `next` promises, until that is null. */
export function iterate<T>(next: () => Promise<T | null>): AsyncIterableIterator<T> {
  let ended = false;
  const end = { done: true, value: undefined } as const;
  return {
    async next(): Promise<IteratorResult<T>> {
      const value = ended ? null : await next();
      if (value !== null) return { done: false, value };
      ended = true;
      return end;
    },
    async return(): Promise<IteratorResult<T>> {
      ended = true;
      return end;
    },
    [Symbol.asyncIterator]() {
      return this;
    },
  };
}

const NOTHING_BESIDE = { fds: [], credentials: undefined } as const;

function nothing(): void {}

function busy(): UnixError {
  const hint = "sends are queued: await them first";
  return new UnixError("sendmsg", -errno.EBUSY, { hint });
}

function checkBuffer(buffer: unknown): void {
  if (!ArrayBuffer.isView(buffer)) throw new TypeError("the buffer is a view of an ArrayBuffer");
  if (buffer.byteLength === 0) throw new RangeError("the buffer has no room");
}

// Receiving and sending, as the three kinds of socket share it.

import { errno } from "../../native/errno.ts";
import { poll as events } from "../../native/poll.ts";
import { socket as c } from "../../native/socket.ts";
import { integer } from "../base/checks.ts";
import type { Payload } from "../base/data.ts";
import type { Abortable, SyncOptions } from "../base/deadline.ts";
import { busy, UnixError } from "../base/errors.ts";
import { iterate } from "../base/iterate.ts";
import type { FdLike } from "../fd/fd.ts";
import { Again } from "../loop/again.ts";
import { attempt } from "../loop/attempt.ts";
import type { Feed, Handler } from "../loop/consume.ts";
import { rejected, settled } from "../loop/gate.ts";
import { remaining } from "../syscalls/clock.ts";
import { poll } from "../syscalls/fd.ts";
import type { Memory } from "../syscalls/memory.ts";
import { shutdown } from "../syscalls/socket.ts";
import { BaseSocket } from "./endpoint.ts";
import type { Message, Received, ReceivedMessage } from "./message.ts";
import { type SendOnce, SendOperation } from "./queued-send.ts";
import { type CopyOut, type Room, receiveIntoOnce, receiveOnce } from "./receive.ts";
import { EnvelopeConsumer, type ReceiveOptions, roomIn } from "./receiving.ts";
import {
  closeTransferred,
  isShort,
  numbersOf,
  type Outgoing,
  type OutgoingAncillary,
  type OwnBytes,
  prepare,
  type SendOptions,
  sendError,
  sendFrom,
  sendOnce,
  sendPlain,
  sendShort,
  wouldBlock,
} from "./send.ts";

/** Options of one asynchronous send. */
export interface SendWaitOptions extends SendOptions, Abortable {
  /**
   * Called if the signal was aborted when part of the data was out already, which happens on
   * streams only: the rest follows all the same, or the peer would take what is sent next for it.
   * `rest` resolves when it is out and rejects if that failed. Not called: nothing was sent.
   */
  readonly onRest?: ((rest: Promise<void>) => void) | undefined;
}

/** A socket that receives and sends. */
export abstract class MessagingSocket extends BaseSocket {
  #queuedBytes = 0;
  #sendEnded = false;
  /** The waiter of the plain receive, made once: the most frequent one. */
  #again: Again<Message | null> | null = null;

  /**
   * The next message, when there is one; null when the peer has ended (a datagram socket has no
   * end). Receives are served in the order they were asked for.
   *
   * @throws UnixError ECONNRESET, ERR_CLOSED; the signal's reason
   * @see recvmsg(2)
   */
  receive(options?: ReceiveOptions): Promise<Message | null> {
    if (options === undefined) return this.#receivePlain();
    const maxBytes = this.#maxBytes(options.maxBytes);
    return this.waitFor("read", options.signal, { tryOnce: () => this.take(maxBytes) });
  }

  #receivePlain(): Promise<Message | null> {
    try {
      this.open("recvmsg");
      const received = (this.#again ??= new Again(this)).once(this.watch);
      if (received !== null) return received;
    } catch (error) {
      return rejected(error);
    }
    return this.waitFor("read", undefined, this);
  }

  /**
   * @internal The plain receive as what is tried: the socket itself, for an object more would be
   * cold in the processor's cache where there are many connections.
   */
  tryOnce(): Message | null | undefined {
    return this.take(this.settings.maxMessageBytes);
  }

  /** The next message if one is here; null: the peer has ended; undefined: nothing now. */
  tryReceive(options?: { readonly maxBytes?: number | undefined }): Message | null | undefined {
    this.open("recvmsg");
    return this.take(this.#maxBytes(options?.maxBytes));
  }

  /** The next message; blocks the thread. @throws UnixError ETIMEDOUT */
  receiveSync(options?: SyncOptions & { readonly maxBytes?: number | undefined }): Message | null {
    const maxBytes = this.#maxBytes(options?.maxBytes);
    return this.blocking("recvmsg", events.POLLIN, remaining(options?.timeoutMs), () =>
      this.take(maxBytes),
    );
  }

  /**
   * Receive into your own bytes: no copy. The buffer must not be touched until the promise settles.
   * One that is detached, transferred or made smaller meanwhile is a TypeError, and what was sent
   * is still there for the next receive.
   */
  receiveInto(buffer: ArrayBufferView, options?: Abortable): Promise<Received | null> {
    const bytes = roomIn(buffer);
    return this.waitFor("read", options?.signal, { tryOnce: () => this.takeInto(buffer, bytes) });
  }

  /** `receiveInto` if something is here; null: the end; undefined: nothing now. */
  tryReceiveInto(buffer: ArrayBufferView): Received | null | undefined {
    this.open("recvmsg");
    return this.takeInto(buffer, roomIn(buffer));
  }

  /** @internal The same into memory of ours. */
  tryReceiveHere(memory: Memory): Received | null | undefined {
    this.open("recvmsg");
    return this.takeInto(memory, memory.bytes.length);
  }

  /** `receiveInto`, blocking the thread. @throws UnixError ETIMEDOUT */
  receiveIntoSync(buffer: ArrayBufferView, options?: SyncOptions): Received | null {
    const bytes = roomIn(buffer);
    return this.blocking("recvmsg", events.POLLIN, remaining(options?.timeoutMs), () =>
      this.takeInto(buffer, bytes),
    );
  }

  /** @internal One receive. A kind overrides it to tell ends and errors apart. */
  take(maxBytes: number, copyOut?: CopyOut): Message | null | undefined {
    return receiveOnce(this.fd, this.rules, maxBytes, copyOut);
  }

  /** @internal */
  protected takeInto(into: Room, bytes: number): Received | null | undefined {
    return receiveIntoOnce(this.fd, this.rules, into, bytes);
  }

  #maxBytes(maxBytes: number | undefined): number {
    if (maxBytes === undefined) return this.settings.maxMessageBytes;
    return integer("maxBytes", maxBytes, { min: 1 });
  }

  /**
   * Call `handler` with each message in the moment it comes, until the peer ends or this socket is
   * closed: the fastest way to receive. The next message waits for a promise that the handler
   * returns. Descriptors that it did not take by then are closed.
   *
   * @throws what the handler throws; UnixError ECONNRESET, ERR_CLOSED (closed before); the
   *   signal's reason
   */
  consume(handler: (message: Message) => unknown, options: Abortable = {}): Promise<void> {
    return this.consumeFrom(this, handler, options.signal);
  }

  /**
   * {@link consume} into your own bytes, without a copy: the fastest way to receive much. `handler`
   * gets the number of bytes, and what came along; the buffer holds them until it returns, or until
   * the promise that it returns is settled.
   *
   * @throws as consume; TypeError, RangeError (no room) at once; TypeError later if the buffer has
   *   been detached, transferred or made smaller: what came then is still there to be received
   */
  consumeInto(
    buffer: ArrayBufferView,
    handler: (received: Received) => unknown,
    options: Abortable = {},
  ): Promise<void> {
    const bytes = roomIn(buffer);
    return this.consumeFrom(
      { tryOnce: () => this.takeInto(buffer, bytes) },
      handler,
      options.signal,
    );
  }

  /** @internal The same, and `ended` is called at the peer's end, which `close` is not. */
  consumeToEnd(
    handler: (message: Message) => unknown,
    { ended, signal }: { readonly ended: () => void; readonly signal: AbortSignal },
  ): Promise<void> {
    const tryOnce = (): Message | null | undefined => {
      const message = this.tryOnce();
      if (message === null) ended();
      return message;
    };
    return this.consumeFrom({ tryOnce }, handler, signal);
  }

  /** @internal Hand over what a feed of this socket's brings. */
  consumeFrom<T extends ReceivedMessage>(
    feed: Feed<T>,
    handler: Handler<T>,
    signal?: AbortSignal | undefined,
  ): Promise<void> {
    try {
      this.open("recvmsg");
      return new EnvelopeConsumer(this.watch, feed, handler).start(signal);
    } catch (error) {
      return rejected(error);
    }
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
   * @throws TypeError, RangeError at once; TypeError later if data that waits was detached,
   *   transferred or made smaller (of a stream's a part may be out by then: close it); UnixError
   *   EPIPE, ECONNRESET, EMSGSIZE, EPERM, ENOBUFS (more than `maxQueuedBytes` wait already),
   *   ERR_CLOSED; the signal's reason
   * @see sendmsg(2)
   */
  send(data: Payload, options?: SendWaitOptions): Promise<void> {
    let skip = 0;
    if (options === undefined && !Array.isArray(data) && this.idle) {
      const { sent, bytes } = sendPlain(this.fd, data as Exclude<Payload, readonly unknown[]>);
      if (sent === bytes) return settled(undefined);
      if (sent < 0 && !wouldBlock(sent)) return rejected(this.sendFailed(sent, NO_ANCILLARY));
      skip = Math.max(sent, 0);
    }
    const message = prepare(data, options);
    this.checkMessage(message);
    if (options?.onRest !== undefined && typeof options.onRest !== "function") {
      throw new TypeError("onRest is a function");
    }
    return this.sendPrepared(message, options, skip);
  }

  /** @internal Send what was checked, from byte `skip` on. */
  protected sendPrepared(
    message: Outgoing,
    { signal, onRest }: Pick<SendWaitOptions, "signal" | "onRest"> = {},
    skip = 0,
  ): Promise<void> {
    if (signal?.aborted === true && skip === 0) return rejected(signal.reason);
    try {
      this.open("sendmsg");
      if (message.total === 0 && this.kind.stream) return settled(undefined);
      if (skip === 0 && this.idle) {
        const sent = this.#now(message);
        if (sent === message.total) return settled(undefined);
        return this.enqueue(message, { skip: sent ?? 0, signal, onRest });
      }
      return this.enqueue(message, { skip, signal, onRest });
    } catch (error) {
      return rejected(error);
    }
  }

  /** @internal Wait with what is left of `message`. */
  protected enqueue(
    message: Outgoing,
    { skip, signal, onRest }: { skip: number } & Pick<SendWaitOptions, "signal" | "onRest">,
  ): Promise<void> {
    this.checkRoom(message.total - skip);
    const send: SendOnce = (what, rest) => sendOnce(this.fd, what, rest);
    const account = (bytes: number): void => this.account(bytes);
    const failed = (result: number): UnixError => this.sendFailed(result, message);
    const operation = new SendOperation(message, { sendOnce: send, skip, account, failed, onRest });
    return attempt({ watch: this.watch, direction: "write", signal }, operation).then(() => {});
  }

  /** @internal */
  protected checkRoom(bytes: number): void {
    if (this.#queuedBytes === 0 || this.#queuedBytes + bytes <= this.settings.maxQueuedBytes)
      return;
    const hint = `${this.#queuedBytes} bytes wait already: await send() before sending more`;
    throw new UnixError("send", -errno.ENOBUFS, { hint });
  }

  /** @internal */
  protected account(bytes: number): void {
    this.#queuedBytes += bytes;
  }

  /** @internal Half-close, once the queued sends are out; nothing the second time. */
  protected endSending(): void {
    if (this.closed || this.#sendEnded) return;
    this.#sendEnded = true;
    const tryOnce = (): true => {
      shutdown(this.fd, c.SHUT_WR);
      return true;
    };
    if (this.idle) tryOnce();
    else this.waitFor("write", undefined, { tryOnce }).catch(() => {}); // closed meanwhile
  }

  /** @internal Wait until a send would not block, or fail at once. */
  waitForRoom(signal: AbortSignal | undefined): Promise<true> {
    const tryOnce = (): true | undefined =>
      poll(this.fd, events.POLLOUT, 0) !== 0 ? true : undefined;
    return this.waitFor("write", signal, { tryOnce });
  }

  /** Bytes that wait in this process to be sent. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** @internal Send at once: bytes taken, or null. */
  #now(message: Outgoing): number | null {
    const sent = sendOnce(this.fd, message, { fds: message.numbers });
    if (sent >= 0) closeTransferred(message);
    return this.#taken(sent, message);
  }

  #taken(sent: number, ancillary: OutgoingAncillary): number | null {
    if (sent >= 0) return sent;
    if (wouldBlock(sent)) return null;
    throw this.sendFailed(sent, ancillary);
  }

  /**
   * Send what fits now: the bytes taken (on a stream perhaps not all; descriptors go with the
   * first), or null if nothing can be sent without waiting.
   */
  trySend(data: Payload, options?: SendOptions): number | null {
    this.open("sendmsg");
    if (options === undefined && !Array.isArray(data)) {
      if (!this.idle) return null;
      const { sent } = sendPlain(this.fd, data as Exclude<Payload, readonly unknown[]>);
      return sent >= 0 ? sent : this.#taken(sent, NO_ANCILLARY);
    }
    if (options?.fds !== undefined && isShort(data, options)) {
      return this.#tryShort(data, options.fds);
    }
    const message = prepare(data, options);
    this.checkMessage(message);
    if (message.total === 0 && this.kind.stream) return 0;
    return this.idle ? this.#now(message) : null;
  }

  #tryShort(data: Uint8Array, fds: readonly FdLike[]): number | null {
    const numbers = numbersOf(fds);
    if (!this.idle) return null;
    const sent = sendShort(this.fd, data, numbers);
    return sent >= 0 ? sent : this.#taken(sent, { fds, credentials: undefined });
  }

  /** @internal {@link trySend} of bytes in this library's memory, with checked descriptors. */
  trySendFrom(from: OwnBytes, numbers: readonly number[]): number | null {
    this.open("sendmsg");
    if (!this.idle) return null;
    const sent = sendFrom(this.fd, from.address, from.bytes, numbers);
    return sent >= 0 ? sent : this.#taken(sent, { fds: numbers, credentials: undefined });
  }

  /** Send all of it, blocking the thread. @throws UnixError ETIMEDOUT, EBUSY (sends are queued) */
  sendSync(data: Payload, options?: SendOptions & SyncOptions): void {
    const message = prepare(data, options);
    this.checkMessage(message);
    this.open("sendmsg");
    if (!this.idle) throw busy();
    if (message.total === 0 && this.kind.stream) return;
    let skip = 0;
    this.blocking("sendmsg", events.POLLOUT, remaining(options?.timeoutMs), () => {
      const rest = { skip, fds: skip === 0 ? message.numbers : [] };
      const sent = sendOnce(this.fd, message, rest);
      if (sent < 0 && !wouldBlock(sent)) throw this.sendFailed(sent, message);
      if (sent < 0) return undefined;
      if (skip === 0) closeTransferred(message);
      skip += sent;
      return skip >= message.total ? true : undefined;
    });
  }

  /** @internal The error of a send. */
  protected sendFailed(result: number, message: OutgoingAncillary): UnixError {
    return sendError(result, message);
  }

  /** @internal Checks of the kind, before any call. */
  protected checkMessage(message: Outgoing): void {
    const { total, fds, credentials } = message;
    if (this.kind.stream && total === 0 && (fds.length > 0 || credentials !== undefined)) {
      throw new RangeError("on a stream at least one byte goes with descriptors or credentials");
    }
  }
}

const NO_ANCILLARY = { fds: [], credentials: undefined } as const;

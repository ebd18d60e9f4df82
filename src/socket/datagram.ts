// SOCK_DGRAM: messages, each to its address. On one machine none is lost: a send waits for room.

import { errno } from "../../native/errno.ts";
import { poll as events } from "../../native/poll.ts";
import { type AddressInput, absolute, formatAddress, parseAddress } from "../address/address.ts";
import { withShortAddress } from "../address/short-path.ts";
import type { Payload } from "../base/data.ts";
import type { SyncOptions } from "../base/deadline.ts";
import { check, UnixError } from "../base/errors.ts";
import type { Binding } from "../bind/binding.ts";
import type { Fd } from "../fd/fd.ts";
import { whyUnreachable } from "../inspect/reach.ts";
import { attempt } from "../loop/attempt.ts";
import { rejected, settled } from "../loop/gate.ts";
import type { Address } from "../structs/sockaddr-un.ts";
import { remaining } from "../syscalls/clock.ts";
import { connect } from "../syscalls/socket.ts";
import { type Item, isBare } from "./batch.ts";
import { ReceiverRoom, ROOM_IS_UNTOLD, tryLater } from "./datagram-room.ts";
import type { Kind } from "./endpoint.ts";
import type { SendWaitOptions } from "./messaging.ts";
import type { Settings } from "./options.ts";
import { PacketSocket } from "./packet.ts";
import { SendOperation } from "./queued-send.ts";
import {
  closeTransferred,
  type Outgoing,
  type OutgoingAncillary,
  prepare,
  type SendOptions,
  sendError,
  sendOnce,
  wouldBlock,
} from "./send.ts";

const KIND: Kind = {
  name: "datagram",
  receives: { place: "DatagramSocket.receive", wantSender: true, zeroBytes: "message" },
  stream: false,
};

/** Between tries of a blocked thread, if the kernel does not report room. */
const UNTOLD_MS = 1;

/** The same for all sends to one place, whatever the current directory is. */
const keyOf = (to: Address): string => formatAddress(absolute(to));

/** Where a datagram goes. */
export interface Recipient {
  /** The receiver's address; left out on a connected socket. */
  readonly to?: AddressInput | undefined;
}

/**
 * A datagram socket. Unix datagrams arrive whole, in order and exactly once, or the send fails:
 * `send` waits for room at the receiver instead of dropping.
 *
 * @see unix(7)
 */
export class DatagramSocket extends PacketSocket {
  #binding: Binding | null;
  /** Receivers that sends are waiting for, by address. */
  readonly #destinations = new Map<string, ReceiverRoom>();
  readonly #sending = new Set<Promise<void>>();
  /** A timer is set to try again. */
  #trying = false;
  /** Where it was connected last. */
  #connected: Address | null = null;

  /** @internal */
  constructor(handle: Fd, settings: Settings, binding: Binding | null = null) {
    super(handle, settings, KIND);
    this.#binding = binding;
  }

  /** Always "datagram". */
  get type(): "datagram" {
    return "datagram";
  }

  /** @internal */
  protected override get kind(): Kind {
    return KIND;
  }

  /** The address it is bound to, in the form it was given. */
  override get localAddress(): Address {
    return this.#binding?.address ?? super.localAddress;
  }

  /**
   * @internal For `bindDatagram`: `bind` binds the descriptor, which has no address yet. What it
   *   needs is not imported here, so that a program with a pair has none of it in its bundle.
   */
  bindBy(name: Address, bind: (fd: number) => Binding): void {
    const fd = this.open("bind");
    const { localAddress } = this;
    if (localAddress.kind !== "unnamed") {
      const hint = `the socket is bound to ${formatAddress(localAddress)} already`;
      throw new UnixError("bind", -errno.EINVAL, { address: formatAddress(name), hint });
    }
    this.#binding = bind(fd);
  }

  /**
   * Send all further messages to `address`, and receive from there only. When the receiver goes
   * away, a daemon that is started again for example, the kernel takes the connection back: one
   * send fails with ECONNREFUSED, all others with ENOTCONN, until this is called again.
   *
   * @throws UnixError ECONNREFUSED, ENOENT, EACCES, EPERM (it is connected to another)
   * @see connect(2)
   */
  connect(address: AddressInput): void {
    const target = parseAddress(address);
    const fd = this.open("connect");
    const result = withShortAddress(target, "connect", (short) => connect(fd, short));
    const hint = whyUnreachable(target, result);
    check(result, "connect", { address: formatAddress(target), hint });
    this.#connected = target;
  }

  /** @internal */
  protected override sendFailed(result: number, message: OutgoingAncillary): UnixError {
    return sendError(result, message, { connected: this.#connected });
  }

  /**
   * Send one message; waits for room at the receiver. A queued message keeps its place before later
   * ones to the same receiver.
   *
   * @throws UnixError ECONNREFUSED (no process is there), ENOENT, EACCES, EMSGSIZE, EPERM, ENOTCONN
   */
  override send(data: Payload, options?: SendWaitOptions & Recipient): Promise<void> {
    if (options?.to === undefined) return super.send(data, options);
    const message = prepare(data, options);
    return this.#sendTo(message, parseAddress(options.to), options.signal);
  }

  #sendTo(message: Outgoing, to: Address, signal: AbortSignal | undefined): Promise<void> {
    if (signal?.aborted === true) return rejected(signal.reason);
    try {
      this.open("sendmsg");
      if (this.#tryTo(message, to)) return settled(undefined);
      return this.#waitTo(message, to, signal);
    } catch (error) {
      return rejected(error);
    }
  }

  /** True: sent. False: there is no room, or others are before it. */
  #tryTo(message: Outgoing, to: Address): boolean {
    if (this.#destinations.size > 0 && this.#destinations.has(keyOf(to))) return false;
    const sent = this.#once(message, message.numbers, to);
    if (wouldBlock(sent)) return false;
    if (sent < 0) throw sendError(sent, message, { to });
    closeTransferred(message);
    return true;
  }

  #once(
    message: Pick<Outgoing, "parts" | "credentials">,
    fds: readonly number[],
    to: Address,
  ): number {
    return withShortAddress(to, "connect", (short) =>
      sendOnce(this.fd, message, { fds, to: short }),
    );
  }

  #waitTo(message: Outgoing, at: Address, signal: AbortSignal | undefined): Promise<void> {
    this.checkRoom(message.total);
    const to = absolute(at); // the directory may change during the wait
    const key = formatAddress(to);
    const destination = this.#destinations.get(key) ?? new ReceiverRoom(to);
    this.#destinations.set(key, destination);
    destination.ref();
    const { watch } = destination;
    watch.referenced = this.referenced;
    let operation: SendOperation;
    try {
      operation = new SendOperation(message, {
        failed: (result) => sendError(result, message, { to }),
        account: (bytes) => this.account(bytes),
        sendOnce: (what, { fds }) =>
          destination.attempt(this.watch, () => this.#once(what, fds, to)),
        ended: () => this.#leave(key, destination),
      });
    } catch (error) {
      this.#leave(key, destination);
      throw error;
    }
    const sending = attempt({ watch, direction: "write", signal }, operation).then(() => {});
    const ended = (): unknown => this.#sending.delete(sending);
    this.#sending.add(sending);
    sending.then(ended, ended);
    return sending;
  }

  #leave(key: string, destination: ReceiverRoom): void {
    if (destination.unref() && this.#destinations.get(key) === destination) {
      this.#destinations.delete(key);
    }
  }

  /** Send if there is room at the receiver: the bytes sent, or null. */
  override trySend(data: Payload, options?: SendOptions & Recipient): number | null {
    if (options?.to === undefined) return super.trySend(data, options);
    const message = prepare(data, options);
    const to = parseAddress(options.to);
    this.open("sendmsg");
    return this.#tryTo(message, to) ? message.total : null;
  }

  /** Send, blocking the thread until there is room. @throws UnixError ETIMEDOUT */
  override sendSync(data: Payload, options?: SendOptions & Recipient & SyncOptions): void {
    if (options?.to === undefined) {
      super.sendSync(data, options);
      return;
    }
    const message = prepare(data, options);
    const given = parseAddress(options.to);
    const left = remaining(options.timeoutMs);
    this.open("sendmsg");
    const to = absolute(given); // another thread may change the directory
    if (this.#tryTo(message, to)) return;
    const destination = new ReceiverRoom(to);
    try {
      do {
        const wait = left();
        if (wait === 0) throw new UnixError("sendmsg", -errno.ETIMEDOUT);
        destination.waitSync(this.fd, wait);
      } while (!this.#tryTo(message, to));
    } finally {
      destination.close();
    }
  }

  /** @internal */
  protected override get idle(): boolean {
    return super.idle && this.#destinations.size === 0;
  }

  /** @internal */
  protected override sendItem(item: Item, signal: AbortSignal | undefined): Promise<void> {
    if (isBare(item) || item.to === undefined) return super.sendItem(item, signal);
    return this.#sendTo(item, item.to, signal);
  }

  /** Close once the queued sends are out. */
  override async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#sending);
    await super[Symbol.asyncDispose]();
  }

  /** @internal */
  protected override beforeClose(): void {
    for (const destination of this.#destinations.values()) destination.close();
    this.#binding?.remove();
  }

  /** @internal XNU does not report room at the receiver: a send that waits for it tries again. */
  protected override enqueue(...args: Parameters<PacketSocket["enqueue"]>): Promise<void> {
    const sending = super.enqueue(...args);
    if (ROOM_IS_UNTOLD) this.#tryAgain(0);
    return sending;
  }

  #tryAgain(vain: number): void {
    if (this.#trying || this.closed || !this.watch.hasWaiters("write")) return;
    this.#trying = true;
    tryLater(vain, () => {
      this.#trying = false;
      if (this.closed) return;
      this.#tryAgain(this.watch.retry("write") === "none" ? vain + 1 : 0);
    });
  }

  /** @internal The same for a blocked thread. */
  protected override blocking<T>(
    syscall: string,
    event: number,
    left: () => number,
    once: () => T | undefined,
  ): T {
    const pausing = (): T | undefined => {
      const value = once();
      if (value === undefined) Bun.sleepSync(UNTOLD_MS);
      return value;
    };
    const pauses = ROOM_IS_UNTOLD && event === events.POLLOUT;
    return super.blocking(syscall, event, left, pauses ? pausing : once);
  }

  /** @internal The socket's file stays with the socket. */
  protected override beforeRelease(): void {
    this.#binding?.release();
  }
}

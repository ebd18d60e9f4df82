// POSIX message queues: bounded mailboxes with a name and priorities, which outlive processes.

import { errno } from "../../native/errno.ts";
import { poll as events } from "../../native/poll.ts";
import { integer } from "../base/checks.ts";
import type { Payload } from "../base/data.ts";
import type { Abortable, SyncOptions } from "../base/deadline.ts";
import { UnixError } from "../base/errors.ts";
import { iterateOpen } from "../base/iterate.ts";
import { MAX_QUEUED_BYTES } from "../base/limits.ts";
import { Fd, type FdLike } from "../fd/fd.ts";
import { FdOwner } from "../fd/owner.ts";
import { attempt, type Operation } from "../loop/attempt.ts";
import { rejected, settled } from "../loop/gate.ts";
import { LazyWatch } from "../loop/lazy-watch.ts";
import type { Watch } from "../loop/poller.ts";
import type { QueueAttributes } from "../structs/mq-attr.ts";
import { remaining } from "../syscalls/clock.ts";
import { Memory } from "../syscalls/memory.ts";
import { mqGetattr, mqReceive, mqSendFrom, receivedPriority } from "../syscalls/message-queue.ts";
import { AGAIN } from "../syscalls/result.ts";
import { checkQueueName, messageTooLong } from "./limits.ts";
import { QueueMessage, type QueueSendOptions, type ReadyMessage, ready } from "./message.ts";
import { notifyBySignal, type QueueNotification } from "./notify.ts";
import {
  type Access,
  accessOf,
  adoptQueue,
  openQueue,
  type QueueOptions,
  unlinkQueue,
  unlinkSame,
} from "./open.ts";

/**
 * A POSIX message queue. It is there until it is unlinked *and* closed by all, also while no
 * process has it open. A full queue makes senders wait; nothing is dropped, reordered within a
 * priority, cut off or delivered twice. Several processes may receive: each message goes to one.
 * Its descriptor, `fd`, can be passed over a socket. Not on macOS, which has no such queues:
 * opening one is an UnsupportedError there.
 *
 * @see mq_overview(7)
 */
export class MessageQueue extends FdOwner implements AsyncDisposable {
  /** The name it was opened by; null for an adopted one. */
  readonly name: string | null;
  /** Whether this `open` made it. */
  readonly created: boolean;
  /** Which directions it was opened for. */
  readonly access: Access;
  /** The most messages that it holds. It never changes. */
  readonly maxMessages: number;
  /** The most bytes of one message. It never changes. */
  readonly messageBytes: number;
  readonly #maxQueuedBytes: number;
  #queuedBytes = 0;
  #room: Memory | null = null;
  readonly #watch = new LazyWatch();
  readonly #receiving: Operation<QueueMessage> = { tryOnce: () => this.#take() };

  private constructor(
    handle: Fd,
    how: { name: string | null; created: boolean; maxQueuedBytes: number },
  ) {
    super(handle);
    const attributes = mqGetattr(handle.fd);
    try {
      if (typeof attributes === "number") throw new UnixError("mq_getattr", attributes);
      this.access = accessOf(handle.fd);
    } catch (error) {
      handle.close();
      throw error;
    }
    this.name = how.name;
    this.created = how.created;
    this.maxMessages = attributes.maxMessages;
    this.messageBytes = attributes.messageBytes;
    this.#maxQueuedBytes = how.maxQueuedBytes;
  }

  /**
   * Open the queue called `name`, and with `create` make it if there is none. A queue that is there
   * already keeps its mode, its size and its messages: see `created` and `attributes()`.
   *
   * @param name "/" and 1 to 255 bytes without another "/"
   * @throws TypeError, RangeError before any call; UnixError ENOENT, EEXIST, EACCES, EBUSY (held,
   *   with `exclusive: "lifetime"`); QueueLimitError; UnsupportedError (macOS)
   * @see mq_open(3)
   */
  static open(name: string, options: QueueOptions = {}): MessageQueue {
    checkQueueName(name);
    const { maxQueuedBytes = MAX_QUEUED_BYTES } = options;
    integer("maxQueuedBytes", maxQueuedBytes, { max: Number.MAX_SAFE_INTEGER });
    const { fd, created } = openQueue(name, options);
    const handle = Fd.of(fd, "MessageQueue.open", "ours");
    return new MessageQueue(handle, { name, created, maxQueuedBytes });
  }

  /**
   * Adopt a queue's descriptor that other code opened: inherited, or received over a socket. A
   * number or an Fd is owned by the result from then on, of an object with an `fd` a duplicate is
   * used. On failure everything is as it was.
   *
   * @throws UnixError EBADF (no descriptor, or not a queue's)
   */
  static adopt(from: FdLike): MessageQueue {
    const how = { name: null, created: false, maxQueuedBytes: MAX_QUEUED_BYTES };
    return new MessageQueue(adoptQueue(from), how);
  }

  /**
   * Remove the name. Processes that have the queue open keep it; it is gone when the last one
   * closes it.
   * @throws UnixError ENOENT, EACCES
   * @see mq_unlink(3)
   */
  static unlink(name: string): void {
    unlinkQueue(name);
  }

  /**
   * Remove the name, if it still is this queue's: a successor's is left alone.
   * @throws UnixError ENOENT (unlinked already, or another queue has the name by now), EACCES,
   *   ERR_CLOSED; TypeError for an adopted queue, whose name is not known
   */
  unlink(): void {
    const fd = this.open("mq_unlink");
    if (this.name === null) throw new TypeError("an adopted queue's name is not known");
    unlinkSame(this.name, fd);
  }

  /** What it can hold, and how many messages are in it now. @see mq_getattr(3) */
  attributes(): QueueAttributes {
    const attributes = mqGetattr(this.open("mq_getattr"));
    if (typeof attributes === "number") throw new UnixError("mq_getattr", attributes);
    return attributes;
  }

  /**
   * Have a signal sent to this process, once, when a message comes into the queue while it is
   * empty; null takes that back. `watchSignals` then says who sent the message: an event with the
   * code "message-queue", the sender's pid and uid as the kernel knows them, and `value`. (It is no
   * better proof than any queued signal: a process that may signal this one can forge it.)
   *
   * One process at a time may ask, whichever descriptor it asks by. It is told once and has to ask
   * again: first ask, then empty the queue, so that nothing slips through. A thread that is blocked
   * in mq_receive(3) gets the message without a notification; what waits here does not count as
   * that. Closing any descriptor of the queue in this process takes the request back too.
   *
   * Nothing here needs it in order to wait: `receive` does.
   *
   * @throws TypeError, RangeError before any call; UnixError EBUSY, ERR_CLOSED,
   *   ERR_SIGNAL_UNHANDLED: nothing in this process handles the signal
   * @see mq_notify(3), sigevent(3type)
   */
  notify(asked: QueueNotification | null): void {
    notifyBySignal(this.open("mq_notify"), asked);
  }

  /**
   * Send one message; waits for room. Sends are taken in the order they were asked for; data that
   * waits must not be changed until the promise settles.
   *
   * @throws TypeError, RangeError at once; TypeError later if data that waits was detached,
   *   transferred or made smaller; QueueLimitError EMSGSIZE; UnixError EBADF (opened for reading),
   *   ENOBUFS (more than `maxQueuedBytes` wait already), ERR_CLOSED; the signal's reason
   * @see mq_send(3)
   */
  send(data: Payload, options?: QueueSendOptions & Abortable): Promise<void> {
    const message = ready(data, options);
    const signal = options?.signal;
    if (signal?.aborted === true) return rejected(signal.reason);
    try {
      this.open("mq_timedsend");
      if (this.#idle && this.#put(message) !== undefined) return settled(undefined);
      return this.#enqueue(message, signal);
    } catch (error) {
      return rejected(error);
    }
  }

  #enqueue(message: ReadyMessage, signal: AbortSignal | undefined): Promise<void> {
    const bytes = message.piece.bytes + 1;
    if (this.#queuedBytes > 0 && this.#queuedBytes + bytes > this.#maxQueuedBytes) {
      const hint = "await send() before sending more";
      throw new UnixError("mq_timedsend", -errno.ENOBUFS, { hint });
    }
    this.#queuedBytes += bytes;
    const operation = {
      tryOnce: () => this.#put(message),
      cleanup: () => void (this.#queuedBytes -= bytes),
    };
    const wait = { watch: this.#watching, direction: "write", signal } as const;
    return attempt(wait, operation).then(() => {});
  }

  /** Send if there is room: true; false if there is none, or others wait already. */
  trySend(data: Payload, options?: QueueSendOptions): boolean {
    const message = ready(data, options);
    this.open("mq_timedsend");
    return this.#idle && this.#put(message) !== undefined;
  }

  /** Send, blocking the thread until there is room. @throws UnixError ETIMEDOUT, EBUSY */
  sendSync(data: Payload, options?: QueueSendOptions & SyncOptions): void {
    const message = ready(data, options);
    const left = remaining(options?.timeoutMs);
    this.open("mq_timedsend");
    if (!this.#idle) {
      const hint = "sends are queued: await them first";
      throw new UnixError("mq_timedsend", -errno.EBUSY, { hint });
    }
    this.blocking("mq_timedsend", events.POLLOUT, left, () => this.#put(message));
  }

  /**
   * The next message: of those with the highest priority, the oldest. Waits for one; receives are
   * served in the order they were asked for.
   *
   * @throws UnixError EBADF (opened for writing), ERR_CLOSED; the signal's reason
   * @see mq_receive(3)
   */
  receive(options?: Abortable): Promise<QueueMessage> {
    try {
      this.open("mq_timedreceive");
      const wait = { watch: this.#watching, direction: "read", signal: options?.signal } as const;
      return attempt(wait, this.#receiving);
    } catch (error) {
      return rejected(error);
    }
  }

  /** The next message if there is one; undefined: none now. */
  tryReceive(): QueueMessage | undefined {
    this.open("mq_timedreceive");
    return this.#take();
  }

  /** The next message; blocks the thread. @throws UnixError ETIMEDOUT */
  receiveSync(options?: SyncOptions): QueueMessage {
    const left = remaining(options?.timeoutMs);
    return this.blocking("mq_timedreceive", events.POLLIN, left, () => this.#take());
  }

  /** Messages as they come, until the queue is closed here. Leaving the loop does not close it. */
  [Symbol.asyncIterator](): AsyncIterableIterator<QueueMessage> {
    return iterateOpen(this, () => this.receive());
  }

  #put({ piece, priority }: ReadyMessage): true | undefined {
    const { bytes } = piece;
    if (bytes > this.messageBytes) throw messageTooLong(bytes, this.messageBytes);
    const sent = mqSendFrom(this.fd, { address: piece.address(), bytes }, priority);
    if (sent === AGAIN) return undefined;
    if (sent < 0) throw this.#failed("mq_timedsend", sent);
    return true;
  }

  #take(): QueueMessage | undefined {
    this.#room ??= new Memory(this.messageBytes);
    const received = mqReceive(this.fd, this.#room);
    if (received === AGAIN) return undefined;
    if (received < 0) throw this.#failed("mq_timedreceive", received);
    const priority = receivedPriority();
    return new QueueMessage(this.#room.bytes.slice(0, received), priority);
  }

  #failed(syscall: string, result: number): UnixError {
    const address = this.name ?? undefined;
    const hint = result === -errno.EBADF ? `this queue was opened to ${this.access}` : undefined;
    return new UnixError(syscall, result, { address, hint });
  }

  get #watching(): Watch {
    return this.#watch.of(this.handle.fd);
  }

  get #idle(): boolean {
    return this.#watch.idle;
  }

  /** @internal */
  protected reference(on: boolean): void {
    this.#watch.referenced = on;
  }

  /**
   * Hand the descriptor on: this object is closed, the result owns it. What waits here gets
   * ERR_CLOSED. The descriptor does not block (O_NONBLOCK) unless an adopted one did.
   *
   * @throws UnixError ERR_CLOSED, EBUSY while sends are queued
   */
  release(): Fd {
    this.open("release");
    if (!this.#idle) throw new UnixError("release", -errno.EBUSY, { hint: "sends are queued" });
    return Fd.of(this.handle.release(), "MessageQueue.release", "ours");
  }

  /**
   * Close at once; the queue stays. What waits here gets ERR_CLOSED, queued sends are dropped.
   * Never throws.
   */
  close(): void {
    this.handle.close();
    this.#room = null;
  }

  /** Close once the queued sends are out. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.closed && !this.#idle) {
      const wait = { watch: this.#watching, direction: "write" } as const;
      await attempt(wait, { tryOnce: () => true }).catch(() => {});
    }
    this.close();
  }
}

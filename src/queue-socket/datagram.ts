// Datagrams over message queues: whole, in order, with the sender's address, and never dropped.

import { errno } from "../../native/errno.ts";
import { integer } from "../base/checks.ts";
import type { Payload } from "../base/data.ts";
import type { Abortable, SyncOptions } from "../base/deadline.ts";
import { busy, UnixError } from "../base/errors.ts";
import { iterateOpen } from "../base/iterate.ts";
import { MAX_QUEUED_BYTES } from "../base/limits.ts";
import { FdOwner } from "../fd/owner.ts";
import { rejected, settled } from "../loop/gate.ts";
import { checkQueueName } from "../message-queue/limits.ts";
import { QueueMessage, type ReadyMessage, ready } from "../message-queue/message.ts";
import { expectedOwner, type QueueOwner, type QueueOwnerOptions } from "../message-queue/owner.ts";
import type { QueueIdentity, Sender } from "../structs/queue-frame.ts";
import { QueueDirection } from "./direction.ts";
import { OwnName } from "./own-name.ts";
import { QueueReader } from "./reader.ts";
import {
  kernelName,
  makeNamed,
  makeUnnamed,
  type QueueSizeOptions,
  queueSize,
  type ReceiveQueue,
  stopReading,
} from "./receive-queue.ts";
import { QueueTargets, type SendTarget } from "./targets.ts";

/** How a datagram socket is made. `owner` is of all queues that it sends to. */
export interface QueueDatagramOptions extends QueueSizeOptions, QueueOwnerOptions {
  /** Bytes that may wait in this process before `send` fails with ENOBUFS. Default 64 MiB. */
  readonly maxQueuedBytes?: number | undefined;
}

/**
 * Where a datagram goes, or comes from: a name, or a socket without one, by its process, its
 * descriptor's number there and the kernel's number of its queue. Only its owner gives it away.
 */
export type QueueAddress = { readonly name: string } | QueueIdentity;

/** Options of one datagram. */
export interface SendDatagramOptions {
  /** A name, or the `from` of a message that was received. */
  readonly to: string | QueueAddress;
  /** 0 (the default) to `maxPriority`. Of those that wait, higher ones are received first. */
  readonly priority?: number | undefined;
}

/** What came as one datagram. */
export class QueueDatagram extends QueueMessage {
  /** Who sent it, good for an answer: the sender's claim. null if it does not say. */
  readonly from: QueueAddress | null;

  /** @internal */
  constructor(data: Uint8Array, priority: number, from: QueueAddress | null) {
    super(data, priority);
    this.from = from;
  }
}

/** Messages that are none, dropped in one try. */
const GARBAGE = 64;

/**
 * A datagram socket over a message queue. A send waits for room in the receiver's queue; it fails
 * with ECONNREFUSED if no process reads any more. Datagrams of one sender with one priority keep
 * their order, and those that wait for one receiver do not hold up those for another.
 *
 * @see mq_overview(7), docs/queue-socket.md
 */
export class QueueDatagramSocket extends FdOwner implements AsyncDisposable {
  readonly #own: ReceiveQueue;
  readonly #name: OwnName | null;
  readonly #reader: QueueReader;
  readonly #reading: QueueDirection;
  readonly #targets: QueueTargets;
  readonly #maxQueuedBytes: number;
  #queuedBytes = 0;
  readonly #waiting = new Set<Promise<unknown>>();

  private constructor(
    own: ReceiveQueue,
    name: string | null,
    { maxQueuedBytes, owner }: { maxQueuedBytes: number; owner: QueueOwner },
  ) {
    super(own.handle);
    this.#own = own;
    this.#name = name === null ? null : new OwnName(name, own);
    this.#reader = new QueueReader(own);
    this.#reading = new QueueDirection(own.handle, "read", null);
    this.#targets = new QueueTargets(own.device, owner);
    this.#maxQueuedBytes = maxQueuedBytes;
  }

  /** @internal */
  static open(name: string | undefined, options: QueueDatagramOptions): QueueDatagramSocket {
    const { maxQueuedBytes = MAX_QUEUED_BYTES } = options;
    integer("maxQueuedBytes", maxQueuedBytes, { max: Number.MAX_SAFE_INTEGER });
    const owner = expectedOwner(options.owner);
    const size = queueSize(options);
    const place = "openQueueDatagram";
    const own = name === undefined ? makeUnnamed(size, place) : makeNamed(name, size, place);
    return new QueueDatagramSocket(own, name ?? null, { maxQueuedBytes, owner });
  }

  /** Where others reach it. */
  get address(): QueueAddress {
    const { name } = this;
    return name === null ? this.#own.identity : { name };
  }

  /** Its name; null if it has none. */
  get name(): string | null {
    return this.#name?.name ?? null;
  }

  /** Bytes that wait in this process to be sent. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /** Messages in its queue that were no datagrams for it, and were dropped. */
  get ignored(): number {
    return this.#reader.ignored;
  }

  /** The next datagram; waits for one. @throws UnixError ERR_CLOSED; the signal's reason */
  receive(options: Abortable = {}): Promise<QueueDatagram> {
    try {
      this.open("mq_timedreceive");
      return this.#reading.wait({ tryOnce: this.#take }, options.signal);
    } catch (error) {
      return rejected(error);
    }
  }

  /** The next datagram if one is here; undefined: none now. */
  tryReceive(): QueueDatagram | undefined {
    this.open("mq_timedreceive");
    return this.#take();
  }

  /** The next datagram; blocks the thread. @throws UnixError ETIMEDOUT */
  receiveSync(options: SyncOptions = {}): QueueDatagram {
    this.open("mq_timedreceive");
    return this.#reading.block("mq_timedreceive", options, this.#take);
  }

  /** Datagrams as they come, until the socket is closed. Leaving the loop does not close it. */
  [Symbol.asyncIterator](): AsyncIterableIterator<QueueDatagram> {
    return iterateOpen(this, () => this.receive());
  }

  readonly #take = (): QueueDatagram | undefined => {
    for (let i = 0; i < GARBAGE; i++) {
      const frame = this.#reader.next();
      if (frame === undefined) return undefined;
      if (frame?.kind === "datagram") {
        const data = this.#reader.data(frame.bodyAt);
        return new QueueDatagram(data, this.#reader.priority, addressOf(frame.from));
      }
      this.#reader.ignored++;
    }
    this.#reading.later();
    return undefined;
  };

  /**
   * Send one datagram; waits for room. Resolves when it is in the receiver's queue, not when it has
   * been read. Data that waits must not be changed until the promise settles.
   *
   * @throws TypeError, RangeError at once; TypeError later if data that waits was detached,
   *   transferred or made smaller; UnixError ENOENT, ECONNREFUSED (no process reads), EACCES (its
   *   mode, or another owner), EPROTOTYPE (a listener's name), ENOBUFS (more than `maxQueuedBytes`
   *   wait already), ERR_CLOSED; QueueLimitError EMSGSIZE; the signal's reason
   */
  send(data: Payload, options: SendDatagramOptions & Abortable): Promise<void> {
    const message = ready(data, options);
    const to = destination(options.to);
    const { signal } = options;
    if (signal?.aborted === true) return rejected(signal.reason);
    try {
      this.open("mq_timedsend");
      const target = this.#targets.find(to);
      if (target.side.idle && this.#put(target, message)) return settled(undefined);
      return this.#enqueue(target, message, signal);
    } catch (error) {
      return rejected(error);
    }
  }

  #enqueue(
    target: SendTarget,
    message: ReadyMessage,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const bytes = message.piece.bytes + 1;
    if (this.#queuedBytes > 0 && this.#queuedBytes + bytes > this.#maxQueuedBytes) {
      const hint = "await send() before sending more";
      throw new UnixError("send", -errno.ENOBUFS, { hint });
    }
    this.#queuedBytes += bytes;
    const operation = {
      tryOnce: () => this.#putLater(target, message),
      cleanup: () => void (this.#queuedBytes -= bytes),
    };
    const sent = target.side.wait(operation, signal).then(() => {});
    const settling: Promise<unknown> = sent
      .catch(() => {})
      .then(() => this.#waiting.delete(settling));
    this.#waiting.add(settling);
    return sent;
  }

  /** True: sent. False: no room. A target that was just found is there. */
  #put({ peer }: SendTarget, { piece, priority }: ReadyMessage): boolean {
    return peer.putDatagram(piece, { from: this.name ?? this.#own.identity, priority });
  }

  /** The same after a while: undefined: no room. @throws UnixError ECONNREFUSED */
  #putLater(target: SendTarget, message: ReadyMessage): true | undefined {
    if (!target.peer.holder.alive()) {
      const detail = { address: target.address, hint: "no process reads from it any more" };
      throw new UnixError("mq_timedsend", -errno.ECONNREFUSED, detail);
    }
    return this.#put(target, message) || undefined;
  }

  /** Send if there is room: the bytes of data; null: none, or others wait already. */
  trySend(data: Payload, options: SendDatagramOptions): number | null {
    const message = ready(data, options);
    const to = destination(options.to);
    this.open("mq_timedsend");
    const target = this.#targets.find(to);
    return target.side.idle && this.#put(target, message) ? message.piece.bytes : null;
  }

  /** `send`, blocking the thread. @throws UnixError as `send`, and ETIMEDOUT, EBUSY */
  sendSync(data: Payload, options: SendDatagramOptions & SyncOptions): void {
    const message = ready(data, options);
    const to = destination(options.to);
    this.open("mq_timedsend");
    const target = this.#targets.find(to);
    if (!target.side.idle) throw busy();
    target.side.block("mq_timedsend", options, () => this.#putLater(target, message));
  }

  /** @internal */
  protected reference(on: boolean): void {
    this.#reading.referenced = on;
    this.#targets.referenced = on;
  }

  /** Close at once; the name is removed, what waits here gets ERR_CLOSED. Never throws. */
  close(): void {
    if (this.closed) return;
    this.#name?.remove();
    stopReading(this.#own);
    this.#targets.close();
  }

  /** Close once the queued sends are out. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#waiting);
    this.close();
  }
}

/** @throws TypeError, RangeError */
function destination(to: unknown): string | QueueIdentity {
  const name = typeof to === "object" && to !== null && "name" in to ? to.name : to;
  if (typeof name === "string") {
    kernelName(name);
    return name;
  }
  if (typeof name !== "object" || name === null) {
    throw new TypeError("`to` is a queue socket's name, or the `from` of a message");
  }
  const { pid, fd, inode, tagLow, tagHigh } = name as QueueIdentity;
  integer("to.pid", pid, { min: 1 });
  integer("to.fd", fd);
  integer("to.inode", inode, { max: Number.MAX_SAFE_INTEGER });
  const word = { max: 2 ** 32 - 1 };
  return {
    pid,
    fd,
    inode,
    tagLow: integer("to.tagLow", tagLow, word),
    tagHigh: integer("to.tagHigh", tagHigh, word),
  };
}

function addressOf(from: Sender): QueueAddress | null {
  if (typeof from !== "string") return from;
  try {
    checkQueueName(from);
    return { name: from };
  } catch {
    return null; // it says what cannot be a name
  }
}

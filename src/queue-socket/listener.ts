// A queue with a name, into which clients write their identity.

import { errno } from "../../native/errno.ts";
import { Backoff } from "../base/backoff.ts";
import { integer } from "../base/checks.ts";
import type { Abortable, SyncOptions } from "../base/deadline.ts";
import { sleep } from "../base/deadline.ts";
import { isShortage, UnixError } from "../base/errors.ts";
import { iterateOpen } from "../base/iterate.ts";
import { printable } from "../base/printable.ts";
import { FdOwner } from "../fd/owner.ts";
import { admits, checkAllow, sameUser } from "../peer/admission.ts";
import type { Credentials } from "../structs/credentials.ts";
import type { QueueIdentity } from "../structs/queue-frame.ts";
import { unlock } from "../syscalls/fd.ts";
import { QueueDirection } from "./direction.ts";
import { OwnName } from "./own-name.ts";
import { QueueReader } from "./reader.ts";
import {
  kernelName,
  makeNamed,
  makeUnnamed,
  type QueueSizeOptions,
  queueSize,
  REQUEST_BYTES,
  type ReceiveQueue,
  type Size,
} from "./receive-queue.ts";
import { SendQueue } from "./send-queue.ts";
import { QueueSocket } from "./stream.ts";

/** How a listener and its sockets are made. */
export interface ListenQueueOptions extends QueueSizeOptions {
  /** Connections that wait to be accepted; more clients wait for a place. Default 8. */
  readonly backlog?: number | undefined;
  /**
   * Who may connect: `true` is yes, anything else is no. Others get EACCES. It is not waited for: a
   * promise is a TypeError for the caller of accept, and a no, as is what `allow` throws. Default:
   * this process's own user.
   */
  readonly allow?: ((peer: Credentials) => boolean) | undefined;
  /** Of the accepted sockets. Default 64 MiB. */
  readonly maxQueuedBytes?: number | undefined;
}

const BACKLOG = 8;
/** Requests looked at in one try, before the rest of Bun's loop gets its turn. */
const REQUESTS = 64;
/**
 * Out of descriptors or memory (facts: #accept-at-emfile-stays-readable) it waits this long; the
 * client's request is kept meanwhile.
 */
const SHORTAGE = { first: 5, max: 1000 } as const;

/**
 * A listener under a name, made by `listenQueue`. A client writes its identity into this queue; it
 * is answered with a socket of its own, whose queue has no name.
 *
 * @see mq_overview(7), docs/queue-socket.md
 */
export class QueueListener extends FdOwner implements AsyncDisposable {
  readonly #own: ReceiveQueue;
  readonly #name: OwnName;
  readonly #reader: QueueReader;
  readonly #side: QueueDirection;
  readonly #size: Size;
  readonly #options: ListenQueueOptions;
  /** A request that there was no descriptor for yet. */
  #held: QueueIdentity | null = null;
  #warned = false;

  private constructor(name: string, own: ReceiveQueue, options: ListenQueueOptions) {
    super(own.handle);
    this.#own = own;
    this.#name = new OwnName(name, own);
    this.#reader = new QueueReader(own);
    this.#side = new QueueDirection(own.handle, "read", null);
    this.#size = queueSize(options);
    this.#options = options;
  }

  /** @internal */
  static open(name: string, options: ListenQueueOptions): QueueListener {
    kernelName(name);
    queueSize(options);
    const { backlog = BACKLOG, allow, maxQueuedBytes = 0 } = options;
    integer("maxQueuedBytes", maxQueuedBytes, { max: Number.MAX_SAFE_INTEGER });
    checkAllow(allow);
    const size = {
      maxMessages: integer("backlog", backlog, { min: 1 }),
      messageBytes: REQUEST_BYTES,
    };
    return new QueueListener(name, makeNamed(name, size, "listenQueue"), options);
  }

  /** Its name, as it was given. */
  get name(): string {
    return this.#name.name;
  }

  /** Messages in its queue, requests and others, that led to no connection. */
  get ignored(): number {
    return this.#reader.ignored;
  }

  /**
   * The next connection. A client for whom no queue can be made (RLIMIT_MSGQUEUE) is told so, and
   * this process is warned once; out of descriptors, clients wait.
   *
   * @throws UnixError ERR_CLOSED; the signal's reason; what `allow` throws
   */
  async accept(options: Abortable = {}): Promise<QueueSocket> {
    const { signal } = options;
    for (const pauses = new Backoff(SHORTAGE); ; ) {
      try {
        this.open("accept");
        return await this.#side.wait({ tryOnce: () => this.#once() }, signal);
      } catch (error) {
        if (this.#held === null || this.closed || signal?.aborted === true) throw error;
      }
      await sleep(pauses.next(), signal);
    }
  }

  /** A connection that waits; undefined: none now. @throws UnixError EMFILE: it goes on waiting */
  tryAccept(): QueueSocket | undefined {
    this.open("accept");
    return this.#once();
  }

  /** The next connection; blocks the thread. @throws UnixError ETIMEDOUT, EMFILE */
  acceptSync(options: SyncOptions = {}): QueueSocket {
    this.open("accept");
    return this.#side.block("accept", options, () => this.#once());
  }

  /** Connections as they come, until the listener is closed. */
  [Symbol.asyncIterator](): AsyncIterableIterator<QueueSocket> {
    return iterateOpen(this, () => this.accept());
  }

  #once(): QueueSocket | undefined {
    for (let i = 0; i < REQUESTS; i++) {
      this.open("accept"); // `allow` may have closed it
      const request = this.#request();
      if (request === undefined) return undefined;
      const socket = request === null ? null : this.#answer(request);
      if (socket !== null) return socket;
      this.#reader.ignored++;
    }
    this.#side.later();
    return undefined;
  }

  /** null: something else; undefined: nothing now. */
  #request(): QueueIdentity | null | undefined {
    const held = this.#held;
    this.#held = null;
    if (held !== null) return held;
    const frame = this.#reader.next();
    if (frame === undefined) return undefined;
    return frame?.kind === "connect" ? frame.identity : null;
  }

  /** A socket for the client; null if the client cannot be answered. */
  #answer(request: QueueIdentity): QueueSocket | null {
    const peer = this.#reach(request);
    if (peer === null) return null;
    let own: ReceiveQueue | null = null;
    try {
      own = peer.holder.alive() && this.#allowed(peer) ? this.#makeQueue(peer) : null;
      if (own !== null && tellClient(peer, (it) => it.putIdentity("accept", own!.identity))) {
        return new QueueSocket({ own, peer, maxQueuedBytes: this.#options.maxQueuedBytes });
      }
    } catch (error) {
      own?.handle.close();
      peer.close();
      throw error;
    }
    own?.handle.close();
    peer.close();
    return null;
  }

  #reach(request: QueueIdentity): SendQueue | null {
    try {
      const { device } = this.#own;
      return SendQueue.of(request, { device, fresh: true, owner: "anybody" });
    } catch (error) {
      if (!(error instanceof UnixError)) throw error;
      if (error.code === "EACCES") this.#warn(error); // it cannot be told
      if (!isShortage(error)) return null;
      this.#held = request;
      throw error;
    }
  }

  #allowed(peer: SendQueue): boolean {
    const { allow } = this.#options;
    let allowed = false;
    try {
      allowed = admits(allow ?? sameUser, peer.credentials);
    } finally {
      if (!allowed) tellClient(peer, (it) => it.putRefusal(errno.EACCES));
    }
    return allowed;
  }

  #makeQueue(peer: SendQueue): ReceiveQueue | null {
    try {
      return makeUnnamed(this.#size, "QueueListener.accept");
    } catch (error) {
      if (!(error instanceof UnixError)) throw error;
      tellClient(peer, (it) => it.putRefusal(-error.errno));
      this.#warn(error);
      return null;
    }
  }

  #warn(error: UnixError): void {
    if (this.#warned) return;
    this.#warned = true;
    const text = printable(`a connection to ${this.name} was refused: ${error.message}`);
    process.emitWarning(text, { type: "AcceptWarning", code: error.code });
  }

  /** @internal */
  protected reference(on: boolean): void {
    this.#side.referenced = on;
  }

  /** Stop listening, remove the name, and refuse who waits. Connections stay open. Never throws. */
  close(): void {
    if (this.closed) return;
    this.#name.remove();
    unlock(this.fd); // a client from now on sees that no process reads
    try {
      this.#refuseAll();
    } catch {
      // out of descriptors: they find the lock free
    }
    this.handle.close();
  }

  #refuseAll(): void {
    for (let i = 0; i < REQUESTS; i++) {
      const request = this.#request();
      if (request === undefined) return;
      const peer = request === null ? null : this.#reach(request);
      peer?.putRefusal(errno.ECONNREFUSED);
      peer?.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}

/** Whether the client has been told; its queue is its own affair. */
function tellClient(peer: SendQueue, put: (peer: SendQueue) => boolean): boolean {
  try {
    return put(peer);
  } catch (error) {
    if (error instanceof UnixError) return false;
    throw error;
  }
}

// Connecting: write our identity into the listener's queue, and wait for the answer in our own.

import { lstatSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { integer } from "../base/checks.ts";
import type { Abortable, SyncOptions, TimeLimited } from "../base/deadline.ts";
import { UnixError } from "../base/errors.ts";
import { expectedOwner, type QueueOwner, type QueueOwnerOptions } from "../message-queue/owner.ts";
import type { Credentials } from "../structs/credentials.ts";
import type { QueueIdentity } from "../structs/queue-frame.ts";
import { remaining } from "../syscalls/clock.ts";
import { QueueDirection } from "./direction.ts";
import { QueueReader } from "./reader.ts";
import {
  kernelName,
  makeUnnamed,
  type QueueSizeOptions,
  queueSize,
  REQUEST_BYTES,
  type ReceiveQueue,
  type Size,
} from "./receive-queue.ts";
import { connectionRefused, SendQueue, wrongKind } from "./send-queue.ts";
import { QueueSocket } from "./stream.ts";

/** How a socket is made and connected. */
export interface ConnectQueueOptions extends QueueSizeOptions, QueueOwnerOptions, TimeLimited {
  /** Milliseconds until it fails with ETIMEDOUT. Default 10,000: who listens need not answer. */
  readonly timeoutMs?: number | undefined;
  /** Bytes that may wait in this process before `send` fails with ENOBUFS. Default 64 MiB. */
  readonly maxQueuedBytes?: number | undefined;
}

const TIMEOUT_MS = 10_000;

/** One connection that is being made: it waits twice. */
class QueueConnect {
  readonly #owner: QueueOwner;
  readonly name: string;
  readonly #options: ConnectQueueOptions;
  readonly #listener: SendQueue;
  readonly #own: ReceiveQueue;
  readonly #reader: QueueReader;
  readonly asking: QueueDirection;
  readonly answered: QueueDirection;

  constructor(name: string, options: ConnectQueueOptions) {
    this.name = name;
    this.#options = options;
    const size = checkOptions(name, options);
    this.#owner = expectedOwner(options.owner);
    this.#listener = SendQueue.named(name, this.#owner);
    try {
      if (!this.#listener.holder.alive()) throw this.#noReader();
      if (this.#listener.messageBytes !== REQUEST_BYTES) throw wrongKind(name, "datagram socket");
      if (isHiddenFrom(this.#listener.credentials)) throw this.#hidden();
      this.#own = makeUnnamed(size, "connectQueue");
    } catch (error) {
      this.#listener.close();
      throw error;
    }
    this.#reader = new QueueReader(this.#own);
    this.asking = new QueueDirection(this.#listener.handle, "write", this.#listener.holder);
    this.answered = new QueueDirection(this.#own.handle, "read", this.#listener.holder);
  }

  #noReader(): UnixError {
    return connectionRefused("no process listens; a crash leaves a name behind", {
      address: this.name,
    });
  }

  #hidden(): UnixError {
    const hint =
      "the listener may not look at this process, which has changed its user without exec";
    return new UnixError("connect", -errno.EACCES, { address: this.name, hint });
  }

  /** True: the request is in the listener's queue. undefined: that is full. */
  readonly ask = (): true | undefined => {
    if (!this.#listener.holder.alive()) throw this.#noReader();
    return this.#listener.putIdentity("connect", this.#own.identity) ? true : undefined;
  };

  /** The connection; undefined: no answer yet. */
  readonly answer = (): QueueSocket | undefined => {
    const socket = this.#look();
    if (socket !== undefined || this.#listener.holder.alive()) return socket;
    const last = this.#look(); // it may have answered before it went
    if (last === undefined) throw this.#noReader();
    return last;
  };

  #look(): QueueSocket | undefined {
    for (;;) {
      const frame = this.#reader.next();
      if (frame === undefined) return undefined;
      if (frame?.kind === "refuse") {
        throw new UnixError("connect", -frame.errno, { address: this.name, hint: SAID_NO });
      }
      if (frame?.kind !== "accept") continue;
      const peer = this.#reach(frame.identity);
      const { maxQueuedBytes } = this.#options;
      this.#listener.close();
      return new QueueSocket({ own: this.#own, peer, maxQueuedBytes });
    }
  }

  /** A server that accepts, sends and exits at once still counts as a connection. */
  #reach(identity: QueueIdentity): SendQueue {
    try {
      return SendQueue.of(identity, { device: this.#own.device, fresh: true, owner: this.#owner });
    } catch (error) {
      if (!(error instanceof UnixError) || error.code !== "ECONNREFUSED") throw error;
      return SendQueue.gone(identity, this.#listener);
    }
  }

  abandon(): void {
    this.#listener.close();
    this.#own.handle.close();
  }

  timedOut(): UnixError {
    const detail = { address: this.name, hint: "the listener has not answered" };
    return new UnixError("connect", -errno.ETIMEDOUT, detail);
  }
}

const SAID_NO = "the listener said so";

/**
 * The kernel shows what a process has open to root alone once that process has changed its user, or
 * has said so (PR_SET_DUMPABLE): the listener could not answer.
 */
function isHiddenFrom({ pid, uid }: Credentials): boolean {
  if (pid === null || pid === process.pid || uid === 0) return false;
  try {
    return lstatSync("/proc/self/fd").uid !== process.geteuid?.();
  } catch {
    return false; // no /proc: others will say so
  }
}

/** @throws TypeError, RangeError */
function checkOptions(name: string, options: ConnectQueueOptions): Size {
  kernelName(name);
  const { timeoutMs = TIMEOUT_MS, maxQueuedBytes = 0 } = options;
  integer("timeoutMs", timeoutMs);
  integer("maxQueuedBytes", maxQueuedBytes, { max: Number.MAX_SAFE_INTEGER });
  return queueSize(options);
}

/** @internal */
export async function connect(
  name: string,
  options: ConnectQueueOptions & Abortable,
): Promise<QueueSocket> {
  options.signal?.throwIfAborted();
  const attempt = new QueueConnect(name, options);
  const late = AbortSignal.timeout(options.timeoutMs ?? TIMEOUT_MS);
  const signal = options.signal === undefined ? late : AbortSignal.any([options.signal, late]);
  try {
    await attempt.asking.wait({ tryOnce: attempt.ask }, signal);
    return await attempt.answered.wait({ tryOnce: attempt.answer }, signal);
  } catch (error) {
    attempt.abandon();
    if (late.aborted && error === late.reason) throw attempt.timedOut();
    throw error;
  }
}

/** @internal */
export function connectSync(name: string, options: ConnectQueueOptions): QueueSocket {
  const attempt = new QueueConnect(name, options);
  const left = remaining(options.timeoutMs ?? TIMEOUT_MS);
  const rest = (): SyncOptions => ({ timeoutMs: left() });
  try {
    attempt.asking.block("connect", rest(), attempt.ask);
    return attempt.answered.block("connect", rest(), attempt.answer);
  } catch (error) {
    attempt.abandon();
    throw error;
  }
}

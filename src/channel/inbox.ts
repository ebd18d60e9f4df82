// Messages that came, until they are received or consumed.

import { closedError } from "../base/errors.ts";
import { isPromise } from "../loop/consume.ts";
import type { FrameLimits } from "./frames.ts";
import type { ChannelMessage } from "./message.ts";

/** Why nothing more will come: an error, or null for the peer's end. */
export interface End {
  readonly reason: unknown;
  /** This side has closed. */
  readonly closed: boolean;
}

interface Receiver<T> {
  readonly resolve: (message: ChannelMessage<T> | null) => void;
  readonly reject: (reason: unknown) => void;
}

interface Consumer<T> {
  readonly handler: (message: ChannelMessage<T>) => unknown;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

/** Messages that wait while only requests are asked for. */
const MAX_WAITING = 64;

/** A message that has not been asked for yet. */
interface Waiting<T> {
  readonly message: ChannelMessage<T>;
  readonly bytes: number;
  readonly fds: number;
}

/** A queue with receivers at one end, or one consumer. */
export class Inbox<T> {
  readonly #messages: Waiting<T>[] = [];
  /** Of those that wait. */
  #bytes = 0;
  #fds = 0;
  readonly #limits: FrameLimits;
  readonly #receivers: Receiver<T>[] = [];
  /** Called when more is wanted. */
  readonly #wake: () => void;
  #consumer: Consumer<T> | null = null;
  /** The consumer has a message: it runs, or its promise is awaited. */
  #busy = false;
  #end: End | null = null;

  /** @param limits of one message; as much may wait, too */
  constructor(limits: FrameLimits, wake: () => void) {
    this.#limits = limits;
    this.#wake = wake;
  }

  /** Whether a receive or a consumer would get the next message at once. */
  get wanted(): boolean {
    return this.#receivers.length > 0 || (this.#consumer !== null && !this.#busy);
  }

  /** One more message may wait here. */
  get hasRoom(): boolean {
    const { maxMessageBytes, maxFds } = this.#limits;
    if (this.#messages.length === 0) return true;
    if (this.#messages.length >= MAX_WAITING) return false;
    return this.#bytes < maxMessageBytes && this.#fds <= maxFds;
  }

  /**
   * A message of `bytes` bytes came. A handler that is running gets none before it has returned.
   */
  deliver(message: ChannelMessage<T>, bytes: number): void {
    if (this.#receivers.length > 0) this.#receivers.shift()!.resolve(message);
    else if (this.#consumer === null || this.#busy || this.#messages.length > 0) {
      this.#put({ message, bytes, fds: message.fds.length });
    } else {
      this.#hand(this.#consumer, message);
      if (this.#messages.length > 0) this.#handWaiting();
    }
  }

  #put(waiting: Waiting<T>): void {
    this.#messages.push(waiting);
    this.#bytes += waiting.bytes;
    this.#fds += waiting.fds;
  }

  #next(): ChannelMessage<T> | undefined {
    if (this.#messages.length === 0) return undefined;
    const next = this.#messages.shift()!;
    this.#bytes -= next.bytes;
    this.#fds -= next.fds;
    return next.message;
  }

  receive(signal: AbortSignal | undefined): Promise<ChannelMessage<T> | null> {
    if (signal?.aborted === true) return Promise.reject(signal.reason);
    const here = this.#next();
    if (here !== undefined) {
      this.#wake(); // there is room for one more now, which an answer may stand behind
      return Promise.resolve(here);
    }
    const { promise, resolve, reject } = Promise.withResolvers<ChannelMessage<T> | null>();
    const receiver = { resolve, reject };
    if (this.#end !== null) {
      tell(receiver, this.#end);
      return promise;
    }
    this.#receivers.push(receiver);
    if (signal !== undefined) this.#leaveOnAbort(receiver, signal, promise);
    this.#wake();
    return promise;
  }

  #leaveOnAbort(receiver: Receiver<T>, signal: AbortSignal, promise: Promise<unknown>): void {
    const onAbort = (): void => {
      const at = this.#receivers.indexOf(receiver);
      if (at < 0) return;
      this.#receivers.splice(at, 1);
      receiver.reject(signal.reason);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    const forget = (): void => signal.removeEventListener("abort", onAbort);
    promise.then(forget, forget);
  }

  /** @throws TypeError */
  consume(handler: (message: ChannelMessage<T>) => unknown): Promise<void> {
    if (typeof handler !== "function") throw new TypeError("consume takes a function");
    if (this.#consumer !== null) throw new TypeError("the channel has a consumer already");
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#consumer = { handler, resolve, reject };
    this.#handWaiting();
    this.#settleConsumer();
    this.#wake();
    return promise;
  }

  #hand(consumer: Consumer<T>, message: ChannelMessage<T>): void {
    this.#busy = true;
    try {
      const later = consumer.handler(message);
      if (isPromise(later)) {
        this.#handLater(Promise.resolve(later), message);
        return;
      }
    } catch (error) {
      this.#failConsumer(error);
    }
    this.#busy = false;
    message.close();
    if (this.#end !== null) this.#settleConsumer();
  }

  /** The next message waits for the handler; requests and answers do not. */
  #handLater(later: Promise<unknown>, message: ChannelMessage<T>): void {
    const failed = (error: unknown): void => this.#failConsumer(error);
    later
      .then(() => {}, failed)
      .finally(() => {
        message.close();
        this.#busy = false;
        this.#handWaiting();
        this.#settleConsumer();
        this.#wake();
      });
  }

  #failConsumer(error: unknown): void {
    const consumer = this.#consumer;
    this.#consumer = null;
    consumer?.reject(error);
  }

  #handWaiting(): void {
    while (this.#consumer !== null && !this.#busy) {
      const message = this.#next();
      if (message === undefined) return;
      this.#hand(this.#consumer, message);
    }
  }

  #settleConsumer(): void {
    const consumer = this.#consumer;
    if (consumer === null || this.#busy || this.#end === null) return;
    if (this.#messages.length > 0) return; // they are handed over first
    this.#consumer = null;
    const { reason } = this.#end;
    if (reason === null) consumer.resolve();
    else consumer.reject(reason);
  }

  /** Nothing more will come. Messages that wait can still be received. */
  end(end: End): void {
    this.#end = end;
    for (const receiver of this.#receivers.splice(0)) tell(receiver, end);
    this.#settleConsumer();
  }

  /** Close the messages that were not taken. */
  close(): void {
    for (let one = this.#next(); one !== undefined; one = this.#next()) one.close();
  }
}

function tell<T>({ resolve, reject }: Receiver<T>, { reason, closed }: End): void {
  if (reason !== null) reject(reason);
  else if (closed) reject(closedError("receive"));
  else resolve(null);
}

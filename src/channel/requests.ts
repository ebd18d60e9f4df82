// Requests under way: ours, which wait for answers, and the peer's, which are being served.

import { errno } from "../../native/errno.ts";
import { UnixError } from "../base/errors.ts";
import { clearTimeout, setTimeout } from "../base/timers.ts";
import type { Label, Unsent } from "./batch.ts";
import type { Content } from "./codec.ts";
import { closeFrame, dataOf, type Frame, notAFrame } from "./frames.ts";
import type { ChannelMessage } from "./message.ts";
import type { RequestOptions } from "./options.ts";
import { decodeError } from "./remote-error.ts";
import type { FrameWriter } from "./writer.ts";

/** Settles the caller's promise. */
interface Pending<T> {
  readonly resolve: (answer: ChannelMessage<T>) => void;
  readonly reject: (reason: unknown) => void;
}

interface Asked {
  readonly number: number;
  readonly answer: Promise<unknown>;
  readonly written: Promise<void>;
}

/** What requests need of their channel. */
interface Ways<T> {
  /** Makes a message of an answer's frame. */
  readonly open: (frame: Frame) => ChannelMessage<T>;
  readonly writer: FrameWriter;
  /** Tells the peer that its answer to this request is not wanted any more. */
  readonly cancel: (number: number) => void;
}

const MAX_NUMBER = 0xffff_ffff;

/** Our requests by number. Each is answered once, also one that was cancelled. */
export class Requests<T> implements Unsent {
  readonly #max: number;
  readonly #ways: Ways<T>;
  readonly #pending = new Map<number, Pending<T> | null>();
  #last = 0;

  constructor(max: number, ways: Ways<T>) {
    this.#max = max;
    this.#ways = ways;
  }

  /** Requests that were not answered, those included whose callers have given up. */
  get underWay(): number {
    return this.#pending.size;
  }

  /** Send a request; its answer. */
  ask(encoded: Content, options: RequestOptions): Promise<ChannelMessage<T>> {
    if (this.#pending.size >= this.#max) {
      const hint = `${this.#pending.size} requests are under way, maxRequests is ${this.#max}`;
      return Promise.reject(new UnixError("request", -errno.ENOBUFS, { hint }));
    }
    do this.#last = this.#last === MAX_NUMBER ? 1 : this.#last + 1;
    while (this.#pending.has(this.#last));
    const number = this.#last;
    const answer = new Promise<ChannelMessage<T>>((resolve, reject) => {
      this.#pending.set(number, { resolve, reject });
    });
    const label: Label = { kind: "request", number };
    if (options.signal !== undefined || options.timeoutMs !== undefined) {
      const written = this.#ways.writer.write(label, encoded, options);
      written.catch((error) => this.unsent(number, error));
      this.#limit({ number, answer, written }, options);
      return answer;
    }
    try {
      this.#ways.writer.post(label, encoded, { options, whom: this });
    } catch (error) {
      this.unsent(number, error);
    }
    return answer;
  }

  /** It could not be sent: no answer will come. */
  unsent(number: number, reason: unknown): void {
    const pending = this.#pending.get(number);
    this.#pending.delete(number);
    pending?.reject(reason);
  }

  /** The caller cancels; the number stays in use until the answer has come. */
  #cancel(number: number, reason: unknown): boolean {
    const pending = this.#pending.get(number);
    if (pending === undefined || pending === null) return false;
    this.#pending.set(number, null);
    pending.reject(reason);
    return true;
  }

  /** End the wait when the signal or the time says so. What never went out needs no cancel. */
  #limit({ number, answer, written }: Asked, { signal, timeoutMs }: RequestOptions): void {
    const tell = (): void => this.#ways.cancel(number);
    const cancel = (reason: unknown): void => {
      if (this.#cancel(number, reason)) written.then(tell, () => {});
    };
    const late = (): void => {
      const hint = `no answer within ${timeoutMs} ms`;
      cancel(new UnixError("request", -errno.ETIMEDOUT, { hint }));
    };
    const timer = timeoutMs === undefined ? undefined : setTimeout(late, timeoutMs);
    const onAbort = (): void => cancel(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    const forget = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    };
    answer.then(forget, forget);
  }

  /**
   * An answer or an error came. @throws UnixError EPROTO (there was no such request, or it is no
   * error)
   */
  answered(frame: Frame): void {
    const pending = this.#pending.get(frame.number);
    if (pending === undefined) {
      closeFrame(frame);
      throw notAFrame("an answer came without a request");
    }
    this.#pending.delete(frame.number);
    if (pending === null) {
      closeFrame(frame);
      return;
    }
    if (frame.kind === "answer") {
      this.#resolve(pending, frame);
      return;
    }
    closeFrame(frame);
    const error = decodeError(dataOf(frame));
    pending.reject(error ?? notAFrame("the peer's error is no error"));
    if (error === null) throw notAFrame("the peer's error is no error");
  }

  #resolve({ resolve, reject }: Pending<T>, frame: Frame): void {
    let message: ChannelMessage<T>;
    try {
      message = this.#ways.open(frame);
    } catch (error) {
      reject(error);
      throw error;
    }
    resolve(message);
  }

  /** The channel has ended: nothing will be answered. */
  fail(reason: unknown): void {
    for (const pending of this.#pending.values()) pending?.reject(reason);
    this.#pending.clear();
  }
}

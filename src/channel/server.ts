// The peer's requests, while they are being served.

import type { FdLike } from "../fd/fd.ts";
import { isPromise } from "../loop/consume.ts";
import { notAFrame } from "./frames.ts";
import type { ChannelMessage } from "./message.ts";

/** Answers a request: with what it returns, or with an error, if it throws. */
export type RequestHandler<In, Out> = (
  request: ChannelMessage<In>,
  context: RequestContext,
) => Out | Reply<Out> | undefined | Promise<Out | Reply<Out> | undefined>;

/** What a handler of requests gets beside the request. */
export class RequestContext {
  #controller: AbortController | null = null;
  #cancelled: { readonly reason: unknown } | null = null;

  /**
   * Aborted when the peer cancels the request, or the channel ends: the answer will not be read.
   */
  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.#cancelled !== null) this.#controller.abort(this.#cancelled.reason);
    }
    return this.#controller.signal;
  }

  /**
   * An answer with options, for the handler to return: further descriptors, or `transfer`, which
   * closes all of the answer's descriptors here once the kernel has them, or will not get them.
   */
  reply<T>(value: T, options: ReplyOptions = {}): Reply<T> {
    return new Reply(value, options);
  }

  /** @internal */
  cancel(reason: unknown): void {
    this.#cancelled ??= { reason };
    this.#controller?.abort(reason);
  }
}

/** How an answer's descriptors are sent. */
export interface ReplyOptions {
  /** Descriptors beside those in the value. */
  readonly fds?: readonly FdLike[] | undefined;
  /** Close them here, whether the kernel took them or the channel has ended. */
  readonly transfer?: boolean | undefined;
}

/** An answer and how it is to be sent. */
export class Reply<T> {
  /** The answer. */
  readonly value: T;
  /** How its descriptors are sent. */
  readonly options: ReplyOptions;

  /** @internal */
  constructor(value: T, options: ReplyOptions) {
    this.value = value;
    this.options = options;
  }
}

/** Sends answers; a promise if one has to wait for room. Never throws or rejects. */
export interface Answering {
  answer(number: number, value: unknown, options: ReplyOptions): Promise<void> | undefined;
  fail(number: number, error: unknown): Promise<void> | undefined;
}

const NO_OPTIONS: ReplyOptions = {};

/** Requests of the peer that are being served. */
export class Server<T> {
  readonly #handler: RequestHandler<T, unknown>;
  readonly #max: number;
  readonly #answering: Answering;
  readonly #contexts = new Map<number, RequestContext>();
  /** Answers that wait for the peer to read: they hold memory, and perhaps descriptors. */
  #unread = 0;

  constructor(handler: RequestHandler<T, unknown>, max: number, answering: Answering) {
    this.#handler = handler;
    this.#max = max;
    this.#answering = answering;
  }

  /** Have one request answered. @throws UnixError EPROTO: its number is under way already */
  serve(number: number, request: ChannelMessage<T>): void {
    if (this.#contexts.has(number)) {
      request.close();
      throw notAFrame("a request's number is under way already");
    }
    if (this.#contexts.size + this.#unread >= this.#max) {
      request.close();
      const error = { message: "too many requests are under way", code: "EBUSY" };
      void this.#answering.fail(number, error);
      return;
    }
    const context = new RequestContext();
    this.#contexts.set(number, context);
    let result: unknown;
    try {
      result = this.#handler(request, context);
    } catch (error) {
      this.#answered("error", number, { request, result: error });
      return;
    }
    if (!isPromise(result)) {
      this.#answered("answer", number, { request, result });
      return;
    }
    Promise.resolve(result).then(
      (value) => this.#answered("answer", number, { request, result: value }),
      (error) => this.#answered("error", number, { request, result: error }),
    );
  }

  #answered(
    kind: "answer" | "error",
    number: number,
    { request, result }: { readonly request: ChannelMessage<T>; readonly result: unknown },
  ): void {
    this.#contexts.delete(number);
    const later =
      kind === "error" ? this.#answering.fail(number, result) : this.#send(number, result);
    request.close();
    if (later === undefined) return;
    this.#unread++;
    void later.then(() => void this.#unread--);
  }

  #send(number: number, result: unknown): Promise<void> | undefined {
    if (!(result instanceof Reply)) return this.#answering.answer(number, result, NO_OPTIONS);
    return this.#answering.answer(number, result.value, result.options);
  }

  /** The peer gives up. An unknown number was answered while the word was on its way. */
  cancel(number: number): void {
    const reason = new DOMException("the peer has cancelled the request", "AbortError");
    this.#contexts.get(number)?.cancel(reason);
  }

  /** The answers will not be read. */
  end(reason: unknown): void {
    for (const context of this.#contexts.values()) context.cancel(reason);
  }
}

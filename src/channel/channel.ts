// Whole messages over a connected socket, with descriptors in them; requests and answers.

import { errno } from "../../native/errno.ts";
import { integer } from "../base/checks.ts";
import type { Abortable } from "../base/deadline.ts";
import { closedError, UnixError } from "../base/errors.ts";
import { iterate } from "../base/iterate.ts";
import type { SeqpacketSocket } from "../socket/seqpacket.ts";
import type { StreamSocket } from "../socket/stream.ts";
import type { FrameCodec } from "./codec.ts";
import { closeFrame, type Frame, notAFrame } from "./frames.ts";
import { type End, Inbox } from "./inbox.ts";
import { Intake, type Taker } from "./intake.ts";
import { ChannelMessage } from "./message.ts";
import {
  type ChannelOptions,
  type ChannelSendOptions,
  type RequestOptions,
  settingsOf,
} from "./options.ts";
import { hungUp, isPeerGone } from "./peer-gone.ts";
import { Requests } from "./requests.ts";
import { Sender } from "./sender.ts";
import { type RequestHandler, Server } from "./server.ts";
import { FrameWriter } from "./writer.ts";

const NO_OPTIONS: ChannelSendOptions = {};

/**
 * Whole messages over a connected socket, which the channel owns. Made by {@link openChannel}.
 *
 * Messages come in the order they were sent, and each descriptor with its message. Reading follows
 * demand: without a receive, a consumer, a handler or a request that waits, nothing is read, and
 * the peer's sends wait.
 */
export class Channel<In = unknown, Out = unknown> implements Disposable, AsyncDisposable {
  /** The socket underneath: for its peer, its address. Do not send or receive on it. */
  readonly socket: StreamSocket | SeqpacketSocket;
  readonly #codec: FrameCodec<In, Out>;
  readonly #intake: Intake;
  readonly #writer: FrameWriter;
  readonly #sender: Sender<Out>;
  readonly #requests: Requests<In>;
  readonly #inbox: Inbox<In>;
  readonly #maxRequests: number;
  #server: Server<In> | null = null;
  /** Settles the promise of `serve` at the end. */
  #tellServer: ((end: End) => void) | null = null;
  #end: End | null = null;
  #broken: unknown = null;

  /** @internal */
  constructor(socket: StreamSocket | SeqpacketSocket, options: ChannelOptions<In, Out>) {
    const { codec, limits, maxRequests } = settingsOf(options);
    this.#codec = codec;
    this.socket = socket;
    this.#inbox = new Inbox<In>(limits, () => this.#intake.wake());
    this.#intake = new Intake(socket, limits, this.#taker());
    this.#writer = new FrameWriter(socket, (reason) => {
      if (!socket.closed && !isPeerGone(reason, socket.fd)) this.#break(reason);
    });
    this.#sender = new Sender<Out>(codec, this.#writer, (reason) => this.#lost(reason));
    this.#requests = new Requests(maxRequests, {
      open: (frame) => this.#open(frame),
      writer: this.#writer,
      cancel: (number) => this.#sender.cancel(number),
    });
    this.#maxRequests = maxRequests;
    socket.onClose(() => this.#socketClosed());
  }

  #taker(): Taker {
    return {
      wanted: () => this.#wanted,
      take: (frame) => this.#dispatch(frame),
      finish: (reason = null) => this.#finish(reason),
    };
  }

  /** The descriptor's number, borrowed; −1 once closed. */
  get fd(): number {
    return this.socket.fd;
  }

  /** True once this side has closed it, or it broke. */
  get closed(): boolean {
    return this.socket.closed;
  }

  /** Bytes that wait in this process to be sent. */
  get queuedBytes(): number {
    return this.#writer.queuedBytes;
  }

  /**
   * Send a value; resolves when the kernel has all of it. A signal drops a message that has not
   * begun; one that has begun is sent whole. Descriptors stay the caller's, unless `transfer`.
   * Short messages without any that are sent in a row, no `await` between them, go out together,
   * and are told together: the fastest way to send many. The first one goes at once, the others
   * when the turn of Bun's loop ends, also if the process exits in it.
   *
   * @throws TypeError (the codec cannot encode it); UnixError EPIPE, ENOBUFS, ERR_CLOSED
   */
  send(value: Out, options: ChannelSendOptions = NO_OPTIONS): Promise<void> {
    return this.#sender.send(value, options);
  }

  /** Send a value at once if there is room; false: nothing was sent. @throws as {@link send} */
  trySend(value: Out, options: ChannelSendOptions = NO_OPTIONS): boolean {
    return this.#sender.trySend(value, options);
  }

  /**
   * The next message; null when the peer has ended. Requests do not come here: see {@link serve}.
   *
   * @throws UnixError EPROTO (what came is no channel's frame), EMSGSIZE (over a limit), EMFILE
   *   (descriptors were lost), ECONNRESET, ERR_CLOSED; the signal's reason
   */
  receive({ signal }: Abortable = {}): Promise<ChannelMessage<In> | null> {
    return this.#inbox.receive(signal);
  }

  /** Messages until the peer ends. Leaving the loop does not close the channel. */
  [Symbol.asyncIterator](): AsyncIterableIterator<ChannelMessage<In>> {
    return iterate(() => this.receive());
  }

  /**
   * Call `handler` with each message until the peer ends or this channel is closed: the fastest way
   * to receive. The next message waits for a promise that the handler returns; descriptors that it
   * did not take by then are closed.
   *
   * @throws what the handler throws, as {@link receive} does; TypeError (there is a consumer)
   */
  consume(handler: (message: ChannelMessage<In>) => unknown): Promise<void> {
    return this.#inbox.consume(handler);
  }

  /**
   * Send a request and wait for its answer, a message that is yours to close. Many may be under
   * way, in both directions; answers come in any order. A signal or the time limit ends the wait
   * and tells the peer. If messages come that are not received, reading stops after a few, and
   * answers behind them wait.
   *
   * @throws RemoteError (the peer's handler failed); UnixError ETIMEDOUT, ENOBUFS (`maxRequests`),
   *   ECONNRESET (the channel ended first), and as {@link send}; the signal's reason
   */
  request(value: Out, options: RequestOptions = NO_OPTIONS): Promise<ChannelMessage<In>> {
    const { signal, timeoutMs } = options;
    if (timeoutMs !== undefined) integer("timeoutMs", timeoutMs);
    const encoded = this.#sender.encode(value, options);
    if (signal?.aborted === true) return Promise.reject(signal.reason);
    if (this.#end !== null || this.closed) return Promise.reject(this.#gone());
    const answer = this.#requests.ask(encoded, options);
    this.#intake.wake();
    return answer;
  }

  /**
   * Answer the peer's requests, many at once, until the peer ends or this channel is closed. What
   * `handler` throws goes to the peer as an error with its `message` and `code`. A request's
   * descriptors are closed when it has been answered, if the handler did not take them. Call it
   * before anything that reads: requests that come without a handler are answered with ENOSYS, and
   * those beyond `maxRequests` with EBUSY.
   *
   * @throws as {@link receive}; TypeError (it is served already)
   */
  serve(handler: RequestHandler<In, Out>): Promise<void> {
    if (typeof handler !== "function") throw new TypeError("serve takes a function");
    if (this.#server !== null) throw new TypeError("the channel is served already");
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#tellServer = ({ reason }) => (reason === null ? resolve() : reject(reason));
    this.#server = new Server(
      handler as RequestHandler<In, unknown>,
      this.#maxRequests,
      this.#sender,
    );
    if (this.#end !== null) this.#tellServer(this.#end);
    else this.#intake.wake();
    return promise;
  }

  /** Whether something waits for what comes. */
  get #wanted(): boolean {
    if (this.#inbox.wanted) return true;
    return (this.#server !== null || this.#requests.underWay > 0) && this.#inbox.hasRoom;
  }

  #dispatch(frame: Frame): void {
    if (frame.kind === "message") this.#inbox.deliver(this.#open(frame), frame.bytes);
    else if (frame.kind === "request") this.#serveOne(frame);
    else if (frame.kind === "cancel") {
      closeFrame(frame);
      this.#server?.cancel(frame.number);
    } else this.#requests.answered(frame);
  }

  #serveOne(frame: Frame): void {
    if (this.#server !== null) {
      this.#server.serve(frame.number, this.#open(frame));
      return;
    }
    closeFrame(frame);
    const error = { message: "requests are not served here", code: "ENOSYS" };
    void this.#sender.fail(frame.number, error);
  }

  #open(frame: Frame): ChannelMessage<In> {
    const { fds, credentials } = frame;
    try {
      return new ChannelMessage(this.#codec.open(frame), fds, credentials);
    } catch (error) {
      for (const fd of fds) fd.close();
      throw error ?? notAFrame("the codec cannot decode a message");
    }
  }

  /** A message without a promise could not be sent. */
  #lost(reason: unknown): void {
    if (!this.closed && !this.#writer.ended && !isPeerGone(reason, this.fd)) this.#break(reason);
  }

  #gone(): UnixError {
    if (this.closed && this.#broken === null) return closedError("request");
    const hint = "the channel has ended: the request was not answered";
    return new UnixError("request", -errno.ECONNRESET, { hint, cause: this.#broken });
  }

  /** Nothing can be sent or read any more. */
  #break(reason: unknown): void {
    this.#broken ??= reason;
    this.socket.close();
  }

  /** The peer has ended, this channel is closed, or what came is wrong. */
  #finish(error: unknown): void {
    const cut = this.#intake.partial && !this.closed;
    this.#intake.close();
    const reason = this.#broken ?? error ?? (cut ? notAFrame("the peer ended in a message") : null);
    if (reason !== null) this.#break(reason);
    this.#end = { reason, closed: this.closed };
    this.#requests.fail(this.#gone());
    if (this.closed) this.#server?.end(reason ?? closedError("channel"));
    else if (hungUp(this.fd)) this.#server?.end(this.#gone());
    this.#inbox.end(this.#end);
    this.#tellServer?.(this.#end);
  }

  /** Keep the process alive while something waits here. The default. */
  ref(): this {
    this.socket.ref();
    return this;
  }

  /** Do not keep the process alive for this channel. */
  unref(): this {
    this.socket.unref();
    return this;
  }

  /** Close at once: what waits gets ERR_CLOSED, messages that were not taken are closed. */
  close(): void {
    this.#writer.flush();
    this.socket.close();
    this.#inbox.close();
  }

  /**
   * Closed by this channel, or by other code that has the socket. What waits for the next message
   * ends.
   */
  #socketClosed(): void {
    if (this.#broken === null) this.#inbox.close();
    if (!this.#intake.started) this.#finish(null);
    this.#intake.close();
  }

  /**
   * Half-close: the peer reads what was sent before, then the end. Receiving goes on, and requests
   * that wait get their answers. What is sent later fails with EPIPE, answers included.
   * @see shutdown(2)
   */
  end(): void {
    this.#writer.end();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Close once what waits to be sent is out. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.idle();
    this.close();
  }
}

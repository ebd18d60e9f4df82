// node:http servers on a listener of ours: they get each admitted connection.

import type { TlsOptions } from "node:tls";
import { Backoff } from "../base/backoff.ts";
import { sleep } from "../base/deadline.ts";
import { closedError, UnsupportedError } from "../base/errors.ts";
import { now, setImmediate } from "../base/timers.ts";
import { Listener } from "../listener/listener.ts";
import type { StreamSocket } from "../socket/stream.ts";
import { remaining } from "../syscalls/clock.ts";
import { BunIntake } from "./bun-intake.ts";
import { bunReportsAccepts, whyNotBun } from "./bun-probe.ts";
import type { Intake, ServedConnection } from "./connection-types.ts";
import { whyNoServing } from "./probe.ts";
import { type AnyHttpServer, type AnyServer, type Kind, kindOf } from "./server-kinds.ts";
import type { ServiceView } from "./service-view.ts";
import { StreamIntake } from "./stream-intake.ts";
import { limitsOf, Sweep, timeOut } from "./timeouts.ts";

/** How to serve. Whom to admit, and how many, are options of `listen`. */
export interface ServeHttpOptions {
  /**
   * For a server of node:https: its certificate and the like, as createServer of node:tls takes
   * them. Default: what the server was created with.
   */
  readonly tls?: TlsOptions | undefined;
  /**
   * Who accepts. "bun": Bun itself, which parses with the parser of its own servers, twice as
   * fast; this library asks the rules as soon as Bun has accepted a client. `request.socket`
   * is then what a server of node:http has without this library. "bunix": this library;
   * `request.socket` is a `DescriptorDuplex`, whose `socket` is the `StreamSocket`.
   *
   * Default "bun" for a server of node:http, if that works and Linux refuses descriptors that
   * clients send (6.16); else "bunix". If "bun" does not work here, or Bun would not keep the
   * `Listener`'s socket options, it is "bunix": `acceptedBy` tells.
   */
  readonly acceptBy?: "bun" | "bunix" | undefined;
}

/** How to drain a service. */
export interface DrainHttpOptions {
  /** Close what is still open after so many milliseconds. Default: never. */
  readonly timeoutMs?: number | undefined;
  /** Close it when it is aborted. */
  readonly signal?: AbortSignal | undefined;
}

const PAUSES = { first: 1, max: 100 } as const;

/** Gives a listener's connections to an HTTP server. Made by {@link serveHttp}. */
export class HttpService implements Disposable, AsyncDisposable {
  readonly #listener: Listener<StreamSocket>;
  readonly #server: AnyServer;
  readonly #open = new Set<ServedConnection>();
  readonly #sweep: Sweep;
  /** null: it is being tried whether Bun can accept; connections wait in the backlog. */
  #intake: Intake | null = null;
  #closed = false;
  #draining = false;
  #referenced = true;
  #warned = false;

  /** @internal */
  constructor(listener: Listener<StreamSocket>, server: AnyServer, options: ServeHttpOptions) {
    this.#listener = listener;
    this.#server = server;
    this.#sweep = new Sweep(
      (now) => this.#sweepAll(now),
      () => limitsOf(this.#server),
    );
    const service = this.#service(kindOf(server));
    const ownIntake = (): Intake => new StreamIntake(service, options.tls, () => this.#open.size);
    if (whyNotBun(service, options) !== null) this.#intake = ownIntake();
    else this.#begin(service, ownIntake);
  }

  #service(kind: Kind): ServiceView {
    const { rules } = this.#listener.terms;
    const isFull = (): boolean => this.#full || rules.full;
    const isDraining = (): boolean => this.#draining;
    return {
      listener: this.#listener,
      server: this.#server,
      kind,
      get full(): boolean {
        return isFull();
      },
      enter: (connection) => this.#enter(connection),
      ended: (connection) => this.#ended(connection),
      requested: (answer) => {
        const headers = answer as { setHeader?(name: string, value: string): unknown } | undefined;
        if (isDraining()) headers?.setHeader?.("Connection", "close");
      },
      warn: (text) => this.#warn(text),
      uncaught,
    };
  }

  /** Bun accepts if that works: it is tried once in a process. */
  #begin(service: ServiceView, ownIntake: () => Intake): void {
    const start = (works: boolean): void => {
      if (this.#closed || this.#listener.closed) return;
      try {
        this.#intake = works ? new BunIntake(service) : ownIntake();
      } catch {
        this.#intake = ownIntake();
      }
      if (!this.#referenced) this.unref();
    };
    const known = bunReportsAccepts();
    if (typeof known === "boolean") start(known);
    else void known.then(start);
  }

  /**
   * Who accepts and parses: Bun itself, or this library (see `acceptBy`). null: it is being tried
   * whether Bun can, for a moment, and once in a process.
   */
  get acceptedBy(): "bun" | "bunix" | null {
    return this.#intake?.by ?? null;
  }

  /** Connections that are open, upgraded ones too. */
  get connections(): number {
    return this.#open.size;
  }

  /** True once it is closed, or drained. */
  get closed(): boolean {
    return this.#closed;
  }

  /** True from `drain()` on. */
  get draining(): boolean {
    return this.#draining;
  }

  /** Keep the process alive while it accepts. The default. */
  ref(): this {
    this.#referenced = true;
    this.#intake?.reference(true);
    return this;
  }

  /** Do not keep the process alive for the listener; connections that are open do. */
  unref(): this {
    this.#referenced = false;
    this.#intake?.reference(false);
    return this;
  }

  #warn(text: string): void {
    if (this.#warned) return;
    this.#warned = true;
    process.emitWarning(`serveHttp: ${text}`, { type: "AcceptWarning" });
  }

  #enter(connection: ServedConnection): void {
    this.#open.add(connection);
    this.#sweep.start();
  }

  get #full(): boolean {
    const { maxConnections } = this.#server;
    return typeof maxConnections === "number" && this.#open.size >= Math.max(maxConnections, 1);
  }

  #ended(connection: ServedConnection): void {
    if (!this.#open.delete(connection)) return;
    this.#intake?.onRoom();
    if (this.#closed && this.#open.size === 0) this.#intake?.end();
  }

  /** Keep the limits that Bun does not keep. Whether there are connections. */
  #sweepAll(now: number): boolean {
    const limits = limitsOf(this.#server);
    for (const connection of this.#open) {
      if (connection.timedOut) connection.destroy();
      else {
        const overdue = connection.overdue(now, limits);
        if (overdue === "late") timeOut(connection, this.#server);
        else if (overdue === "idle" && connection.session !== null) connection.session.close();
        else if (overdue === "idle") connection.destroy();
      }
    }
    return this.#open.size > 0;
  }

  /**
   * Accept nothing more, close the listener, and close all connections at once. Never throws. The
   * server itself goes on: what it listens on itself stays open.
   */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#listener.close();
    this.#sweep.stop();
    for (const connection of this.#open) connection.destroy();
    this.#intake?.close();
    if (this.#open.size === 0) this.#intake?.end();
  }

  /**
   * Close the listener, and finish requests that are being received or answered: each answer says
   * `Connection: close`. An idle connection is closed at once, and no request is lost: one that
   * comes meanwhile is answered, or its client gets EPIPE because it was not read. WebSockets and
   * other upgraded connections are waited for: close those yourself. An HTTP/2 session gets GOAWAY,
   * and is waited for.
   *
   * @returns when all connections are closed
   * @throws RangeError, TypeError
   */
  async drain(options: DrainHttpOptions = {}): Promise<void> {
    const left = remaining(options.timeoutMs);
    if (this.#closed) return;
    this.#draining = true;
    this.#listener.close();
    this.#intake?.stop();
    const pauses = new Backoff(PAUSES);
    try {
      for (;;) {
        for (const connection of this.#open) this.#finish(connection);
        if (this.#open.size === 0) return;
        if (options.signal?.aborted === true || left() === 0) return;
        await sleep(pauses.next(left()), options.signal).catch(() => {});
      }
    } finally {
      this.close();
    }
  }

  #finish(connection: ServedConnection): void {
    const activity = connection.activity(now());
    const answer = connection.http?._httpMessage;
    if (connection.session !== null) connection.session.close();
    else if (activity === "idle" || connection.nothingRead) connection.stopReading();
    else if (activity === "answering" && answer?.headersSent === false) {
      answer.setHeader("Connection", "close");
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** As `drain()`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.drain();
  }
}

function uncaught(error: unknown): void {
  setImmediate(() => {
    throw error;
  });
}

/**
 * Give each connection that `listener` admits to an HTTP server, which then need not listen itself:
 * `callerOf` tells its handlers who calls. The service owns the listener from now on.
 *
 * The rules are the listener's: `allow`, and on an abstract name this process's own user. At its
 * `maxConnections`, or the server's, clients wait in the backlog. What `allow` or a listener of an
 * event throws is an uncaught exception, and the next client is served.
 *
 * `keepAliveTimeout`, `headersTimeout`, `requestTimeout`, `timeout` and `getConnections` of the
 * server hold; limits that Bun does not keep for such connections are checked within a second, or a
 * quarter of the shortest one. A server of HTTP/2 has none of these but `timeout`; if it has a
 * `keepAliveTimeout` (set it; 5 s with `allowHTTP1`), a session without a stream for that time gets
 * GOAWAY. `closeIdleConnections` and `closeAllConnections` are Bun's own and work; `close` is for
 * what the server listens on itself, so use the service's. A client that half-closes gets no answer
 * that was not sent yet, as in Node, unless the server's `httpAllowHalfOpen` is set.
 *
 * @throws TypeError for another kind of listener or server; UnixError ERR_CLOSED
 * @throws UnsupportedError if node:http does not serve such connections: Bun 1.3
 */
export function serveHttp(
  listener: Listener,
  server: AnyHttpServer,
  options: ServeHttpOptions = {},
): HttpService {
  if (!(listener instanceof Listener) || listener.type !== "stream") {
    throw new TypeError('serveHttp takes a Listener of type "stream"');
  }
  if (listener.closed) throw closedError("accept");
  kindOf(server);
  const { acceptBy } = options;
  if (acceptBy !== undefined && acceptBy !== "bun" && acceptBy !== "bunix") {
    throw new TypeError('acceptBy is "bun" or "bunix"');
  }
  const why = whyNoServing();
  if (why !== null) throw new UnsupportedError("serveHttp", why);
  return new HttpService(
    listener as Listener<StreamSocket>,
    server as unknown as AnyServer,
    options,
  );
}

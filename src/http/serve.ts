// node:http servers on a listener of ours: each admitted connection becomes theirs.

import type { TlsOptions } from "node:tls";
import { Backoff } from "../base/backoff.ts";
import { remaining, sleep } from "../base/deadline.ts";
import { closedError, UnsupportedError } from "../base/errors.ts";
import { Listener } from "../listener/listener.ts";
import type { StreamSocket } from "../socket/stream.ts";
import { BunIntake } from "./bun-intake.ts";
import { bunTells, whyNotBun } from "./bun-probe.ts";
import type { Hall } from "./hall.ts";
import { type AnyHttpServer, type AnyServer, type Kind, kindOf } from "./kinds.ts";
import { whyNoServing } from "./probe.ts";
import type { Intake, Served } from "./served.ts";
import { StreamIntake } from "./stream-intake.ts";
import { giveUp, limitsOf, Sweep } from "./timeouts.ts";

/** How to serve. Who may come in, and how many, are options of `listen`. */
export interface ServeHttpOptions {
  /**
   * For a server of node:https: its certificate and the like, as createServer of node:tls takes
   * them. Default: what the server was created with.
   */
  readonly tls?: TlsOptions | undefined;
  /**
   * Who accepts. "bun": Bun itself, which parses with the parser of its own servers, twice as
   * fast; this side looks who it is in the moment in which somebody was accepted. `request.socket`
   * is then what a server of node:http has without this library. "bunix": this library;
   * `request.socket` is a `DescriptorDuplex`, whose `socket` is the `StreamSocket`.
   *
   * Default "bun" for a server of node:http, where that works and Linux refuses descriptors that
   * clients send (6.16); else "bunix". So it is with a `Listener` whose socket options Bun would
   * not keep. "bun" that cannot be is "bunix": `acceptedBy` tells.
   */
  readonly acceptBy?: "bun" | "bunix" | undefined;
}

/** How to let a service go. */
export interface DrainHttpOptions {
  /** Cut off what is still going on after so many milliseconds. Default: never. */
  readonly timeoutMs?: number | undefined;
  /** Cut it off at once. */
  readonly signal?: AbortSignal | undefined;
}

const LOOKS = { first: 1, max: 100 } as const;

/** Connections from a listener to an HTTP server. Made by {@link serveHttp}. */
export class HttpService implements Disposable, AsyncDisposable {
  readonly #listener: Listener<StreamSocket>;
  readonly #server: AnyServer;
  readonly #open = new Set<Served>();
  readonly #sweep: Sweep;
  /** null: it is not known yet who accepts; connections wait. */
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
      (now) => this.#look(now),
      () => limitsOf(this.#server),
    );
    const hall = this.#hall(kindOf(server));
    const here = (): Intake => new StreamIntake(hall, options.tls, () => this.#open.size);
    if (whyNotBun(hall, options) !== null) this.#intake = here();
    else this.#begin(hall, here);
  }

  #hall(kind: Kind): Hall {
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
      gone: (connection) => this.#gone(connection),
      requested: (answer) => {
        const headers = answer as { setHeader?(name: string, value: string): unknown } | undefined;
        if (isDraining()) headers?.setHeader?.("Connection", "close");
      },
      warn: (text) => this.#warn(text),
      uncaught,
    };
  }

  /** Bun accepts, where that works: it is tried once. */
  #begin(hall: Hall, here: () => Intake): void {
    const start = (works: boolean): void => {
      if (this.#closed || this.#listener.closed) return;
      try {
        this.#intake = works ? new BunIntake(hall) : here();
      } catch {
        this.#intake = here();
      }
      if (!this.#referenced) this.unref();
    };
    const known = bunTells();
    if (typeof known === "boolean") start(known);
    else void known.then(start);
  }

  /**
   * Who accepts and parses: Bun itself, or this library (see `acceptBy`). null: that is being
   * tried, for a moment, and once in a process.
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

  #enter(connection: Served): void {
    this.#open.add(connection);
    this.#sweep.start();
  }

  get #full(): boolean {
    const { maxConnections } = this.#server;
    return typeof maxConnections === "number" && this.#open.size >= Math.max(maxConnections, 1);
  }

  #gone(connection: Served): void {
    if (!this.#open.delete(connection)) return;
    this.#intake?.room();
    if (this.#closed && this.#open.size === 0) this.#intake?.end();
  }

  /** What Bun does not do for connections. Whether there are any. */
  #look(now: number): boolean {
    const limits = limitsOf(this.#server);
    for (const connection of this.#open) {
      if (connection.late) connection.destroy();
      else {
        const overdue = connection.overdue(now, limits);
        if (overdue === "late") giveUp(connection, this.#server);
        else if (overdue === "idle" && connection.session !== null) connection.session.close();
        else if (overdue === "idle") connection.destroy();
      }
    }
    return this.#open.size > 0;
  }

  /**
   * Accept nothing more, close the listener, and close all connections at once. Never throws. The
   * server stays as it was: what it listens on itself goes on.
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
   * Close the listener, and let requests that are being made or answered go on: each answer says
   * `Connection: close`. A connection without one is closed at once, so that no request is lost:
   * one that comes meanwhile is answered, or its client is told (EPIPE) that it was not read.
   * WebSockets and other upgraded connections are waited for: close those yourself. A session of
   * HTTP/2 is told to go, and waited for.
   *
   * @returns when nothing of it is left
   * @throws RangeError, TypeError
   */
  async drain(options: DrainHttpOptions = {}): Promise<void> {
    const left = remaining(options.timeoutMs);
    if (this.#closed) return;
    this.#draining = true;
    this.#listener.close();
    this.#intake?.stop();
    const pauses = new Backoff(LOOKS);
    try {
      for (;;) {
        for (const connection of this.#open) this.#letGo(connection);
        if (this.#open.size === 0) return;
        if (options.signal?.aborted === true || left() === 0) return;
        await sleep(pauses.next(left()), options.signal).catch(() => {});
      }
    } finally {
      this.close();
    }
  }

  #letGo(connection: Served): void {
    const doing = connection.look(performance.now());
    const answer = connection.http?._httpMessage;
    if (connection.session !== null) connection.session.close();
    else if (doing === "idle" || connection.untouched) connection.deafen();
    else if (doing === "answering" && answer?.headersSent === false) {
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
 * `callerOf` tells its handlers who calls. The listener is the service's from now on.
 *
 * The rules are the listener's: `allow`, and on an abstract name this process's own user;
 * `maxConnections`, and the server's own, are not passed by: who comes then waits in the backlog.
 * What `allow` or a listener of an event throws is an uncaught exception, and the next is served.
 *
 * `keepAliveTimeout`, `headersTimeout`, `requestTimeout`, `timeout` and `getConnections` of the
 * server hold; those that Bun does not keep for such connections are looked at within a second, or
 * a quarter of the shortest. A server of HTTP/2 has none of these but `timeout`; where it has a
 * `keepAliveTimeout` (set it; 5 s with `allowHTTP1`), a session that is so long without a stream is
 * told to go. `closeIdleConnections` and `closeAllConnections` are Bun's own and
 * work; `close` is for what the server listens on itself, so use the service's. A client that
 * half-closes gets no answer that is not there yet, as ever in Node, unless the server's
 * `httpAllowHalfOpen` is set.
 *
 * @throws TypeError for another kind of listener or server; UnixError ERR_CLOSED
 * @throws UnsupportedError where node:http does not serve such connections: Bun 1.3
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

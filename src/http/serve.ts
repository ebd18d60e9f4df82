// node:http servers on a listener of ours: each admitted connection becomes theirs.

import type { TlsOptions } from "node:tls";
import { Backoff } from "../base/backoff.ts";
import { remaining, sleep } from "../base/deadline.ts";
import { closedError, UnixError, UnsupportedError } from "../base/errors.ts";
import { Listener } from "../listener/listener.ts";
import type { StreamSocket } from "../socket/stream.ts";
import { type Caller, callerBelow, mark, markOn } from "./caller.ts";
import { Connection, type Session } from "./connection.ts";
import { countToo } from "./counted.ts";
import { type AnyHttpServer, type AnyServer, type Kind, kindOf, terminator } from "./kinds.ts";
import { type HttpStream, whyNoServing } from "./probe.ts";
import { giveUp, limitsOf, onTimeout, Sweep } from "./timeouts.ts";

/** How to serve. Who may come in, and how many, are options of `listen`. */
export interface ServeHttpOptions {
  /**
   * For a server of node:https: its certificate and the like, as createServer of node:tls takes
   * them. Default: what the server was created with.
   */
  readonly tls?: TlsOptions | undefined;
}

/** How to let a service go. */
export interface DrainHttpOptions {
  /** Cut off what is still going on after so many milliseconds. Default: never. */
  readonly timeoutMs?: number | undefined;
  /** Cut it off at once. */
  readonly signal?: AbortSignal | undefined;
}

const PAUSE_MS = 5;
const LOOKS = { first: 1, max: 100 } as const;

/** Connections from a listener to an HTTP server. Made by {@link serveHttp}. */
export class HttpService implements Disposable, AsyncDisposable {
  readonly #listener: Listener<StreamSocket>;
  readonly #server: AnyServer;
  readonly #kind: Kind;
  readonly #open = new Set<Connection>();
  readonly #byCaller = new WeakMap<Caller, Connection>();
  readonly #front: { emit(event: string, stream: unknown): unknown };
  readonly #sweep: Sweep;
  readonly #undo: (() => void)[] = [];
  #closed = false;
  #draining = false;
  /** Lets the next connection in. */
  #room: (() => void) | null = null;
  #warned = false;

  /** @internal */
  constructor(listener: Listener<StreamSocket>, server: AnyServer, options: ServeHttpOptions) {
    this.#listener = listener;
    this.#server = server;
    this.#kind = kindOf(server);
    const secured = (stream: HttpStream): void => this.#secured(stream);
    this.#front = this.#kind === "https" ? terminator(server, options.tls, secured) : this.#server;
    if (this.#kind === "http2s") this.#listen("secureConnection", secured);
    if (this.#kind.startsWith("http2")) {
      this.#listen("session", (session: Session & { readonly socket: unknown }) => {
        const connection = this.#connectionOf(session.socket);
        if (connection !== undefined) connection.session = session;
      });
    }
    this.#undo.push(countToo(server, () => this.#open.size));
    this.#sweep = new Sweep(
      (now) => this.#look(now),
      () => limitsOf(this.#server),
    );
    this.#accept();
  }

  #listen(event: string, listener: (...args: never[]) => void): void {
    this.#server.prependListener(event, listener);
    this.#undo.push(() => this.#server.removeListener(event, listener));
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
    this.#listener.ref();
    return this;
  }

  /** Do not keep the process alive for the listener; connections that are open do. */
  unref(): this {
    this.#listener.unref();
    return this;
  }

  #accept(): void {
    this.#listener
      .consume((socket) => this.#welcome(socket))
      .then(undefined, (error: unknown) => {
        if (this.#closed || this.#listener.closed) return;
        if (error instanceof UnixError) {
          this.#warn(`a connection could not be accepted: ${error.message}`);
          setTimeout(() => this.#again(), PAUSE_MS).unref();
          return;
        }
        this.#accept();
        uncaught(error); // what `allow` threw
      });
  }

  #again(): void {
    if (!this.#closed && !this.#listener.closed) this.#accept();
  }

  #warn(text: string): void {
    if (this.#warned) return;
    this.#warned = true;
    process.emitWarning(`serveHttp: ${text}`, { type: "AcceptWarning" });
  }

  /** A promise: nobody more is accepted until it is resolved. */
  #welcome(socket: StreamSocket): Promise<void> | undefined {
    let connection: Connection;
    try {
      connection = new Connection(socket, performance.now());
    } catch (error) {
      socket.close(); // nobody is served without a name
      this.#warn(`who connected is not known: ${String(error)}`);
      return undefined;
    }
    this.#open.add(connection);
    this.#byCaller.set(connection.caller, connection);
    connection.stream.once("close", () => this.#gone(connection));
    this.#hand(connection);
    this.#sweep.start();
    if (!this.#full) return undefined;
    return new Promise((resolve) => (this.#room = resolve));
  }

  get #full(): boolean {
    const { maxConnections } = this.#server;
    return typeof maxConnections === "number" && this.#open.size >= Math.max(maxConnections, 1);
  }

  #hand(connection: Connection): void {
    const { stream } = connection;
    try {
      if (this.#kind === "http" || this.#kind === "http2") this.#begin(connection, stream);
      this.#front.emit("connection", stream);
    } catch (error) {
      connection.destroy();
      uncaught(error); // what a listener threw, as from any emitter
    }
  }

  #begin(connection: Connection, http: HttpStream): void {
    connection.begin(http, performance.now());
    onTimeout(http, this.#server);
  }

  /** TLS has shaken hands. */
  #secured(stream: HttpStream): void {
    const caller = callerBelow(stream);
    const connection = caller && this.#byCaller.get(caller);
    if (caller === undefined || connection === undefined) {
      if (this.#kind === "https") stream.destroy(); // nobody is served without a name
      return;
    }
    stream.on("error", () => {});
    stream.once("close", () => connection.stream.destroy());
    mark(stream, caller);
    this.#begin(connection, stream);
    if (this.#kind !== "https") return;
    this.#server.emit("secureConnection", stream);
    this.#server.emit("connection", stream);
  }

  #connectionOf(stream: unknown): Connection | undefined {
    const caller = markOn(stream);
    return caller && this.#byCaller.get(caller);
  }

  #gone(connection: Connection): void {
    this.#open.delete(connection);
    connection.http?.destroy();
    const room = this.#room;
    if (room !== null && !this.#full) {
      this.#room = null;
      room();
    }
    if (this.#open.size > 0) return;
    this.#sweep.stop();
    if (this.#closed) this.#end();
  }

  /** What Bun does for the connections that it has accepted itself. */
  #look(now: number): void {
    const limits = limitsOf(this.#server);
    for (const connection of this.#open) {
      if (connection.late) connection.destroy();
      else {
        const overdue = connection.overdue(now, limits);
        if (overdue === "idle") connection.destroy();
        else if (overdue === "late") giveUp(connection, this.#server);
      }
    }
  }

  /**
   * Accept nothing more, close the listener, and close all connections at once. Never throws. The
   * server stays as it was: what it listens on itself goes on.
   */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#listener.close();
    this.#room?.();
    this.#sweep.stop();
    for (const connection of this.#open) connection.destroy();
    if (this.#open.size === 0) this.#end();
  }

  #end(): void {
    for (const undo of this.#undo.splice(0)) undo();
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
    this.#beginDraining();
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

  #beginDraining(): void {
    if (this.#draining) return;
    this.#draining = true;
    this.#listener.close();
    this.#room?.();
    if (this.#kind.startsWith("http2")) return;
    const server = this.#server;
    const { httpAllowHalfOpen } = server;
    server.httpAllowHalfOpen = true; // a request that is read behind the last one is answered, too
    this.#undo.push(() => (server.httpAllowHalfOpen = httpAllowHalfOpen));
    this.#listen("request", (request: { socket: unknown }, answer: HttpStream["_httpMessage"]) => {
      if (this.#connectionOf(request.socket) !== undefined)
        answer?.setHeader("Connection", "close");
    });
  }

  #letGo(connection: Connection): void {
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
 * server hold, which Bun itself leaves out for such connections; looked at within a second, or a
 * quarter of the shortest. `closeIdleConnections` and `closeAllConnections` are Bun's own and work;
 * `close` is for what the server listens on itself, so use the service's. A client that half-closes
 * gets no answer that is not there yet, as ever in Node, unless the server's `httpAllowHalfOpen` is
 * set.
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
  const why = whyNoServing();
  if (why !== null) throw new UnsupportedError("serveHttp", why);
  return new HttpService(
    listener as Listener<StreamSocket>,
    server as unknown as AnyServer,
    options,
  );
}

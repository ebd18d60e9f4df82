// This library accepts, and gives the server a stream for each connection: `emit("connection")`.

import type { TlsOptions } from "node:tls";
import { UnixError } from "../base/errors.ts";
import { now, setTimeout } from "../base/timers.ts";
import type { StreamSocket } from "../socket/stream.ts";
import { type Caller, callerBelow, mark, markOn } from "./caller.ts";
import { Connection } from "./connection.ts";
import { addToConnectionCount } from "./connection-count.ts";
import type { Intake, Session } from "./connection-types.ts";
import type { HttpStream } from "./probe.ts";
import { terminator } from "./server-kinds.ts";
import type { ServiceView } from "./service-view.ts";
import { onTimeout } from "./timeouts.ts";

const PAUSE_MS = 5;

export class StreamIntake implements Intake {
  readonly by = "bunix";
  readonly #service: ServiceView;
  readonly #byCaller = new WeakMap<Caller, Connection>();
  readonly #target: { emit(event: string, stream: unknown): unknown };
  readonly #undo: (() => void)[] = [];
  #stopped = false;
  /** Resolves the promise that holds accepting back; null: nothing is held back. */
  #resume: (() => void) | null = null;

  constructor(service: ServiceView, tls: TlsOptions | undefined, count: () => number) {
    this.#service = service;
    const { kind, server } = service;
    const secured = (stream: HttpStream): void => this.#secured(stream);
    this.#target = kind === "https" ? terminator(server, tls, secured) : server;
    if (kind === "http2s") this.#listen("secureConnection", secured);
    if (kind.startsWith("http2")) {
      this.#listen("session", (session: Session & { readonly socket: unknown }) => {
        const connection = this.#connectionOf(session.socket);
        if (connection !== undefined) connection.beginSession(session, now());
      });
    }
    this.#undo.push(addToConnectionCount(server, count));
    this.#accept();
  }

  #listen(event: string, listener: (...args: never[]) => void): void {
    const { server } = this.#service;
    server.prependListener(event, listener);
    this.#undo.push(() => server.removeListener(event, listener));
  }

  reference(on: boolean): void {
    const { listener } = this.#service;
    if (on) listener.ref();
    else listener.unref();
  }

  get #isStopped(): boolean {
    return this.#stopped || this.#service.listener.closed;
  }

  #accept(): void {
    this.#service.listener
      .consume((socket) => this.#accepted(socket))
      .then(undefined, (error: unknown) => {
        if (this.#isStopped) return;
        if (error instanceof UnixError) {
          this.#service.warn(`a connection could not be accepted: ${error.message}`);
          setTimeout(() => this.#again(), PAUSE_MS).unref();
          return;
        }
        this.#accept();
        this.#service.uncaught(error); // what `allow` threw
      });
  }

  #again(): void {
    if (!this.#isStopped) this.#accept();
  }

  /** A promise: no more connections are accepted until it is resolved. */
  #accepted(socket: StreamSocket): Promise<void> | undefined {
    let connection: Connection;
    try {
      connection = new Connection(socket, now());
    } catch (error) {
      socket.close(); // a connection without a caller is not served
      this.#service.warn(`the kernel did not say who connected: ${String(error)}`);
      return undefined;
    }
    this.#service.enter(connection);
    this.#byCaller.set(connection.caller, connection);
    connection.stream.once("close", () => {
      this.#service.ended(connection);
      connection.http?.destroy();
    });
    this.#giveToServer(connection);
    if (!this.#service.full) return undefined;
    return new Promise((resolve) => (this.#resume = resolve));
  }

  #giveToServer(connection: Connection): void {
    const { stream } = connection;
    const { kind } = this.#service;
    try {
      if (kind === "http" || kind === "http2") this.#begin(connection, stream);
      this.#target.emit("connection", stream);
    } catch (error) {
      connection.destroy();
      this.#service.uncaught(error); // what a listener threw, as from any emitter
    }
  }

  #begin(connection: Connection, http: HttpStream): void {
    connection.begin(http, now());
    onTimeout(http, this.#service.server);
  }

  /** The TLS handshake is done. */
  #secured(stream: HttpStream): void {
    const { kind, server } = this.#service;
    const caller = callerBelow(stream);
    const connection = caller && this.#byCaller.get(caller);
    if (caller === undefined || connection === undefined) {
      if (kind === "https") stream.destroy(); // a connection without a caller is not served
      return;
    }
    stream.on("error", () => {});
    stream.once("close", () => connection.stream.destroy());
    mark(stream, caller);
    this.#begin(connection, stream);
    if (kind !== "https") return;
    server.emit("secureConnection", stream);
    server.emit("connection", stream);
  }

  #connectionOf(stream: unknown): Connection | undefined {
    const caller = markOn(stream);
    return caller && this.#byCaller.get(caller);
  }

  onRoom(): void {
    const resume = this.#resume;
    if (resume === null || this.#service.full) return;
    this.#resume = null;
    resume();
  }

  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#resume?.();
    if (this.#service.kind.startsWith("http2")) return;
    const { server } = this.#service;
    const { httpAllowHalfOpen } = server;
    server.httpAllowHalfOpen = true; // a request that is read behind the last one is answered, too
    this.#undo.push(() => (server.httpAllowHalfOpen = httpAllowHalfOpen));
    this.#listen("request", (request: { socket: unknown }, answer: unknown) => {
      if (this.#connectionOf(request.socket) !== undefined) this.#service.requested(answer);
    });
  }

  close(): void {
    this.#stopped = true;
    this.#resume?.();
  }

  end(): void {
    for (const undo of this.#undo.splice(0)) undo();
  }
}

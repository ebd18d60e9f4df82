// This side accepts, and gives the server a stream for each connection: `emit("connection")`.

import type { TlsOptions } from "node:tls";
import { UnixError } from "../base/errors.ts";
import type { StreamSocket } from "../socket/stream.ts";
import { type Caller, callerBelow, mark, markOn } from "./caller.ts";
import { Connection } from "./connection.ts";
import { countToo } from "./counted.ts";
import type { Hall } from "./hall.ts";
import { terminator } from "./kinds.ts";
import type { HttpStream } from "./probe.ts";
import type { Intake, Session } from "./served.ts";
import { onTimeout } from "./timeouts.ts";

const PAUSE_MS = 5;

export class StreamIntake implements Intake {
  readonly by = "bunix";
  readonly #hall: Hall;
  readonly #byCaller = new WeakMap<Caller, Connection>();
  readonly #front: { emit(event: string, stream: unknown): unknown };
  readonly #undo: (() => void)[] = [];
  #stopped = false;
  /** Lets the next connection in. */
  #next: (() => void) | null = null;

  constructor(hall: Hall, tls: TlsOptions | undefined, count: () => number) {
    this.#hall = hall;
    const { kind, server } = hall;
    const secured = (stream: HttpStream): void => this.#secured(stream);
    this.#front = kind === "https" ? terminator(server, tls, secured) : server;
    if (kind === "http2s") this.#listen("secureConnection", secured);
    if (kind.startsWith("http2")) {
      this.#listen("session", (session: Session & { readonly socket: unknown }) => {
        const connection = this.#connectionOf(session.socket);
        if (connection !== undefined) connection.beginSession(session, performance.now());
      });
    }
    this.#undo.push(countToo(server, count));
    this.#accept();
  }

  #listen(event: string, listener: (...args: never[]) => void): void {
    const { server } = this.#hall;
    server.prependListener(event, listener);
    this.#undo.push(() => server.removeListener(event, listener));
  }

  reference(on: boolean): void {
    const { listener } = this.#hall;
    if (on) listener.ref();
    else listener.unref();
  }

  get #over(): boolean {
    return this.#stopped || this.#hall.listener.closed;
  }

  #accept(): void {
    this.#hall.listener
      .consume((socket) => this.#welcome(socket))
      .then(undefined, (error: unknown) => {
        if (this.#over) return;
        if (error instanceof UnixError) {
          this.#hall.warn(`a connection could not be accepted: ${error.message}`);
          setTimeout(() => this.#again(), PAUSE_MS).unref();
          return;
        }
        this.#accept();
        this.#hall.uncaught(error); // what `allow` threw
      });
  }

  #again(): void {
    if (!this.#over) this.#accept();
  }

  /** A promise: nobody more is accepted until it is resolved. */
  #welcome(socket: StreamSocket): Promise<void> | undefined {
    let connection: Connection;
    try {
      connection = new Connection(socket, performance.now());
    } catch (error) {
      socket.close(); // nobody is served without a name
      this.#hall.warn(`who connected is not known: ${String(error)}`);
      return undefined;
    }
    this.#hall.enter(connection);
    this.#byCaller.set(connection.caller, connection);
    connection.stream.once("close", () => {
      this.#hall.gone(connection);
      connection.http?.destroy();
    });
    this.#hand(connection);
    if (!this.#hall.full) return undefined;
    return new Promise((resolve) => (this.#next = resolve));
  }

  #hand(connection: Connection): void {
    const { stream } = connection;
    const { kind } = this.#hall;
    try {
      if (kind === "http" || kind === "http2") this.#begin(connection, stream);
      this.#front.emit("connection", stream);
    } catch (error) {
      connection.destroy();
      this.#hall.uncaught(error); // what a listener threw, as from any emitter
    }
  }

  #begin(connection: Connection, http: HttpStream): void {
    connection.begin(http, performance.now());
    onTimeout(http, this.#hall.server);
  }

  /** TLS has shaken hands. */
  #secured(stream: HttpStream): void {
    const { kind, server } = this.#hall;
    const caller = callerBelow(stream);
    const connection = caller && this.#byCaller.get(caller);
    if (caller === undefined || connection === undefined) {
      if (kind === "https") stream.destroy(); // nobody is served without a name
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

  room(): void {
    const next = this.#next;
    if (next === null || this.#hall.full) return;
    this.#next = null;
    next();
  }

  stop(): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#next?.();
    if (this.#hall.kind.startsWith("http2")) return;
    const { server } = this.#hall;
    const { httpAllowHalfOpen } = server;
    server.httpAllowHalfOpen = true; // a request that is read behind the last one is answered, too
    this.#undo.push(() => (server.httpAllowHalfOpen = httpAllowHalfOpen));
    this.#listen("request", (request: { socket: unknown }, answer: unknown) => {
      if (this.#connectionOf(request.socket) !== undefined) this.#hall.requested(answer);
    });
  }

  close(): void {
    this.#stopped = true;
    this.#next?.();
  }

  end(): void {
    for (const undo of this.#undo.splice(0)) undo();
  }
}

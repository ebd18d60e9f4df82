// The limits of time that a server of node:http has, kept for connections that it did not accept.

import type { AnyServer } from "./kinds.ts";
import type { HttpStream } from "./probe.ts";
import type { Limits, Served } from "./served.ts";

const ms = (value: unknown): number =>
  typeof value === "number" && value > 0 ? value : Number.POSITIVE_INFINITY;

/** What a server has that says nothing of it: HTTP/2's. As tls.createServer's handshakeTimeout. */
const HANDSHAKE_MS = 120_000;

/** As the server has them at this moment. */
export function limitsOf(server: AnyServer): Limits {
  const { headersTimeout, requestTimeout, keepAliveTimeout, keepAliveTimeoutBuffer } = server;
  const buffer = typeof keepAliveTimeoutBuffer === "number" ? keepAliveTimeoutBuffer : 0;
  return {
    head: headersTimeout === undefined ? HANDSHAKE_MS : ms(headersTimeout),
    request: ms(requestTimeout),
    idle: ms(keepAliveTimeout) + buffer,
  };
}

const MIN_MS = 10;
const MAX_MS = 1_000;
/** Looks in the time of the shortest limit. */
const TIMES = 4;

/** Looks now and then, while there is something to look at. It keeps no process alive. */
export class Sweep {
  /** Whether there is something. */
  readonly #look: (now: number) => boolean;
  readonly #limits: () => Limits;
  #timer: ReturnType<typeof setTimeout> | null = null;

  constructor(look: (now: number) => boolean, limits: () => Limits) {
    this.#look = look;
    this.#limits = limits;
  }

  start(): void {
    if (this.#timer !== null) return;
    const { head, request, idle } = this.#limits();
    const often = Math.min(head, request, idle) / TIMES;
    this.#timer = setTimeout(this.#turn, Math.min(Math.max(often, MIN_MS), MAX_MS));
    this.#timer.unref();
  }

  readonly #turn = (): void => {
    this.#timer = null;
    if (this.#look(performance.now())) this.start();
  };

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}

const LATE = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n";

/** A request that did not come in time: the server is asked, else the client is told. */
export function giveUp(connection: Served, server: AnyServer): void {
  connection.late = true;
  const { http } = connection;
  if (http === null) {
    connection.destroy();
    return;
  }
  const error = Object.assign(new Error("Request timeout"), { code: "ERR_HTTP_REQUEST_TIMEOUT" });
  try {
    if (server.emit("clientError", error, http)) return;
    const answered = http._httpMessage?.headersSent === true;
    if (answered || !http.writable) connection.destroy();
    else http.end(LATE, () => connection.destroy());
  } catch (thrown) {
    connection.destroy();
    setImmediate(() => {
      throw thrown;
    });
  }
}

type Timed = HttpStream & { setTimeout?(ms: number): unknown };

/**
 * "timeout" of a stream is told to the request, the answer and the server; where none of them
 * listens the connection is closed. `server.timeout` is the limit, until it is set for the stream.
 */
export function onTimeout(http: Timed, server: AnyServer): void {
  http.on("timeout", () => {
    const answer = http._httpMessage;
    const request = answer?.req;
    const told = [
      request?.complete === false && request.emit("timeout", http),
      answer?.emit("timeout", http) === true,
      server.emit("timeout", http),
    ];
    if (!told.includes(true)) http.destroy();
  });
  const limit = ms(server.timeout);
  if (limit !== Number.POSITIVE_INFINITY) http.setTimeout?.(limit);
}

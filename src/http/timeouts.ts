// The time limits of a server of node:http, kept for connections that it did not accept.

import { clearTimeout, now, setImmediate, setTimeout } from "../base/timers.ts";
import type { Limits, ServedConnection } from "./connection-types.ts";
import type { HttpStream } from "./probe.ts";
import type { AnyServer } from "./server-kinds.ts";

const ms = (value: unknown): number =>
  typeof value === "number" && value > 0 ? value : Number.POSITIVE_INFINITY;

/** For a server without `headersTimeout`, of HTTP/2: as tls.createServer's handshakeTimeout. */
const HANDSHAKE_MS = 120_000;

/** The server's limits now. */
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
/** Sweeps within the shortest limit. */
const SWEEPS_PER_LIMIT = 4;

/** Calls `sweep` now and then while there are connections. It keeps no process alive. */
export class Sweep {
  /** Whether there are connections. */
  readonly #sweep: (now: number) => boolean;
  readonly #limits: () => Limits;
  #timer: ReturnType<typeof setTimeout> | null = null;

  constructor(sweep: (now: number) => boolean, limits: () => Limits) {
    this.#sweep = sweep;
    this.#limits = limits;
  }

  start(): void {
    if (this.#timer !== null) return;
    const { head, request, idle } = this.#limits();
    const often = Math.min(head, request, idle) / SWEEPS_PER_LIMIT;
    this.#timer = setTimeout(this.#turn, Math.min(Math.max(often, MIN_MS), MAX_MS));
    this.#timer.unref();
  }

  readonly #turn = (): void => {
    this.#timer = null;
    if (this.#sweep(now())) this.start();
  };

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}

const LATE = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n";

/** A request did not come in time: "clientError" of the server, else 408 for the client. */
export function timeOut(connection: ServedConnection, server: AnyServer): void {
  connection.timedOut = true;
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
 * "timeout" of a stream is emitted on the request, the answer and the server; if none of them
 * listens the connection is closed. `server.timeout` is the limit, until one is set for the stream.
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

// What a service needs of each connection and of each intake, whether Bun accepts or this library.

import type { Caller } from "./caller.ts";
import type { HttpStream } from "./probe.ts";

/** Time limits in milliseconds; Infinity: none. */
export interface Limits {
  /** For the head of a request, and for a TLS handshake. */
  readonly head: number;
  /** For a request, body and all. */
  readonly request: number;
  /** Between an answer and the next request; of a session of HTTP/2, without a stream. */
  readonly idle: number;
}

/**
 * The state of a connection. "arriving": the head of a request, or a handshake, is not complete;
 * "ours no longer": upgraded, or a session of HTTP/2.
 */
export type Activity = "answering" | "arriving" | "idle" | "ours no longer";

/** What is used of an HTTP/2 session. */
export interface Session {
  /** Send GOAWAY; the session ends with its last stream. */
  close(): void;
  on(event: "stream", listener: (stream: SessionStream) => void): unknown;
}

export interface SessionStream {
  once(event: "close", listener: () => void): unknown;
}

/** One connection of a service. */
export interface ServedConnection {
  readonly caller: Caller;
  /** The stream that carries HTTP: with TLS the decrypted one; null before the handshake. */
  readonly http: HttpStream | null;
  readonly session: Session | null;
  /** The client was sent 408; the connection is destroyed if it stays open. */
  timedOut: boolean;
  /** No byte of a request has come, as far as is known. */
  readonly nothingRead: boolean;
  /** Its state now. Called by the sweep and by `drain`. */
  activity(now: number): Activity;
  /** The limit that has passed: "late" of a request, "idle" between requests; null: none. */
  overdue(now: number, limits: Limits): "late" | "idle" | null;
  /**
   * Take no more requests: a client that sends one gets EPIPE. None is lost: what is queued is
   * still read, and answered (facts: #shut-reading-loses-nothing).
   */
  stopReading(): void;
  destroy(): void;
}

/** Accepts the connections of a service. */
export interface Intake {
  /** Who accepts. */
  readonly by: "bun" | "bunix";
  /** Accept no more connections; those that are open go on. */
  stop(): void;
  /** A connection has ended: there may be room for the next. */
  onRoom(): void;
  /** Keep the process alive, or not. */
  reference(on: boolean): void;
  /** Stop at once; the service closes the connections. */
  close(): void;
  /** The last connection of a closed service has ended. */
  end(): void;
}

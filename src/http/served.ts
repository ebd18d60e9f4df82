// What a service needs of each connection, whoever accepted it.

import type { Caller } from "./caller.ts";
import type { HttpStream } from "./probe.ts";

/** Milliseconds; Infinity: no limit. */
export interface Limits {
  /** For the head of a request, and for a TLS handshake. */
  readonly head: number;
  /** For a request, body and all. */
  readonly request: number;
  /** Between an answer and the next request; of a session of HTTP/2, without a stream. */
  readonly idle: number;
}

/**
 * What a connection is doing. "arriving": the head of a request, or a handshake, is on its way;
 * "ours no longer": upgraded, or a session of HTTP/2.
 */
export type Doing = "answering" | "arriving" | "idle" | "ours no longer";

/** What is needed of a session of HTTP/2. */
export interface Session {
  /** Tell the client to go (GOAWAY); it ends with its last stream. */
  close(): void;
  on(event: "stream", listener: (stream: SessionStream) => void): unknown;
}

export interface SessionStream {
  once(event: "close", listener: () => void): unknown;
}

/** One connection of a service. */
export interface Served {
  readonly caller: Caller;
  /** Where HTTP is spoken: the stream, or what TLS makes of it; null before the handshake. */
  readonly http: HttpStream | null;
  readonly session: Session | null;
  /** It has been told to go, and is destroyed if it stays. */
  late: boolean;
  /** Nothing of a request has come so far, as far as is known. */
  readonly untouched: boolean;
  /** What it is doing. To be asked now and then. */
  look(now: number): Doing;
  /** Whether it has had its time: "late" for a request, "idle" with none. */
  overdue(now: number, limits: Limits): "late" | "idle" | null;
  /**
   * Take no more requests: who sends one is told so by EPIPE and none is lost, for what is queued
   * is still read, and answered (facts: #shut-reading-loses-nothing).
   */
  deafen(): void;
  destroy(): void;
}

/** Where connections come from. */
export interface Intake {
  /** Who accepts. */
  readonly by: "bun" | "bunix";
  /** Accept nobody more; the connections that are here go on. */
  stop(): void;
  /** A connection has ended: there may be room for the next. */
  room(): void;
  /** Keep the process alive, or not. */
  reference(on: boolean): void;
  /** All is over; connections have been told to go. */
  close(): void;
  /** The last connection of a service that is closed has gone. */
  end(): void;
}

// A connection that this library accepted for a server of node:http: its state, and since when.

import { socket as c } from "../../native/socket.ts";
import { now as clock } from "../base/timers.ts";
import type { DescriptorDuplex } from "../socket/node-stream.ts";
import type { StreamSocket } from "../socket/stream.ts";
import { shutdown } from "../syscalls/socket.ts";
import { type Caller, callerOn, mark } from "./caller.ts";
import type { Activity, Limits, ServedConnection, Session } from "./connection-types.ts";
import type { HttpStream } from "./probe.ts";

/** Bun's private symbol for a message that is not complete. */
const OPEN = "http1MessageOpen";
let open: symbol | undefined;

/**
 * Whether a part of a request has come; undefined if this Bun does not say. Then a head that begins
 * just when the last answer ends counts as idle time.
 */
function requestBegun(http: HttpStream): boolean | undefined {
  open ??= Object.getOwnPropertySymbols(http).find(({ description }) => description === OPEN);
  const value: unknown = open === undefined ? undefined : Reflect.get(http, open);
  return typeof value === "boolean" ? value : undefined;
}

export class Connection implements ServedConnection {
  readonly caller: Caller;
  readonly socket: StreamSocket;
  /** The connection as a stream, before TLS. */
  readonly stream: DescriptorDuplex & HttpStream;
  http: HttpStream | null = null;
  #session: Session | null = null;
  /** Open streams of the session. */
  #streams = 0;
  timedOut = false;
  /** The first request is awaited, or a request is incomplete. */
  #arriving = true;
  #since: number;
  #read = 0;
  #written = 0;
  /** The answer to a request that is not complete, and since when its rest is awaited. */
  #partial: unknown = null;
  #partialSince = 0;
  #readingStopped = false;
  /** Bytes read when it was first seen to be overdue; −1: it is not. */
  #suspected = -1;

  /** @throws UnixError if the kernel does not say who connected */
  constructor(socket: StreamSocket, now: number) {
    this.caller = callerOn(socket);
    this.socket = socket;
    this.stream = socket.toDuplex({ allowHalfOpen: true }) as unknown as Connection["stream"];
    this.#since = now;
    mark(this.stream, this.caller);
    // the server listens until an upgrade; an error of a connection must not become uncaught
    this.stream.on("error", () => {});
  }

  /** HTTP begins. */
  begin(http: HttpStream, now: number): void {
    this.http = http;
    this.#arriving = true;
    this.#since = now;
    this.#note(http);
  }

  get session(): Session | null {
    return this.#session;
  }

  /** The client speaks HTTP/2. */
  beginSession(session: Session, now: number): void {
    this.#session = session;
    this.#since = now;
    session.on("stream", (stream) => {
      this.#streams += 1;
      stream.once("close", () => {
        this.#streams -= 1;
        this.#since = clock();
      });
    });
  }

  #note({ bytesRead = 0, bytesWritten = 0 }: HttpStream): void {
    this.#read = bytesRead;
    this.#written = bytesWritten;
  }

  /**
   * Its state. Called now and then: requests in between are seen by the bytes that were written, so
   * that no request costs anything.
   */
  activity(now: number): Activity {
    const { http } = this;
    if (http === null) return "arriving";
    if (this.session !== null || http.parser === null) return "ours no longer";
    const { bytesRead = 0, bytesWritten = 0 } = http;
    const answer = http._httpMessage ?? null;
    if (answer !== null || bytesWritten !== this.#written) {
      this.#arriving = false;
      this.#since = now;
      this.#note(http);
    }
    const begun = requestBegun(http) ?? bytesRead !== this.#read;
    if (answer === null && !this.#arriving && begun) {
      this.#arriving = true;
      this.#since = now;
    }
    this.#checkBody(answer, now);
    if (answer !== null) return "answering";
    return this.#arriving ? "arriving" : "idle";
  }

  #checkBody(answer: HttpStream["_httpMessage"], now: number): void {
    if (answer == null || answer.req?.complete !== false) this.#partial = null;
    else if (this.#partial !== answer) {
      this.#partial = answer;
      this.#partialSince = now;
    }
  }

  get nothingRead(): boolean {
    return this.stream.bytesRead === 0;
  }

  /**
   * The limit that has passed: "late" of a request, "idle" between requests. Only when it is seen
   * twice with no byte read in between: the first time this thread may have been busy, with bytes
   * unread that came in time.
   */
  overdue(now: number, limits: Limits): "late" | "idle" | null {
    const overdue = this.#overdue(now, limits);
    const before = this.#suspected;
    this.#suspected = overdue === null ? -1 : (this.stream.bytesRead ?? 0);
    return before === this.#suspected ? overdue : null;
  }

  #overdue(now: number, limits: Limits): "late" | "idle" | null {
    const activity = this.activity(now);
    const since = now - this.#since;
    if (this.session !== null) return this.#streams === 0 && since > limits.idle ? "idle" : null;
    if (activity === "arriving" && since > Math.min(limits.head, limits.request)) return "late";
    if (activity === "idle" && since > limits.idle) return "idle";
    if (this.#partial !== null && now - this.#partialSince > limits.request) return "late";
    return null;
  }

  stopReading(): void {
    if (this.#readingStopped || this.socket.closed) return;
    this.#readingStopped = true;
    shutdown(this.socket.fd, c.SHUT_RD);
  }

  destroy(): void {
    this.http?.destroy();
    this.stream.destroy();
  }
}

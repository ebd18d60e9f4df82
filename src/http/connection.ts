// One connection that a server of node:http got from us: how far it is, and since when.

import { socket as c } from "../../native/socket.ts";
import type { DescriptorDuplex } from "../socket/node-stream.ts";
import type { StreamSocket } from "../socket/stream.ts";
import { shutdown } from "../syscalls/socket.ts";
import { type Caller, callerOn, mark } from "./caller.ts";
import type { HttpStream } from "./probe.ts";
import type { Doing, Limits, Served, Session } from "./served.ts";

/** What node:http of Bun calls, without a public name, a message that is not all here. */
const OPEN = "http1MessageOpen";
let open: symbol | undefined;

/**
 * Whether a part of a request has come; undefined where this Bun does not say. Without it a head
 * that begins in the same moment as the last answer ends counts as idleness.
 */
function hasBegun(http: HttpStream): boolean | undefined {
  open ??= Object.getOwnPropertySymbols(http).find(({ description }) => description === OPEN);
  const value: unknown = open === undefined ? undefined : Reflect.get(http, open);
  return typeof value === "boolean" ? value : undefined;
}

export class Connection implements Served {
  readonly caller: Caller;
  readonly socket: StreamSocket;
  /** The bytes as they come. */
  readonly stream: DescriptorDuplex & HttpStream;
  http: HttpStream | null = null;
  #session: Session | null = null;
  /** Of the session: those that are open. */
  #streams = 0;
  late = false;
  /** A new request comes, on a connection that has had an answer or none yet. */
  #arriving = true;
  #since: number;
  #read = 0;
  #written = 0;
  /** The answer to a request that is not all here, and since when it is awaited. */
  #partial: unknown = null;
  #partialSince = 0;
  #deaf = false;
  /** What it had read when it was first seen to be overdue; −1: it is not. */
  #suspected = -1;

  /** @throws UnixError where the kernel does not say who connected */
  constructor(socket: StreamSocket, now: number) {
    this.caller = callerOn(socket);
    this.socket = socket;
    this.stream = socket.toDuplex({ allowHalfOpen: true }) as unknown as Connection["stream"];
    this.#since = now;
    mark(this.stream, this.caller);
    // the server listens until an upgrade; an error of one connection is never the process's
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

  /** It has turned out to be HTTP/2. */
  beginSession(session: Session, now: number): void {
    this.#session = session;
    this.#since = now;
    session.on("stream", (stream) => {
      this.#streams += 1;
      stream.once("close", () => {
        this.#streams -= 1;
        this.#since = performance.now();
      });
    });
  }

  #note({ bytesRead = 0, bytesWritten = 0 }: HttpStream): void {
    this.#read = bytesRead;
    this.#written = bytesWritten;
  }

  /**
   * What it is doing. To be asked now and then: a request is known by what was written since, so
   * that none of them costs anything.
   */
  look(now: number): Doing {
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
    const begun = hasBegun(http) ?? bytesRead !== this.#read;
    if (answer === null && !this.#arriving && begun) {
      this.#arriving = true;
      this.#since = now;
    }
    this.#lookAtBody(answer, now);
    if (answer !== null) return "answering";
    return this.#arriving ? "arriving" : "idle";
  }

  #lookAtBody(answer: HttpStream["_httpMessage"], now: number): void {
    if (answer == null || answer.req?.complete !== false) this.#partial = null;
    else if (this.#partial !== answer) {
      this.#partial = answer;
      this.#partialSince = now;
    }
  }

  get untouched(): boolean {
    return this.stream.bytesRead === 0;
  }

  /**
   * Whether it has had its time: "late" for a request, "idle" with none. To be seen twice, at the
   * same point: the first time this thread may have been busy, with what came in time yet unread.
   */
  overdue(now: number, limits: Limits): "late" | "idle" | null {
    const overdue = this.#overdue(now, limits);
    const before = this.#suspected;
    this.#suspected = overdue === null ? -1 : (this.stream.bytesRead ?? 0);
    return before === this.#suspected ? overdue : null;
  }

  #overdue(now: number, limits: Limits): "late" | "idle" | null {
    const doing = this.look(now);
    const since = now - this.#since;
    if (this.session !== null) return this.#streams === 0 && since > limits.idle ? "idle" : null;
    if (doing === "arriving" && since > Math.min(limits.head, limits.request)) return "late";
    if (doing === "idle" && since > limits.idle) return "idle";
    if (this.#partial !== null && now - this.#partialSince > limits.request) return "late";
    return null;
  }

  deafen(): void {
    if (this.#deaf || this.socket.closed) return;
    this.#deaf = true;
    shutdown(this.socket.fd, c.SHUT_RD);
  }

  destroy(): void {
    this.http?.destroy();
    this.stream.destroy();
  }
}

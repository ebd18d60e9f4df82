// One connection that Bun accepted for a server of node:http, and that was let in.

import { socket as c } from "../../native/socket.ts";
import { closedError } from "../base/errors.ts";
import { isStill } from "../serve/epoll-entry.ts";
import type { Credentials } from "../structs/credentials.ts";
import { kind, lookAt } from "../syscalls/file-kind.ts";
import { shutdown, unreadBytes } from "../syscalls/socket.ts";
import { type Caller, makeCaller, mark } from "./caller.ts";
import type { HttpStream } from "./probe.ts";
import type { Doing, Limits, Served } from "./served.ts";
import type { BunStream } from "./shadow.ts";

/** What Bun's stream keeps of its connection, in a property without a public name. */
const HANDLE = "handle";
let handle: symbol | undefined;

interface Handle {
  isRequestTimedOut(headersTimeout: number, requestTimeout: number): boolean;
}

function handleOf(stream: object): Handle | null {
  handle ??= Object.getOwnPropertySymbols(stream).find(({ description }) => description === HANDLE);
  const value: unknown = handle === undefined ? null : Reflect.get(stream, handle);
  const timed = typeof (value as Handle | null | undefined)?.isRequestTimedOut === "function";
  return timed ? (value as Handle) : null;
}

/** Whether this Bun tells of a connection how long a request has been coming. */
export const tellsTimes = (stream: object): boolean => handleOf(stream) !== null;

/** Bun knows "no limit" as 0. */
const limit = (ms: number): number => (Number.isFinite(ms) ? ms : 0);

export class BunConnection implements Served {
  readonly caller: Caller;
  readonly fd: number;
  readonly stream: BunStream;
  readonly http: HttpStream;
  readonly session = null;
  /** Nothing tells. */
  readonly untouched = false;
  late = false;
  /** To be called when it has ended, once or more often. */
  onLeft: () => void = () => {};
  readonly #inode: number;
  #deaf = false;

  constructor(stream: BunStream, fd: number, credentials: Credentials) {
    this.stream = stream;
    this.http = stream as unknown as HttpStream;
    this.fd = fd;
    this.#inode = lookAt(fd) < 0 ? -1 : Number(kind.inode);
    this.caller = makeCaller(credentials, () => {
      if (!this.#isOpen) throw closedError("getsockopt");
      return fd;
    });
    mark(stream, this.caller);
  }

  get #isOpen(): boolean {
    return !this.stream.destroyed && isStill(this.fd, this.#inode);
  }

  /** A head that is on its way counts as none: who is deafened then is told so by EPIPE. */
  look(): Doing {
    if (this.http.parser === null) return "ours no longer";
    return (this.http._httpMessage ?? null) === null ? "idle" : "answering";
  }

  /** Bun itself keeps all limits but those for a request that comes. */
  overdue(_now: number, { head, request }: Limits): "late" | null {
    if (this.stream.destroyed) this.onLeft(); // its listeners may have been removed
    if (this.stream.destroyed || this.look() === "ours no longer") return null;
    const late = handleOf(this.stream)?.isRequestTimedOut(limit(head), limit(request)) === true;
    return late && unreadBytes(this.fd) === 0 ? "late" : null; // else this thread was busy
  }

  deafen(): void {
    if (this.#deaf || !this.#isOpen) return;
    this.#deaf = true;
    shutdown(this.fd, c.SHUT_RD);
  }

  destroy(): void {
    if (this.stream.destroyNow === undefined) this.stream.destroy();
    else this.stream.destroyNow();
  }
}

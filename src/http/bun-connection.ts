// One connection that Bun accepted for a server of node:http, and that was let in.

import { socket as c } from "../../native/socket.ts";
import { closedError } from "../base/errors.ts";
import { inodeOf } from "../fd/inode.ts";
import { isStill } from "../serve/epoll-entry.ts";
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
  readonly #inode: number;
  #deaf = false;

  /** @throws UnixError where the kernel does not say who connected */
  constructor(stream: BunStream, fd: number) {
    this.stream = stream;
    this.http = stream as unknown as HttpStream;
    this.fd = fd;
    this.#inode = inodeOf(fd);
    this.caller = makeCaller(() => {
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
    if (this.look() === "ours no longer" || this.stream.destroyed) return null;
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

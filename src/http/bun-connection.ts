// One connection that Bun accepted for a server of node:http, and that was let in.

import { socket as c } from "../../native/socket.ts";
import { closedError } from "../base/errors.ts";
import type { Credentials } from "../structs/credentials.ts";
import { kind, lookAt } from "../syscalls/file-kind.ts";
import { shutdown, unreadBytes } from "../syscalls/socket.ts";
import { handleOf } from "./bun-handle.ts";
import { type Caller, makeCaller } from "./caller.ts";
import type { HttpStream } from "./probe.ts";
import type { Doing, Limits, Served } from "./served.ts";
import type { BunStream } from "./shadow.ts";

const UNKNOWN = -1n;
const inodeOf = (fd: number): bigint => (lookAt(fd) < 0 ? UNKNOWN : kind.inode);

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
  readonly #inode: bigint;
  #deaf = false;

  /** To be called while it is certain that the descriptor is the stream's. */
  constructor(stream: BunStream, fd: number, credentials: Credentials) {
    this.stream = stream;
    this.http = stream as unknown as HttpStream;
    this.fd = fd;
    this.#inode = inodeOf(fd);
    this.caller = makeCaller(credentials, () => {
      if (!this.#isOpen) throw closedError("getsockopt");
      return fd;
    });
  }

  /** Only when it is certain: else the number may be another's, who would be told of. */
  get #isOpen(): boolean {
    if (this.stream.destroyed || this.#inode === UNKNOWN) return false;
    return inodeOf(this.fd) === this.#inode;
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
    if (!late) return null;
    const busy = this.#isOpen && unreadBytes(this.fd) > 0; // this thread was, and has to read it
    return busy ? null : "late";
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

// A connection that Bun accepted for a server of node:http, and that was admitted.

import { socket as c } from "../../native/socket.ts";
import { closedError } from "../base/errors.ts";
import type { Credentials } from "../structs/credentials.ts";
import { kind, lookAt } from "../syscalls/file-kind.ts";
import { shutdown, socketCookie, unreadBytes } from "../syscalls/socket.ts";
import type { BunHandle } from "./bun-handle.ts";
import { type Caller, makeCaller } from "./caller.ts";
import type { Activity, Limits, ServedConnection } from "./connection-types.ts";
import type { BunStream } from "./delegate-server.ts";
import type { HttpStream } from "./probe.ts";

const UNKNOWN = -1;
const nothing = (): void => {};

/** What tells the socket under a number from any other: its cookie, else its inode. */
function identityOf(fd: number): number | bigint {
  const cookie = socketCookie(fd);
  if (cookie >= 0) return cookie;
  return lookAt(fd) < 0 ? UNKNOWN : kind.inode; // qemu's user mode, gVisor
}

/** Bun knows "no limit" as 0. */
const limit = (ms: number): number => (Number.isFinite(ms) ? ms : 0);

/** A connection, Bun's object for it, and its descriptor. */
interface Accepted {
  readonly stream: BunStream;
  readonly handle: BunHandle;
  readonly fd: number;
}

export class BunConnection implements ServedConnection {
  readonly caller: Caller;
  readonly fd: number;
  readonly stream: BunStream;
  readonly handle: BunHandle;
  readonly http: HttpStream;
  readonly session = null;
  /** Bun does not say. */
  readonly nothingRead = false;
  timedOut = false;
  /** Called when it has ended, once or more often. */
  onEnded: () => void = nothing;
  readonly #identity: number | bigint;
  #readingStopped = false;

  /** Made while it is certain that the descriptor is the stream's. */
  constructor({ stream, handle, fd }: Accepted, credentials: Credentials) {
    this.stream = stream;
    this.http = stream as unknown as HttpStream;
    this.handle = handle;
    this.fd = fd;
    this.#identity = identityOf(fd);
    this.caller = makeCaller(credentials, () => {
      if (!this.#isOpen) throw closedError("getsockopt");
      return fd;
    });
  }

  /** Only if it is certain: else the number may be another connection's by now. */
  get #isOpen(): boolean {
    if (this.stream.destroyed || this.#identity === UNKNOWN) return false;
    return identityOf(this.fd) === this.#identity;
  }

  /** An incomplete head counts as none: after `stopReading` its client gets EPIPE. */
  activity(): Activity {
    if (this.http.parser === null) return "ours no longer";
    return (this.http._httpMessage ?? null) === null ? "idle" : "answering";
  }

  /** Bun itself keeps all limits but those of a request that is not complete. */
  overdue(_now: number, { head, request }: Limits): "late" | null {
    if (this.stream.destroyed) this.onEnded(); // its listeners may have been removed
    if (this.stream.destroyed || this.activity() === "ours no longer") return null;
    const late = !this.handle.closed && this.handle.isRequestTimedOut(limit(head), limit(request));
    if (!late) return null;
    const busy = this.#isOpen && unreadBytes(this.fd) > 0; // not read yet: this thread was busy
    return busy ? null : "late";
  }

  stopReading(): void {
    if (this.#readingStopped || !this.#isOpen) return;
    this.#readingStopped = true;
    shutdown(this.fd, c.SHUT_RD);
  }

  destroy(): void {
    if (this.stream.destroyNow === undefined) this.stream.destroy();
    else this.stream.destroyNow();
  }
}

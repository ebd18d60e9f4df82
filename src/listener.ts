// Listening sockets.

import { errno } from "../native/errno.ts";
import { poll as events } from "../native/poll.ts";
import { socket as c } from "../native/socket.ts";
import { type AddressInput, formatAddress, parseAddress } from "./address.ts";
import { type Binding, checkFileOptions } from "./binding.ts";
import { closeOne } from "./closing.ts";
import type { ConnectionType } from "./connect.ts";
import { type Credentials, peerCredentials } from "./credentials.ts";
import { remaining, type SyncOptions } from "./endpoint.ts";
import { check, closedError, isShortage, UnixError } from "./errors.ts";
import { type BindOptions, checkBindOptions, takeAddress } from "./exclusive.ts";
import { Fd } from "./fd.ts";
import { attempt } from "./loop/attempt.ts";
import { Consumer } from "./loop/consume.ts";
import { rejected } from "./loop/gate.ts";
import { LazyWatch } from "./loop/lazy-watch.ts";
import { iterate } from "./socket-base.ts";
import {
  applySettings,
  integer,
  type Settings,
  type SocketOptions,
  toSettings,
} from "./socket-options.ts";
import { type SocketKinds, socketOf, typeNumber } from "./sockets.ts";
import type { Address } from "./structs/sockaddr-un.ts";
import { poll } from "./syscalls/fd.ts";
import { accept, listen as listenOn, socket, socketName } from "./syscalls/socket.ts";

export { AddressInUseError, type BindOptions } from "./exclusive.ts";

/** How to listen. Socket options hold for the accepted sockets. */
export interface ListenOptions<T extends ConnectionType = ConnectionType>
  extends SocketOptions,
    BindOptions {
  /** Default "stream". */
  readonly type?: T | undefined;
  /** Connections that wait to be accepted. Default and most: net.core.somaxconn. */
  readonly backlog?: number | undefined;
  /**
   * Who may connect; others are closed as soon as they are accepted. Default: everyone whom the
   * file's permissions admit; for an abstract name, which has none, this process's own user.
   */
  readonly allow?: ((peer: Credentials) => boolean) | undefined;
  /** Accepted sockets that may be open at a time; more wait in the backlog. Default: no limit. */
  readonly maxConnections?: number | undefined;
}

interface Start {
  readonly handle: Fd;
  readonly type: ConnectionType;
  readonly settings: Settings;
  readonly binding: Binding | null;
  readonly allow: ((peer: Credentials) => boolean) | null;
  readonly maxConnections: number;
}

const FIRST_PAUSE_MS = 5;
const LONGEST_PAUSE_MS = 1000;
/** Refused connections closed in one try, before the rest of Bun's loop gets its turn. */
const REFUSALS = 64;

/**
 * A listening socket. Made by {@link listen}, or by `adoptSocket` from one that was inherited.
 *
 * @see listen(2), accept(2)
 */
export class Listener<S extends SocketKinds[ConnectionType] = SocketKinds[ConnectionType]>
  implements Disposable, AsyncDisposable
{
  readonly #start: Start;
  readonly #watch = new LazyWatch();
  readonly #accepting: { once(): S | undefined };
  #connections = 0;
  #warned = false;
  #pauseMs = FIRST_PAUSE_MS;
  #pausing = false;

  /** @internal */
  constructor(start: Start) {
    this.#start = start;
    this.#accepting = { once: () => this.#acceptInTime() };
  }

  /** Tells listeners from sockets. */
  get listening(): true {
    return true;
  }

  /** The descriptor's number, borrowed; −1 once closed. */
  get fd(): number {
    return this.#start.handle.fd;
  }

  get closed(): boolean {
    return this.#start.handle.closed;
  }

  get type(): ConnectionType {
    return this.#start.type;
  }

  /** The address it listens on; a path is absolute. */
  get address(): Address {
    const { binding } = this.#start;
    if (binding !== null) return binding.address;
    const name = socketName(this.#open("getsockname"), "getsockname");
    if (typeof name === "number") throw new UnixError("getsockname", name);
    return name;
  }

  /** Accepted sockets that are still open. */
  get connections(): number {
    return this.#connections;
  }

  #open(syscall: string): number {
    if (this.closed) throw closedError(syscall);
    return this.fd;
  }

  /** Keep the process alive while it accepts. The default. */
  ref(): this {
    return this.#reference(true);
  }

  /** Do not keep the process alive for this listener. */
  unref(): this {
    return this.#reference(false);
  }

  #reference(on: boolean): this {
    this.#watch.referenced = on;
    return this;
  }

  /**
   * The next connection. While the process is out of descriptors it waits, and warns once.
   * @throws UnixError ERR_CLOSED; the signal's reason
   */
  accept(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<S> {
    const { signal } = options;
    try {
      const watch = this.#watch.of(this.#open("accept"));
      return attempt({ watch, direction: "read", signal }, this.#accepting);
    } catch (error) {
      return rejected(error);
    }
  }

  /**
   * Call `handler` with each connection in the moment it comes, until this listener is closed: the
   * fastest way to accept. The next one waits for a promise that the handler returns. While the
   * process is out of descriptors it waits, and warns once.
   *
   * @throws what the handler throws; UnixError ERR_CLOSED (closed before); the signal's reason
   */
  consume(
    handler: (socket: S) => unknown,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<void> {
    try {
      const watch = this.#watch.of(this.#open("accept"));
      return new Consumer(watch, this.#accepting, handler).start(options.signal);
    } catch (error) {
      return rejected(error);
    }
  }

  /** A connection, if there is one and this process can have it now. */
  #acceptInTime(): S | undefined {
    try {
      const accepted = this.#acceptOnce() ?? undefined;
      this.#pauseMs = FIRST_PAUSE_MS;
      return accepted;
    } catch (error) {
      if (!cannotAccept(error)) throw error;
      this.#warn(error);
      this.#pause();
      return undefined;
    }
  }

  /** Try again in a while: the kernel says nothing when a descriptor is free again (K8). */
  #pause(): void {
    if (this.#pausing) return;
    this.#pausing = true;
    const again = (): void => {
      this.#pausing = false;
      this.#watch.known?.kick("read");
    };
    setTimeout(again, this.#pauseMs).unref();
    this.#pauseMs = Math.min(2 * this.#pauseMs, LONGEST_PAUSE_MS);
  }

  #warn(error: UnixError): void {
    if (this.#warned) return;
    this.#warned = true;
    const where = formatAddress(this.address);
    process.emitWarning(`connections to ${where} have to wait: ${error.message}`, {
      type: "AcceptWarning",
      code: error.code,
    });
  }

  /** A connection that waits, or null. @throws UnixError EMFILE: it goes on waiting */
  tryAccept(): S | null {
    this.#open("accept");
    return this.#acceptOnce();
  }

  /** The next connection; blocks the thread. @throws UnixError ETIMEDOUT */
  acceptSync(options?: SyncOptions): S {
    const left = remaining(options?.timeoutMs);
    for (;;) {
      const accepted = this.tryAccept();
      if (accepted !== null) return accepted;
      const wait = left();
      if (wait === 0) throw new UnixError("accept", -errno.ETIMEDOUT);
      poll(this.fd, events.POLLIN, wait);
    }
  }

  #acceptOnce(): S | null {
    for (let refused = 0; refused < REFUSALS; refused++) {
      if (this.#connections >= this.#start.maxConnections) return null;
      const fd = accept(this.#open("accept")); // `allow` may have closed it
      if (fd === -errno.EAGAIN) return null;
      if (fd < 0 && fd !== -errno.ECONNABORTED) throw new UnixError("accept", fd);
      if (fd >= 0 && this.#allowed(fd)) return this.#wrap(fd);
      if (fd >= 0) closeOne(fd, "socket");
    }
    setImmediate(() => this.#watch.known?.kick("read"));
    return null;
  }

  #allowed(fd: number): boolean {
    const { allow } = this.#start;
    if (allow === null) return true;
    try {
      return allow(peerCredentials(fd));
    } catch (error) {
      closeOne(fd, "socket");
      throw error;
    }
  }

  #wrap(fd: number): S {
    const { type, settings } = this.#start;
    const handle = Fd.of(fd, "Listener.accept", "socket");
    try {
      applySettings(fd, settings);
    } catch (error) {
      handle.close();
      throw error;
    }
    const socket = socketOf(type, handle, settings);
    this.#connections += 1;
    socket.onClose(this.#oneLess);
    return socket as S;
  }

  readonly #oneLess = (): void => {
    this.#connections -= 1;
    if (this.#connections === this.#start.maxConnections - 1) this.#watch.known?.kick("read");
  };

  /** Connections as they come, until the listener is closed. */
  [Symbol.asyncIterator](): AsyncIterableIterator<S> {
    return iterate(async () => {
      try {
        return await this.accept();
      } catch (error) {
        if (this.closed) return null;
        throw error;
      }
    });
  }

  /** Hand the descriptor on; the socket's file stays. @throws UnixError ERR_CLOSED */
  release(): Fd {
    this.#start.binding?.leave();
    return Fd.of(this.#start.handle.release(), "Listener.release", "socket");
  }

  /** @internal Hand everything on: the descriptor, and the file with whoever removes it. */
  surrender(): { readonly handle: Fd; readonly binding: Binding | null } {
    const handle = Fd.of(this.#start.handle.release(), "Listener.surrender", "socket");
    return { handle, binding: this.#start.binding };
  }

  /** Stop listening and remove the socket's file if it is still ours. Connections stay open. */
  close(): void {
    if (this.closed) return;
    this.#start.binding?.remove();
    this.#start.handle.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
}

/** It may pass (K8). */
function cannotAccept(error: unknown): error is UnixError {
  return isShortage(error) && error.syscall === "accept";
}

/** Abstract names have no permissions: everyone could connect. */
function sameUser({ uid }: Credentials): boolean {
  return uid === process.geteuid?.();
}

/**
 * Listen on an address.
 *
 * @throws UnixError EADDRINUSE, EACCES, ENOENT (no such directory), ENOTDIR, ENAMETOOLONG
 * @see bind(2), listen(2), unix(7)
 */
export function listen<T extends ConnectionType = "stream">(
  address: AddressInput,
  options: ListenOptions<T> = {},
): Listener<SocketKinds[T]> {
  const { type = "stream", backlog = c.SOMAXCONN, maxConnections = Infinity } = options;
  const name = parseAddress(address);
  const settings = toSettings(options);
  checkFileOptions(options);
  checkBindOptions(options);
  integer("backlog", backlog);
  if (maxConnections !== Infinity) integer("maxConnections", maxConnections, { least: 1 });
  if ((type as string) === "datagram") throw new TypeError("a datagram socket cannot listen");
  const handle = Fd.of(check(socket(typeNumber(type)), "socket"), "listen", "socket");
  let binding: Binding;
  try {
    applySettings(handle.fd, settings); // accepted sockets begin with these, as of their connect
    const ready = (): void => {
      check(listenOn(handle.fd, backlog), "listen", { address: formatAddress(name) });
    };
    binding = takeAddress({ fd: handle.fd, type, address: name, options, ready });
  } catch (error) {
    handle.close();
    throw error;
  }
  const allow = options.allow ?? (name.kind === "path" ? null : sameUser);
  return new Listener({ handle, type, settings, binding, allow, maxConnections });
}

/** @internal A listener around a descriptor that somebody else opened and bound. */
export function adoptListener(
  handle: Fd,
  type: ConnectionType,
  settings: Settings,
  binding: Binding | null = null,
): Listener {
  return new Listener({
    handle,
    type,
    settings,
    binding,
    allow: null,
    maxConnections: Infinity,
  });
}

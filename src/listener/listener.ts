// Listening sockets.

import { poll as events } from "../../native/poll.ts";
import { socket as c } from "../../native/socket.ts";
import { type AddressInput, formatAddress, parseAddress } from "../address/address.ts";
import { callAlone } from "../base/callbacks.ts";
import { integer } from "../base/checks.ts";
import type { Abortable, SyncOptions } from "../base/deadline.ts";
import { check, UnixError } from "../base/errors.ts";
import { iterateOpen } from "../base/iterate.ts";
import { typeNumber } from "../base/socket-type.ts";
import { type Binding, checkFileOptions } from "../bind/binding.ts";
import { type BindOptions, bindExclusive, checkBindOptions } from "../bind/exclusive.ts";
import { originOf } from "../fd/closing.ts";
import { Fd } from "../fd/fd.ts";
import { FdOwner } from "../fd/owner.ts";
import { Again } from "../loop/again.ts";
import { attempt } from "../loop/attempt.ts";
import { Consumer } from "../loop/consume.ts";
import { rejected } from "../loop/gate.ts";
import { LazyWatch } from "../loop/lazy-watch.ts";
import { type Allow, checkAllow, Rules, sameUser } from "../peer/admission.ts";
import type { ConnectionType } from "../socket/connect.ts";
import { reportBacklog } from "../socket/kernel-limits.ts";
import { applySettings, type Settings, type SocketOptions, toSettings } from "../socket/options.ts";
import { type SocketKinds, wrapSocket } from "../socket/types.ts";
import type { Credentials } from "../structs/credentials.ts";
import type { Address } from "../structs/sockaddr-un.ts";
import { remaining } from "../syscalls/clock.ts";
import { setNonBlocking } from "../syscalls/fd.ts";
import { listen as listenOn, socket, socketName } from "../syscalls/socket.ts";
import { Acceptor } from "./acceptor.ts";

/** Who may connect, and how many. */
export interface AdmissionOptions {
  /**
   * Who may connect: `true` is yes, anything else is no. Others are closed as soon as they are
   * accepted. It is not waited for: a promise is a TypeError for the caller of accept, and a no, as
   * is what `allow` throws. Default: every user whom the file's permissions admit; for an abstract
   * name, which has none, this process's own user.
   */
  readonly allow?: ((peer: Credentials) => boolean) | undefined;
  /** Accepted sockets that may be open at a time; more wait in the backlog. Default: no limit. */
  readonly maxConnections?: number | undefined;
}

/** How to listen. Socket options hold for the accepted sockets. */
export interface ListenOptions<T extends ConnectionType = ConnectionType>
  extends SocketOptions,
    BindOptions,
    AdmissionOptions {
  /** Default "stream". "seqpacket" is not on macOS. */
  readonly type?: T | undefined;
  /** Connections that wait to be accepted. Default and most: net.core.somaxconn. */
  readonly backlog?: number | undefined;
}

/** How connections are served. */
export interface ServeConnectionsOptions extends Abortable {
  /** Told what a handler throws. Default: it is an uncaught exception. */
  readonly onError?: ((error: unknown) => void) | undefined;
}

/** As if an event listener had thrown it. */
const throwUncaught = (error: unknown): boolean =>
  callAlone(() => {
    throw error;
  });

interface ListenerParts {
  readonly handle: Fd;
  readonly type: ConnectionType;
  readonly settings: Settings;
  readonly binding: Binding | null;
  readonly rules: Rules;
}

/**
 * A listening socket. Made by {@link listen}, or by `adoptSocket` from one that was inherited.
 *
 * @see listen(2), accept(2)
 */
export class Listener<S extends SocketKinds[ConnectionType] = SocketKinds[ConnectionType]>
  extends FdOwner
  implements AsyncDisposable
{
  readonly #start: ListenerParts;
  readonly #watch = new LazyWatch();
  readonly #acceptor: Acceptor<S>;
  readonly #again: Again<S>;
  /**
   * @internal Called before the descriptor is closed or handed on: a server of Bun may accept from
   *   it.
   */
  onEnd: (() => void) | null = null;

  /** @internal */
  constructor(start: ListenerParts) {
    super(start.handle);
    this.#start = start;
    this.#acceptor = new Acceptor<S>({
      handle: start.handle,
      watch: this.#watch,
      rules: start.rules,
      where: () => formatAddress(this.address),
      take: (fd) => this.#wrap(fd),
    });
    this.#again = new Again(this.#acceptor);
  }

  /** Tells listeners from sockets. */
  get listening(): true {
    return true;
  }

  /** The type of what it accepts. */
  get type(): ConnectionType {
    return this.#start.type;
  }

  /** The address it listens on; a path is absolute. */
  get address(): Address {
    const { binding } = this.#start;
    if (binding !== null) return binding.address;
    const name = socketName(this.open("getsockname"), "getsockname");
    if (typeof name === "number") throw new UnixError("getsockname", name);
    return name;
  }

  /** Accepted sockets that are still open, those of a server that `serveOn` started too. */
  get connections(): number {
    return this.#start.rules.count();
  }

  /** @internal The rules and options that every accept from this listener follows. */
  get terms(): Pick<ListenerParts, "rules" | "settings"> {
    return this.#start;
  }

  /** @internal */
  protected reference(on: boolean): void {
    this.#watch.referenced = on;
  }

  /**
   * The next connection. While the process is out of descriptors it waits, and warns once.
   * @throws UnixError ERR_CLOSED; the signal's reason
   */
  accept(options: Abortable = {}): Promise<S> {
    const { signal } = options;
    try {
      const watch = this.#watch.of(this.open("accept"));
      const accepted = signal === undefined ? this.#again.once(watch) : null;
      if (accepted !== null) return accepted;
      return attempt({ watch, direction: "read", signal }, this.#acceptor);
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
  consume(handler: (socket: S) => unknown, options: Abortable = {}): Promise<void> {
    try {
      const watch = this.#watch.of(this.open("accept"));
      return new Consumer(watch, this.#acceptor, handler).start(options.signal);
    } catch (error) {
      return rejected(error);
    }
  }

  /**
   * Call `handler` with each connection in the moment it comes, and do not wait for what it
   * returns: all are served at the same time, while {@link consume} serves one after the other. The
   * handler closes the socket; what it throws, or its promise rejects with, closes it too, and goes
   * to `onError`, by default an uncaught exception.
   *
   * @throws as consume, but for what the handler throws
   */
  serve(handler: (socket: S) => unknown, options: ServeConnectionsOptions = {}): Promise<void> {
    const { onError = throwUncaught, signal } = options;
    for (const [name, value] of Object.entries({ handler, onError })) {
      if (typeof value !== "function") throw new TypeError(`${name} must be a function`);
    }
    const serveOne = (socket: S): void => {
      const failed = (error: unknown): void => {
        socket.close();
        onError(error);
      };
      (async () => await handler(socket))().catch(failed).catch(throwUncaught);
    };
    return this.consume(serveOne, { signal });
  }

  /** A connection that waits; undefined: none now. @throws UnixError EMFILE: it goes on waiting */
  tryAccept(): S | undefined {
    this.open("accept");
    return this.#acceptor.now() ?? undefined;
  }

  /** The next connection; blocks the thread. @throws UnixError ETIMEDOUT */
  acceptSync(options?: SyncOptions): S {
    const left = remaining(options?.timeoutMs);
    return this.blocking("accept", events.POLLIN, left, () => this.#acceptor.now() ?? undefined);
  }

  #wrap(fd: number): S {
    const { type, settings } = this.#start;
    const handle = Fd.of(fd, "Listener.accept", originOf(type));
    try {
      applySettings(fd, settings);
    } catch (error) {
      handle.close();
      throw error;
    }
    const socket = wrapSocket(type, handle, settings);
    socket.onClose(this.#acceptor.ended);
    return socket as S;
  }

  /** Connections as they come, until the listener is closed. */
  [Symbol.asyncIterator](): AsyncIterableIterator<S> {
    return iterateOpen(this, () => this.accept());
  }

  /** Hand the descriptor on; the socket's file stays. @throws UnixError ERR_CLOSED */
  release(): Fd {
    this.onEnd?.();
    this.#start.binding?.release();
    return Fd.of(this.handle.release(), "Listener.release", "socket");
  }

  /** @internal Hand everything on: the descriptor, and the binding that removes the file. */
  surrender(): { readonly handle: Fd; readonly binding: Binding | null } {
    this.onEnd?.();
    const handle = Fd.of(this.handle.release(), "Listener.surrender", "socket");
    return { handle, binding: this.#start.binding };
  }

  /** Stop listening and remove the socket's file if it is still ours. Connections stay open. */
  close(): void {
    if (this.closed) return;
    this.onEnd?.();
    this.#start.binding?.remove();
    this.handle.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
  }
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
  const { type = "stream", backlog = c.SOMAXCONN } = options;
  const name = parseAddress(address);
  const settings = toSettings(options);
  checkFileOptions(options);
  checkBindOptions(options);
  integer("backlog", backlog);
  const rules = rulesFor(options, name.kind === "path");
  if ((type as string) === "datagram") throw new TypeError("a datagram socket cannot listen");
  const handle = Fd.of(check(socket(typeNumber(type)), "socket"), "listen", "socket");
  let binding: Binding;
  try {
    applySettings(handle.fd, settings); // accepted sockets begin with these, as of their connect
    const ready = (): void => {
      check(listenOn(handle.fd, backlog), "listen", { address: formatAddress(name) });
    };
    binding = bindExclusive({ fd: handle.fd, type, address: name, options, ready });
  } catch (error) {
    handle.close();
    throw error;
  }
  if (options.backlog !== undefined) reportBacklog(backlog);
  return new Listener({ handle, type, settings, binding, rules });
}

/** @throws TypeError, RangeError */
export function checkAdmission({ allow, maxConnections = Infinity }: AdmissionOptions): void {
  checkAllow(allow);
  if (maxConnections !== Infinity) integer("maxConnections", maxConnections, { min: 1 });
}

/**
 * @internal The rules that `options` make. `permissions`: those of a file decide which users can
 *   connect at all.
 * @throws TypeError, RangeError
 */
export function rulesFor(options: AdmissionOptions, permissions: boolean): Rules {
  checkAdmission(options);
  const allow: Allow | null = options.allow ?? (permissions ? null : sameUser);
  return new Rules(allow, options.maxConnections);
}

/** Whether connecting to the socket takes permissions: a path does, an abstract name does not. */
export function hasPermissions(fd: number): boolean {
  const name = socketName(fd, "getsockname");
  return typeof name !== "number" && name.kind === "path";
}

/** @internal A listener around a descriptor that other code opened and bound. */
export function adoptListener(
  handle: Fd,
  { type, settings, admission, binding = null }: Adoption,
): Listener {
  const rules = rulesFor(admission, hasPermissions(handle.fd));
  setNonBlocking(handle.fd, true); // accept has no MSG_DONTWAIT
  return new Listener({ handle, type, settings, binding, rules });
}

interface Adoption {
  readonly type: ConnectionType;
  readonly settings: Settings;
  readonly admission: AdmissionOptions;
  readonly binding?: Binding | null;
}

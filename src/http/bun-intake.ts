// Bun accepts from the listener, and parses: a delegate of the server listens, with the listener
// under its descriptor number. When Bun has accepted a connection, and before it reads from it,
// this library asks the kernel who the client is, and then the rules.

import type { Server } from "node:http";
import { check, UnixError } from "../base/errors.ts";
import { setTimeout } from "../base/timers.ts";
import type { Listener } from "../listener/listener.ts";
import { admits } from "../peer/admission.ts";
import { peerCredentials } from "../peer/credentials.ts";
import {
  exchange,
  type Registration,
  registrations,
  resume,
  suspend,
} from "../serve/epoll-entry.ts";
import { findStarted, placeholderFor } from "../serve/placeholder.ts";
import { applySettings } from "../socket/options.ts";
import type { StreamSocket } from "../socket/stream.ts";
import { duplicateOnto } from "../syscalls/fd.ts";
import { rawName } from "../syscalls/socket.ts";
import { BunConnection } from "./bun-connection.ts";
import { type BunHandle, handleOf } from "./bun-handle.ts";
import { mark } from "./caller.ts";
import type { Intake } from "./connection-types.ts";
import { type BunStream, CopiedOptions, delegateOf } from "./delegate-server.ts";
import { FdRefusal } from "./fd-refusal.ts";
import type { ServiceView } from "./service-view.ts";
import { WhichFd } from "./which-fd.ts";

/** Start a delegate at a placeholder address, and find Bun's registration of its socket. */
export function startDelegate(delegate: Server): Registration {
  const where = placeholderFor("unix");
  const before = new Set(registrations().map(({ inode }) => inode));
  const { listen } = process.getBuiltinModule("node:http").Server.prototype;
  listen.call(delegate, "path" in where ? where.path : "");
  try {
    return findStarted(where, { before });
  } catch (error) {
    stopDelegate(delegate);
    throw error;
  }
}

/** By the method of the class: a server may have its own `close`. */
export function stopDelegate(delegate: Server): void {
  process.getBuiltinModule("node:http").Server.prototype.close.call(delegate);
}

const PAUSE_MS = 5;

export class BunIntake implements Intake {
  readonly by = "bun";
  readonly #service: ServiceView;
  readonly #listener: Listener<StreamSocket>;
  readonly #delegate: Server;
  readonly #copiedOptions: CopiedOptions;
  readonly #entry: Registration;
  readonly #which: WhichFd;
  readonly #refusal: FdRefusal;
  /** Connections that were admitted, and are open. */
  readonly #admitted = new Set<BunStream>();
  #open = false;
  #stopped = false;
  #count = 0;
  #referenced = true;
  #delegateReferenced = true;

  /** @throws UnixError, UnsupportedError: then nothing has been started */
  constructor(service: ServiceView) {
    const { listener, server } = service;
    this.#service = service;
    this.#listener = listener;
    this.#delegate = delegateOf(server, {
      accepted: (stream) => this.#accepted(stream),
      admitted: (stream) => this.#admitted.has(stream),
      requested: (answer) => service.requested(answer),
    });
    const name = rawName(listener.fd);
    if (typeof name === "number") throw new UnixError("getsockname", name);
    this.#entry = startDelegate(this.#delegate);
    this.#refusal = new FdRefusal(listener);
    try {
      this.#which = this.#finder(name);
      this.#copiedOptions = new CopiedOptions(server, this.#delegate);
      this.#install();
      listener.onEnd = () => {
        this.#stopAccepting();
        this.#refusal.end();
      };
    } catch (error) {
      this.#refusal.end();
      this.close();
      this.end();
      throw error;
    }
  }

  #finder(name: Uint8Array): WhichFd {
    const { epoll } = this.#entry;
    const trait = FdRefusal.of(this.#listener.fd) ? { trait: FdRefusal.of } : {};
    return new WhichFd({ epoll, name, ...trait });
  }

  #install(): void {
    const failed = exchange(this.#entry, this.#listener.fd);
    if (failed !== null) throw new UnixError(failed.step, failed.result);
    this.#open = true;
  }

  /**
   * Also while Bun is accepting, which it does until accept(2) would block: from the socket that is
   * under the number now nothing can be accepted.
   */
  #stopAccepting(): void {
    if (!this.#open) return;
    this.#open = false;
    suspend(this.#entry);
    duplicateOnto(this.#which.inetFd, this.#entry.fd);
  }

  onRoom(): void {
    if (this.#open || this.#stopped || this.#listener.closed || this.#service.full) return;
    try {
      check(duplicateOnto(this.#listener.fd, this.#entry.fd), "dup3");
      check(resume(this.#entry), "epoll_ctl");
      this.#open = true;
    } catch (error) {
      duplicateOnto(this.#which.inetFd, this.#entry.fd);
      this.#service.warn(`no connections are accepted for a moment: ${String(error)}`);
      setTimeout(() => this.onRoom(), PAUSE_MS); // the kernel is out of memory, or of watches
    }
  }

  #accepted(stream: BunStream): void {
    if (this.#admitted.has(stream)) return; // reported twice
    try {
      const connection = this.#admit(stream);
      if (connection !== null) this.#begin(connection);
      else stream.destroy();
    } catch (error) {
      stream.destroy();
      if (error instanceof UnixError) this.#service.warn(error.message);
      else this.#service.uncaught(error); // what `allow` or a listener threw
    }
  }

  /** null: it is refused. @throws what `allow` throws; UnixError */
  #admit(stream: BunStream): BunConnection | null {
    if (!this.#open) return null;
    const handle = handleOf(stream);
    const fd = handle === null ? -1 : this.#which.of(handle);
    if (handle === null || fd < 0) {
      this.#service.warn("the descriptor of an accepted connection was not found");
      return null;
    }
    let connection: BunConnection | null = null;
    try {
      connection = this.#checkRules(stream, handle, fd);
      return connection;
    } finally {
      if (connection === null) {
        stream.destroy();
        this.#which.ended(fd, handle);
      }
    }
  }

  /** null: the rules refuse it. */
  #checkRules(stream: BunStream, handle: BunHandle, fd: number): BunConnection | null {
    const { settings, rules } = this.#listener.terms;
    applySettings(fd, settings);
    if (!this.#which.hasTrait && !this.#refusal.appliesTo(fd)) {
      this.#service.warn("a connection was closed whose client had sent descriptors");
      return null;
    }
    const credentials = peerCredentials(fd);
    const connection = new BunConnection({ stream, handle, fd }, credentials);
    if (rules.allow !== null && !admits(rules.allow, credentials)) return null;
    return stream.destroyed || !this.#open ? null : connection; // `allow` may have closed either
  }

  /** @throws what a listener of "connection" throws */
  #begin(connection: BunConnection): void {
    const { stream } = connection;
    this.#admitted.add(stream);
    mark(stream, connection.caller);
    this.#listener.terms.rules.open += 1;
    this.#count += 1;
    this.#updateRef();
    const ended = (): void => this.#ended(connection);
    connection.onEnded = ended;
    stream.on("close", ended);
    this.#copiedOptions.update();
    this.#service.enter(connection);
    if (this.#service.full) this.#stopAccepting();
    this.#service.server.emit("connection", stream);
  }

  /** Once or more often. */
  #ended(connection: BunConnection): void {
    const { stream, handle, fd } = connection;
    if (!this.#admitted.delete(stream)) return;
    this.#listener.terms.rules.open -= 1;
    this.#count -= 1;
    this.#updateRef();
    this.#which.ended(fd, handle);
    this.#service.ended(connection);
  }

  stop(): void {
    this.#stopped = true;
    this.#stopAccepting();
    // a request that is read behind the last one is answered, too
    this.#copiedOptions.set("httpAllowHalfOpen", true);
  }

  reference(on: boolean): void {
    this.#referenced = on;
    this.#updateRef();
  }

  /** Bun's connections keep no process alive: the delegate does it for them. */
  #updateRef(): void {
    const on = this.#referenced || this.#count > 0;
    if (on === this.#delegateReferenced) return;
    this.#delegateReferenced = on;
    const { ref, unref } = process.getBuiltinModule("node:http").Server.prototype;
    (on ? ref : unref).call(this.#delegate);
  }

  close(): void {
    this.#stopped = true;
    this.#stopAccepting();
    stopDelegate(this.#delegate);
  }

  end(): void {
    this.#which?.close();
  }
}

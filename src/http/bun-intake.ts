// Bun accepts from the listener, and parses: a shadow of the server listens, with the listener
// under its number. In the moment in which Bun has accepted somebody, before it reads, this side
// looks who it is and asks the rules.

import type { Server } from "node:http";
import { check, UnixError } from "../base/errors.ts";
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
import { started, throwAway } from "../serve/placeholder.ts";
import { applySettings } from "../socket/options.ts";
import type { StreamSocket } from "../socket/stream.ts";
import { duplicateOnto } from "../syscalls/fd.ts";
import { rawName } from "../syscalls/socket.ts";
import { BunConnection } from "./bun-connection.ts";
import { mark } from "./caller.ts";
import type { Hall } from "./hall.ts";
import { Refusal } from "./refusal.ts";
import type { Intake } from "./served.ts";
import { type BunStream, Follower, shadowOf } from "./shadow.ts";
import { WhichFd } from "./which-fd.ts";

/** Start a shadow where nobody is, and find where Bun has its socket. */
export function startShadow(shadow: Server): Registration {
  const where = throwAway("unix");
  const before = new Set(registrations().map(({ inode }) => inode));
  const { listen } = process.getBuiltinModule("node:http").Server.prototype;
  listen.call(shadow, "path" in where ? where.path : "");
  try {
    return started(where, { before });
  } catch (error) {
    stopShadow(shadow);
    throw error;
  }
}

/** The class's own: a server may have others. */
export function stopShadow(shadow: Server): void {
  process.getBuiltinModule("node:http").Server.prototype.close.call(shadow);
}

const PAUSE_MS = 5;

export class BunIntake implements Intake {
  readonly by = "bun";
  readonly #hall: Hall;
  readonly #listener: Listener<StreamSocket>;
  readonly #shadow: Server;
  readonly #follower: Follower;
  readonly #entry: Registration;
  readonly #which: WhichFd;
  readonly #refusal: Refusal;
  /** Who was let in, and is here. */
  readonly #admitted = new WeakSet<BunStream>();
  #open = false;
  #stopped = false;
  #count = 0;
  #referenced = true;
  #held = true;

  /** @throws UnixError, UnsupportedError: then nothing has been started */
  constructor(hall: Hall) {
    const { listener, server } = hall;
    this.#hall = hall;
    this.#listener = listener;
    this.#shadow = shadowOf(server, {
      accepted: (stream) => this.#accepted(stream),
      admitted: (stream) => this.#admitted.has(stream),
      requested: (answer) => hall.requested(answer),
    });
    const name = rawName(listener.fd);
    if (typeof name === "number") throw new UnixError("getsockname", name);
    this.#entry = startShadow(this.#shadow);
    try {
      this.#which = new WhichFd({ epoll: this.#entry.epoll, name });
      this.#follower = new Follower(server, this.#shadow);
      this.#letIn();
      this.#refusal = new Refusal(listener);
      listener.onEnd = () => {
        this.#shut();
        this.#refusal.end();
      };
    } catch (error) {
      this.close();
      this.end();
      throw error;
    }
  }

  #letIn(): void {
    const failed = exchange(this.#entry, this.#listener.fd);
    if (failed !== null) throw new UnixError(failed.step, failed.result);
    this.#open = true;
  }

  /**
   * Also in the midst of Bun's accepting, which goes on until there is nothing more: from what is
   * under the number now nobody can be accepted.
   */
  #shut(): void {
    if (!this.#open) return;
    this.#open = false;
    suspend(this.#entry);
    duplicateOnto(this.#which.nowhere, this.#entry.fd);
  }

  room(): void {
    if (this.#open || this.#stopped || this.#listener.closed || this.#hall.full) return;
    try {
      check(duplicateOnto(this.#listener.fd, this.#entry.fd), "dup3");
      check(resume(this.#entry), "epoll_ctl");
      this.#open = true;
    } catch (error) {
      duplicateOnto(this.#which.nowhere, this.#entry.fd);
      this.#hall.warn(`nobody is accepted for a moment: ${String(error)}`);
      setTimeout(() => this.room(), PAUSE_MS); // the kernel is out of memory, or of watches
    }
  }

  #accepted(stream: BunStream): void {
    if (this.#admitted.has(stream)) return; // it is told once
    try {
      const connection = this.#admit(stream);
      if (connection !== null) this.#enter(connection);
      else stream.destroy();
    } catch (error) {
      stream.destroy();
      if (error instanceof UnixError) this.#hall.warn(error.message);
      else this.#hall.uncaught(error); // what `allow` or a listener threw
    }
  }

  /** null: it is not let in. @throws what `allow` throws; UnixError */
  #admit(stream: BunStream): BunConnection | null {
    if (!this.#open) return null;
    const fd = this.#which.of(stream);
    if (fd < 0) {
      this.#hall.warn("it is not known which connection was accepted");
      return null;
    }
    let connection: BunConnection | null = null;
    try {
      connection = this.#ask(stream, fd);
      return connection;
    } finally {
      if (connection === null) this.#which.ended(fd, stream);
    }
  }

  /** By the rules. */
  #ask(stream: BunStream, fd: number): BunConnection | null {
    const { settings, rules } = this.#listener.terms;
    applySettings(fd, settings);
    if (!this.#refusal.holdsFor(fd)) {
      this.#hall.warn("a connection was closed that began with descriptors");
      return null;
    }
    const credentials = peerCredentials(fd);
    const connection = new BunConnection(stream, fd, credentials);
    if (rules.allow !== null && !admits(rules.allow, credentials)) return null;
    return stream.destroyed || !this.#open ? null : connection; // by `allow`
  }

  /** @throws what a listener of "connection" throws */
  #enter(connection: BunConnection): void {
    const { stream, fd } = connection;
    const { rules } = this.#listener.terms;
    this.#admitted.add(stream);
    mark(stream, connection.caller);
    rules.open += 1;
    this.#count += 1;
    this.#hold();
    const left = (): void => {
      if (!this.#admitted.delete(stream)) return;
      rules.open -= 1;
      this.#count -= 1;
      this.#hold();
      this.#which.ended(fd, stream);
      this.#hall.gone(connection);
    };
    connection.onLeft = left;
    stream.once("close", left);
    this.#follower.follow();
    this.#hall.enter(connection);
    if (this.#hall.full) this.#shut();
    this.#hall.server.emit("connection", stream);
  }

  stop(): void {
    this.#stopped = true;
    this.#shut();
    this.#follower.set("httpAllowHalfOpen", true); // what is read behind the last is answered, too
  }

  reference(on: boolean): void {
    this.#referenced = on;
    this.#hold();
  }

  /** Bun's own connections keep nothing alive. */
  #hold(): void {
    const on = this.#referenced || this.#count > 0;
    if (on === this.#held) return;
    this.#held = on;
    const { ref, unref } = process.getBuiltinModule("node:http").Server.prototype;
    (on ? ref : unref).call(this.#shadow);
  }

  close(): void {
    this.#stopped = true;
    this.#shut();
    stopShadow(this.#shadow);
  }

  end(): void {
    this.#which?.close();
  }
}

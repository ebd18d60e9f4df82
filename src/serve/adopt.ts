// Bun's servers on a socket that Bun did not open: from systemd, a predecessor, this library.

import { errno } from "../../native/errno.ts";
import { file } from "../../native/file.ts";
import { system } from "../../native/platform.ts";
import { check, UnixError, UnsupportedError } from "../base/errors.ts";
import { describeFd } from "../fd/description.ts";
import { Fd, type FdLike, fdNumber } from "../fd/fd.ts";
import { inodeOf } from "../fd/inode.ts";
import { type AdmissionOptions, checkAdmission } from "../listener/listener.ts";
import { setNonBlocking, statusFlags } from "../syscalls/fd.ts";
import { rawName } from "../syscalls/socket.ts";
import { type AcceptControl, controlOf, remember } from "./drain.ts";
import { exchange, type Registration, registrations } from "./epoll-entry.ts";
import { closeIfStill, takesDescriptors } from "./native-fd.ts";
import {
  BUN_DIFFERS,
  findStarted,
  type PlaceholderAddress,
  placeholderFor,
} from "./placeholder.ts";
import { acceptByRules, termsFor } from "./rules.ts";

export type { PlaceholderAddress } from "./placeholder.ts";

/** What `start` may return: a Bun server or listener, or a server of Node's modules. */
export type Startable =
  | { stop(closeActiveConnections?: boolean): unknown }
  | { close(callback?: () => void): unknown };

/**
 * How to adopt. `allow` and `maxConnections` are for a descriptor of a Unix socket, which has no
 * rules of its own; a `Listener` keeps those that it was made with.
 */
export interface AdoptOptions extends AdmissionOptions {
  /**
   * Accept nothing until `resumeServer`: for a process that first has to make sure that it can
   * serve. Connections wait in the backlog, or are accepted by another process that has the socket.
   */
  readonly paused?: boolean | undefined;
}

/**
 * Start a server of Bun on a listening socket that is open already: TCP or Unix, made by systemd,
 * by another process, or by `listen`. HTTP, WebSocket, TLS, `reload` and `stop` work as ever.
 *
 * `start` is called once, and starts the server at `where`, an address that no client knows. Before
 * the server can accept there, its own socket is exchanged for `listening`. `start` has to return
 * the server itself, not a promise. On a Unix socket the server's `url` shows `where`; on TCP it is
 * right.
 *
 * The descriptor is borrowed: the server has a duplicate, which it closes when it is stopped; the
 * socket's file is left alone. The caller's own stays open: the caller must close it, at once or
 * later, and must not accept from it meanwhile. The socket is made non-blocking, for every process
 * that shares it.
 *
 * The rules of a `Listener` hold: `allow` (on an abstract name: this process's own user), and
 * `maxConnections`. A descriptor has those of `options`, by default as `listen` has them: every
 * client that may write to the file, and for an abstract name this process's own user. With rules
 * this library accepts and asks them. The client's connection then takes the place of one that the
 * server has accepted from this process; no bytes are copied, except those that a server sends
 * first. So `open` of Bun.listen and "connection" of node:net are called a moment before the
 * exchange: what they send arrives, and `peerCredentials`, `peer` and the like already tell of the
 * client, but do not duplicate or pass the descriptor before the first byte was received. If
 * `allow` throws, the client is refused, and the error is an uncaught exception.
 *
 * Of a `Listener`'s socket options, the buffers' sizes hold, and that descriptors are refused.
 * Descriptors that a client sends are closed in any case: Bun reads bytes only. So options that Bun
 * cannot keep (`passCredentials`, `passPidfd`, a number of `acceptFds`, `maxMessageBytes`,
 * `maxQueuedBytes`) are a TypeError.
 *
 * @throws what `start` throws; TypeError if it returns no server, for rules beside a `Listener`
 *   or for TCP, and for a `Listener` with options that Bun cannot keep; RangeError; UnixError
 *   ENOTSOCK, EBADF, EINVAL (not listening), EPROTOTYPE (no stream); then nothing has been started
 * @throws UnsupportedError if a step does not work in this Bun: then all is undone, the server
 *   stopped, the descriptor as it was. It is not on macOS
 * @see listen(2), epoll_ctl(2)
 */
export function serveOn<T extends Startable>(
  listening: FdLike,
  start: (where: PlaceholderAddress) => T,
  options: AdoptOptions = {},
): T {
  if (system !== "linux") throw new UnsupportedError("serveOn", "it needs epoll and /proc");
  checkAdmission(options);
  const listener = checkListener(fdNumber(listening));
  const terms = termsFor(listening, listener, options);
  const where = placeholderFor(listener.family);
  const before = new Set(registrations().map(({ inode }) => inode));
  const given = terms === null && takesDescriptors() ? Fd.duplicate(listener.fd) : null;
  const { paused = false } = options;
  let server: T;
  try {
    server = start(given === null ? where : { ...where, fd: given.fd });
  } catch (error) {
    if (given !== null) closeIfStill(given, listener.inode);
    throw error;
  }
  try {
    checkServer(server);
    const find = (): Registration => findStarted(where, { before, port: portOf(server) });
    const { epoll, control } =
      terms === null
        ? bunAccepts(takenByBun(given, listener) ?? install(listener, find()), paused)
        : acceptByRules(server, { listener, terms, entry: find(), paused });
    remember(server, { epoll, control, paused, name: listener.name });
  } catch (error) {
    stop(server);
    if (given !== null) closeIfStill(given, listener.inode);
    throw error;
  }
  return server;
}

/**
 * The former name of {@link serveOn}: the descriptor is borrowed, not adopted.
 *
 * @deprecated it is `serveOn`
 */
export const adoptServer: typeof serveOn = serveOn;

/** Bun accepts from the listener itself. */
function bunAccepts(
  entry: Registration,
  paused: boolean,
): { epoll: number; control: AcceptControl } {
  const control = controlOf(entry);
  if (paused) check(control.suspend(), "epoll_ctl"); // in the same turn: Bun has accepted nothing
  return { epoll: entry.epoll, control };
}

interface Listening {
  readonly fd: number;
  readonly inode: number;
  readonly family: "unix" | "inet" | "inet6";
  readonly name: Uint8Array;
}

function checkListener(fd: number): Listening {
  const { socket } = describeFd(fd);
  const refuse = (number: number, hint: string): never => {
    throw new UnixError("getsockopt", -number, { hint });
  };
  if (socket === undefined) return refuse(errno.ENOTSOCK, "a server needs a listening socket");
  const { family, type, listening } = socket;
  if (type !== "stream") return refuse(errno.EPROTOTYPE, "Bun serves on stream sockets only");
  if (!listening) return refuse(errno.EINVAL, "the socket does not listen: listen(2) first");
  if (family !== "unix" && family !== "inet" && family !== "inet6") {
    return refuse(errno.EAFNOSUPPORT, "Bun serves on TCP and Unix sockets only");
  }
  const name = rawName(fd);
  if (typeof name === "number") throw new UnixError("getsockname", name);
  return { fd, inode: inodeOf(fd), family, name };
}

function checkServer(server: Startable): void {
  if (typeof (server as { then?: unknown } | null)?.then === "function") {
    throw new TypeError("start has to return the server itself, not a promise of it");
  }
  if (stopper(server) === null) throw new TypeError("start has to return the server it started");
}

function stopper(server: unknown): (() => unknown) | null {
  const one = server as { stop?: unknown; close?: unknown } | null | undefined;
  if (typeof one?.stop === "function") return () => (one as { stop(all: true): void }).stop(true);
  if (typeof one?.close === "function") return () => (one as { close(): void }).close();
  return null;
}

/** Stop what `start` started, also when its promise is resolved later. */
function stop(server: unknown): void {
  const later = server as PromiseLike<unknown> | null;
  if (typeof later?.then === "function") later.then(stop, () => {});
  else stopper(server)?.();
}

/** Bun's registration of the descriptor that it was given; null: it has not taken it. */
function takenByBun(given: Fd | null, { inode }: Listening): Registration | null {
  if (given === null) return null;
  const entry = registrations().find((one) => one.inode === inode);
  if (entry === undefined) {
    given.close();
    return null;
  }
  if (entry.fd === given.fd) given.release();
  else given.close();
  return entry;
}

function portOf(server: Startable): number | undefined {
  const { port } = server as { port?: unknown };
  return typeof port === "number" ? port : undefined;
}

/** Exchange the placeholder for the listener, and verify it. */
function install({ fd, inode }: Listening, entry: Registration): Registration {
  const blocking = (check(statusFlags(fd), "fcntl") & file.O_NONBLOCK) === 0;
  check(setNonBlocking(fd, true), "fcntl"); // Bun accepts until there is nothing more
  try {
    const failed = exchange(entry, fd);
    if (failed !== null) {
      const cause = new UnixError(failed.step, failed.result);
      throw new UnsupportedError("serveOn", `${cause.message}; ${BUN_DIFFERS}`);
    }
    const now = registrations().find((one) => one.epoll === entry.epoll && one.fd === entry.fd);
    const same = now?.inode === inode && now.data === entry.data && now.events === entry.events;
    if (!same) throw new UnsupportedError("serveOn", `the exchange did not last; ${BUN_DIFFERS}`);
    return now;
  } catch (error) {
    if (blocking) setNonBlocking(fd, false);
    throw error;
  }
}

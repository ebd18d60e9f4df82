// Bun's servers on a socket that somebody else opened: systemd, a predecessor, this library.

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
import { type Door, directDoor, remember } from "./drain.ts";
import { exchange, type Registration, registrations } from "./epoll-entry.ts";
import { closeIfStill, takesDescriptors } from "./native-fd.ts";
import { type PlaceholderAddress, started, throwAway, WHY } from "./placeholder.ts";
import { termsOf, weAccept } from "./rules.ts";

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
   * Accept nothing until `resumeServer`: for a process that has to be sure that it can serve before
   * it may. Connections wait in the socket, or are another process's that has it too.
   */
  readonly paused?: boolean | undefined;
}

/**
 * Start a server of Bun on a listening socket that is open already: TCP or Unix, made by systemd,
 * by another process, or by `listen`. HTTP, WebSocket, TLS, `reload` and `stop` work as ever.
 *
 * `start` is called once, and starts the server at `where`, which nobody knows; before anything
 * can be accepted there, the server's own socket is exchanged for `listening`. It has to return the
 * server itself, not a promise. What the server says of its address (`url`) is of `where` on a Unix
 * socket; on TCP it is right.
 *
 * The descriptor is borrowed: the server has a duplicate, which it closes when it is stopped, and
 * a socket's file is left alone. The caller's stays open, his to close, at once or later; it must
 * not be accepted from meanwhile. The socket is made non-blocking, which all who share it see.
 *
 * The rules of a `Listener` hold: `allow` (on an abstract name: this process's own user), and
 * `maxConnections`. A descriptor has those of `options`, by default as `listen` has them: everybody
 * whom the file admits, and for an abstract name this process's own user. By rules this side
 * accepts, asks, and has the client's connection take the place of one that the server has accepted
 * from this process; no byte is copied, but for what a server says before it has heard anything. So
 * `open` of Bun.listen and "connection" of node:net come a moment early: what they send arrives,
 * and `peerCredentials`, `peer` and the like speak of the client already, but the descriptor is not
 * to be duplicated or passed on before the first byte has come. What `allow` throws refuses, and is
 * an uncaught exception.
 *
 * Of a `Listener`'s socket options, the buffers' sizes hold, and that descriptors are refused.
 * Descriptors that come are closed in any case: Bun reads bytes only. So options that promise more
 * (`passCredentials`, `passPidfd`, a number of `acceptFds`, `maxMessageBytes`, `maxQueuedBytes`)
 * are a TypeError.
 *
 * @throws what `start` throws; TypeError where it returns no server, for rules beside a `Listener`
 *   or for TCP, and for a `Listener` with options that Bun cannot keep; RangeError; UnixError
 *   ENOTSOCK, EBADF, EINVAL (not listening), EPROTOTYPE (no stream); then nothing has been started
 * @throws UnsupportedError where a step does not hold in this Bun: all is undone, the server
 *   stopped, the descriptor as it was; not on macOS
 * @see listen(2), epoll_ctl(2)
 */
export function serveOn<T extends Startable>(
  listening: FdLike,
  start: (where: PlaceholderAddress) => T,
  options: AdoptOptions = {},
): T {
  if (system !== "linux") throw new UnsupportedError("serveOn", "it takes epoll and /proc");
  checkAdmission(options);
  const listener = checkListener(fdNumber(listening));
  const terms = termsOf(listening, listener, options);
  const where = throwAway(listener.family);
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
    const find = (): Registration => started(where, { before, port: portOf(server) });
    const { epoll, door } =
      terms === null
        ? bunAccepts(taken(given, listener) ?? put(listener, find()), paused)
        : weAccept(server, { listener, terms, entry: find(), paused });
    remember(server, { epoll, door, paused, name: listener.name });
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
function bunAccepts(entry: Registration, paused: boolean): { epoll: number; door: Door } {
  const door = directDoor(entry);
  if (paused) check(door.suspend(), "epoll_ctl"); // still in the same turn: nothing was accepted
  return { epoll: entry.epoll, door };
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

/** Undo what `start` did, also where it is yet to be done. */
function stop(server: unknown): void {
  const later = server as PromiseLike<unknown> | null;
  if (typeof later?.then === "function") later.then(stop, () => {});
  else stopper(server)?.();
}

/** Where Bun itself has taken the descriptor it was given. */
function taken(given: Fd | null, { inode }: Listening): Registration | null {
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

/** Put the listener in the place of the throw-away one, and look whether it is there. */
function put({ fd, inode }: Listening, entry: Registration): Registration {
  const blocking = (check(statusFlags(fd), "fcntl") & file.O_NONBLOCK) === 0;
  check(setNonBlocking(fd, true), "fcntl"); // Bun accepts until there is nothing more
  try {
    const failed = exchange(entry, fd);
    if (failed !== null) {
      const cause = new UnixError(failed.step, failed.result);
      throw new UnsupportedError("serveOn", `${cause.message}; ${WHY}`);
    }
    const now = registrations().find((one) => one.epoll === entry.epoll && one.fd === entry.fd);
    const same = now?.inode === inode && now.data === entry.data && now.events === entry.events;
    if (!same) throw new UnsupportedError("serveOn", `the exchange did not last; ${WHY}`);
    return now;
  } catch (error) {
    if (blocking) setNonBlocking(fd, false);
    throw error;
  }
}

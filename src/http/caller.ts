// The caller of an HTTP request: the process that the kernel recorded when the connection was made,
// found from what a framework gives to its handlers.

import { closedError, UnsupportedError } from "../base/errors.ts";
import { peerCredentials, peerGroups } from "../peer/credentials.ts";
import { type VerifiedPeer, verifyPeer } from "../peer/verify.ts";
import type { StreamSocket } from "../socket/stream.ts";
import type { Credentials } from "../structs/credentials.ts";

/**
 * Who connected: the process that called connect(2), as the kernel recorded it then. A connection
 * can be passed on: the process that sends a request over it now may be another one.
 */
export interface Caller {
  /** Its pid in this pid namespace; null: it has none. After its end another may have it. */
  readonly pid: number | null;
  /** The effective user; null: this user namespace has no number for it; it equals no other. */
  readonly uid: number | null;
  /** The effective group, likewise. */
  readonly gid: number | null;
  /**
   * The supplementary groups that it had when it connected.
   * @throws UnixError ERR_CLOSED if the connection is closed and they were not asked before
   */
  groups(): readonly number[];
  /**
   * The process, verified now: pidfd, executable. Close it after use.
   * @throws UnixError ERR_CLOSED if the connection is closed
   */
  peer(): VerifiedPeer;
}

/** On each stream that a server got from us. Not exported, so that only this file sets it. */
const CALLER = Symbol("caller");

/**
 * @internal Who connected.
 * @param credentials what the kernel recorded
 * @param fd the descriptor at this moment; throws UnixError ERR_CLOSED
 */
export function makeCaller({ pid, uid, gid }: Credentials, fd: () => number): Caller {
  let known: readonly number[] | null = null;
  return Object.freeze({
    pid,
    uid,
    gid,
    groups: () => (known ??= Object.freeze(peerGroups(fd()))),
    peer: () => verifyPeer(fd()),
  });
}

/** @internal Who connected this socket. @throws UnixError if the kernel does not say */
export function callerOn(socket: StreamSocket): Caller {
  const fd = (): number => {
    if (socket.closed) throw closedError("getsockopt");
    return socket.fd;
  };
  return makeCaller(peerCredentials(fd()), fd);
}

/** @internal From now on `callerOf` finds the caller on this stream. */
export function mark(stream: object, caller: Caller): void {
  Object.defineProperty(stream, CALLER, { value: caller, configurable: true });
}

function get(from: unknown, key: PropertyKey): unknown {
  const may = (typeof from === "object" && from !== null) || typeof from === "function";
  if (!may) return undefined;
  try {
    return (from as Record<PropertyKey, unknown>)[key];
  } catch {
    return undefined; // a getter that throws now
  }
}

/** @internal The caller on a stream itself. */
export const markOn = (stream: unknown): Caller | undefined =>
  get(stream, CALLER) as Caller | undefined;

/** @internal The stream below a TLSSocket, which keeps it in a property that has no public name. */
export function callerBelow(stream: object): Caller | undefined {
  for (const key of Reflect.ownKeys(stream)) {
    const caller = markOn(get(stream, key));
    if (caller !== undefined) return caller;
  }
  return undefined;
}

/** The properties by which frameworks' objects lead to the stream. */
const streamPaths = [
  ["socket"], // IncomingMessage, ServerResponse; express, fastify's request, koa's context
  ["_socket"], // ws
  ["raw", "socket"], // fastify's reply
  ["req", "socket"], // a response that has lost its own
  ["env", "incoming", "socket"], // hono's context, by @hono/node-server
  ["incoming", "socket"], // its bindings
  ["request", "socket"], // socket.io's socket
] as const;

/** `c.req.raw` of @hono/node-server: its property has no public name. */
const INCOMING = "incomingKey";

function ofRequest(of: object): Caller | undefined {
  for (const key of Object.getOwnPropertySymbols(of)) {
    if (key.description !== INCOMING) continue;
    return markOn(get(get(of, key), "socket"));
  }
  return undefined;
}

/** A server of Bun.serve. */
export interface RequestServer {
  /** If this Bun has it (oven-sh/bun#29599): the descriptor of a request's connection. */
  requestFD?(request: Request): number | null;
}

/**
 * Who connected: frozen, and the same object for each request of a connection. undefined for what
 * did not come through {@link serveHttp}: over TCP, or from another server. Refuse a request that
 * has no caller.
 *
 * It is found from a request, a response or a socket of node:http, https and http2; from what
 * express, fastify, koa and hono (`c`, on @hono/node-server) give to their handlers; from a
 * WebSocket of ws and a socket of socket.io; also after an upgrade.
 */
export function callerOf(of: object): Caller | undefined;
/**
 * The same for a request of Bun.serve on a Unix socket; undefined once it has been answered.
 *
 * @throws UnsupportedError if this Bun does not tell which connection a request came over: no Bun
 *   up to 1.4.5 does
 */
export function callerOf(request: Request, server: RequestServer): Caller | undefined;
/** Both of the above. */
export function callerOf(of: object, server?: RequestServer): Caller | undefined {
  if (server !== undefined) return callerByServer(of as Request, server);
  const own = markOn(of);
  if (own !== undefined || typeof of !== "object" || of === null) return own;
  for (const path of streamPaths) {
    let value: unknown = of;
    for (const step of path) value = get(value, step);
    const caller = markOn(value);
    if (caller !== undefined) return caller;
  }
  return ofRequest(of);
}

const NO_REQUEST_FD =
  "this Bun does not tell which connection a request of Bun.serve came over. Serve with " +
  "node:http (hono, express, …) and serveHttp; or decide who may connect: listen's `allow`, " +
  "which holds for serveOn, and one address for each kind of caller";

function callerByServer(request: Request, server: RequestServer): Caller | undefined {
  if (typeof server.requestFD !== "function") {
    throw new UnsupportedError("requestCallers", NO_REQUEST_FD);
  }
  const fd = (): number => {
    const number = server.requestFD?.(request) ?? -1;
    if (number < 0) throw closedError("getsockopt");
    return number;
  };
  return (server.requestFD(request) ?? -1) < 0 ? undefined : makeCaller(peerCredentials(fd()), fd);
}

/** @internal For `capabilities()`. */
export const whyNoRequestCallers = NO_REQUEST_FD;

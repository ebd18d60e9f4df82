// Stopping a server without a client noticing: it accepts no new connections, the last answer on
// each open one says `Connection: close`, and only then is it stopped.

import { Backoff } from "../base/backoff.ts";
import { integer } from "../base/checks.ts";
import { sleep } from "../base/deadline.ts";
import { check, closedError } from "../base/errors.ts";
import { now } from "../base/timers.ts";
import { remaining } from "../syscalls/clock.ts";
import { connectionsOf, isCurrent, type Registration, resume, suspend } from "./epoll-entry.ts";

/** How to drain a server. */
export interface DrainOptions {
  /**
   * How long an idle connection is kept, in milliseconds; default 5,000. The answer to its client's
   * next request says `Connection: close`; without one the connection is closed after that time, as
   * on any keep-alive timeout.
   */
  readonly idleMs?: number | undefined;
  /**
   * Close requests and WebSockets that are still open after so many milliseconds. Default: never.
   */
  readonly timeoutMs?: number | undefined;
  /** Close them when it is aborted. */
  readonly signal?: AbortSignal | undefined;
}

/** Suspends and resumes accepting: Bun's own, or a `RulesAcceptor`'s. */
export interface AcceptControl {
  /** Whether the server still listens. */
  readonly current: boolean;
  /** Connections that are accepted, and that the server does not have yet. */
  readonly arriving: number;
  /** Accept no more connections; those that are open go on. 0, or a negative errno. */
  suspend(): number;
  resume(): number;
}

/** Bun accepts, as long as its epoll watches the socket. */
export const controlOf = (entry: Registration): AcceptControl => ({
  get current(): boolean {
    return isCurrent(entry);
  },
  arriving: 0,
  suspend: () => suspend(entry),
  resume: () => resume(entry),
});

interface Adopted {
  /** Started with `paused`, and not resumed yet. */
  paused: boolean;
  readonly control: AcceptControl;
  /** The epoll that has the server's connections. */
  readonly epoll: number;
  /** The listener's name, which its accepted sockets have too. */
  readonly name: Uint8Array;
}

const adopted = new WeakMap<object, Adopted>();
const drainingNow = new WeakSet<object>();

const IDLE_MS = 5_000;
const PAUSES = { first: 5, max: 100 } as const;

/** @internal */
export const remember = (server: object, how: Adopted): unknown => adopted.set(server, how);

/**
 * Let a server that was started with `paused` accept.
 * @throws TypeError for a server that is not from `serveOn`; UnixError if its descriptor is closed
 */
export function resumeServer(server: object): void {
  const how = adopted.get(server);
  if (how === undefined) throw new TypeError("only what serveOn has returned can be resumed");
  if (!how.paused) return;
  if (!how.control.current) throw closedError("epoll_ctl");
  check(how.control.resume(), "epoll_ctl");
  how.paused = false;
}

/** Whether `server` is being drained: answers should say `Connection: close`. */
export const isDraining = (server: object): boolean => drainingNow.has(server);

type Handler<R, S extends object, A> = (this: S, request: R, server: S) => A;

/**
 * `fetch`, or the handler of a route, that says `Connection: close` with each answer while its
 * server is being drained, so that the client's next request goes to the process that listens then.
 */
export function drainable<R, S extends object, A>(handler: Handler<R, S, A>): Handler<R, S, A> {
  return function (this: S, request: R, server: S): A {
    const answer: unknown = handler.call(this, request, server);
    const sent = (one: unknown): unknown => (isDraining(server) ? closing(one) : one);
    return (answer instanceof Promise ? answer.then(sent) : sent(answer)) as A;
  };
}

function closing(answer: unknown): unknown {
  if (answer instanceof Response) answer.headers.set("Connection", "close");
  return answer;
}

/** What `drain` needs of a server of Bun.serve. */
export interface Drainable {
  /** Requests that are being answered. */
  readonly pendingRequests: number;
  /** WebSockets that are open. */
  readonly pendingWebSockets: number;
  /** Close what is left. */
  stop(closeActiveConnections: boolean): unknown;
}

/**
 * Drain a server from `serveOn`: it accepts nothing more, serves the connections that it has, and
 * is stopped when they are closed, or idle. Connections that were not accepted wait on in the
 * backlog, for another process that has the socket. Its handlers should be `drainable`; WebSockets
 * are waited for, so close those whose clients can connect again.
 *
 * (Bun's own `stop()` closes connections on which it has read no request yet: a request that is in
 * flight there is lost.)
 *
 * @returns when all its connections are closed
 * @throws TypeError for a server that is not from `serveOn`; RangeError
 */
export async function drain(server: Drainable, options: DrainOptions = {}): Promise<void> {
  const how = adopted.get(server);
  if (how === undefined) throw new TypeError("drain is for what serveOn has returned");
  const idleMs = integer("idleMs", options.idleMs ?? IDLE_MS);
  const left = remaining(options.timeoutMs);
  drainingNow.add(server);
  if (how.control.current) how.control.suspend();
  try {
    const expired = (): boolean => options.signal?.aborted === true || left() === 0;
    await untilEmpty(server, how, { idleMs, expired, signal: options.signal });
  } finally {
    void server.stop(true); // Bun 1.3 would have us wait for handlers that never end
  }
}

interface DrainLimits {
  readonly idleMs: number;
  readonly expired: () => boolean;
  readonly signal: AbortSignal | undefined;
}

/** Until all connections are closed, or only idle ones are left after `idleMs`, or `expired`. */
async function untilEmpty(
  server: Drainable,
  { control, epoll, name }: Adopted,
  { idleMs, expired, signal }: DrainLimits,
): Promise<void> {
  const idleEnd = now() + idleMs;
  const pauses = new Backoff(PAUSES); // the first: the loop may still be accepting
  do {
    await sleep(pauses.next(), signal).catch(() => {});
    if (connectionsOf(name, epoll) + control.arriving === 0) return;
    const busy = server.pendingRequests + server.pendingWebSockets;
    if (busy === 0 && now() >= idleEnd) return;
  } while (!expired());
}

// Letting a server go without a client noticing: no new connections, the last answer on each of the
// old ones says so, and only then is it stopped.

import { Backoff } from "../base/backoff.ts";
import { integer } from "../base/checks.ts";
import { remaining, sleep } from "../base/deadline.ts";
import { check, closedError } from "../base/errors.ts";
import { connectionsOf, isCurrent, type Registration, resume, suspend } from "./epoll-entry.ts";

/** How to let a server go. */
export interface DrainOptions {
  /**
   * How long a connection that asks for nothing is kept, in milliseconds; default 5,000. Its client
   * is told with the answer to its next request; one that asks for nothing more is closed then, as
   * on any keep-alive timeout.
   */
  readonly idleMs?: number | undefined;
  /** Cut requests and WebSockets off that are still going on after so long. Default: never. */
  readonly timeoutMs?: number | undefined;
  /** Cut them off at once. */
  readonly signal?: AbortSignal | undefined;
}

/** Where connections come in: Bun itself accepts, or somebody who asks the rules first. */
export interface Door {
  /** Whether the server still listens there. */
  readonly current: boolean;
  /** Connections that are accepted, and not the server's yet. */
  readonly arriving: number;
  /** Accept nobody more, and go on: 0, or a negative errno. */
  suspend(): number;
  resume(): number;
}

/** Bun accepts, as long as its epoll watches the socket. */
export const directDoor = (entry: Registration): Door => ({
  get current(): boolean {
    return isCurrent(entry);
  },
  arriving: 0,
  suspend: () => suspend(entry),
  resume: () => resume(entry),
});

interface Adopted {
  /** Adopted with `paused`, and not resumed yet. */
  paused: boolean;
  readonly door: Door;
  /** The epoll that has the server's connections. */
  readonly epoll: number;
  /** The listener's name, which the accepted sockets have too. */
  readonly name: Uint8Array;
}

const adopted = new WeakMap<object, Adopted>();
const drainingNow = new WeakSet<object>();

const IDLE_MS = 5_000;
const LOOKS = { first: 5, max: 100 } as const;

/** @internal */
export const remember = (server: object, how: Adopted): unknown => adopted.set(server, how);

/**
 * Let a server that was adopted with `paused` accept.
 * @throws TypeError for any other; UnixError where its descriptor is gone
 */
export function resumeServer(server: object): void {
  const how = adopted.get(server);
  if (how === undefined) throw new TypeError("only what serveOn has returned can be resumed");
  if (!how.paused) return;
  if (!how.door.current) throw closedError("epoll_ctl");
  check(how.door.resume(), "epoll_ctl");
  how.paused = false;
}

/** Whether `server` is being drained: answers should say `Connection: close`. */
export const isDraining = (server: object): boolean => drainingNow.has(server);

type Handler<R, S extends object, A> = (this: S, request: R, server: S) => A;

/**
 * `fetch`, or the handler of a route, that says `Connection: close` with each answer while its
 * server is being drained, so that the client's next request goes to whoever listens then.
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

/** What drain needs of a server of Bun.serve. */
export interface Drainable {
  /** Requests that are being answered. */
  readonly pendingRequests: number;
  /** WebSockets that are open. */
  readonly pendingWebSockets: number;
  /** Close what is left. */
  stop(closeActiveConnections: boolean): unknown;
}

/**
 * Let a server from `serveOn` go: it accepts nothing more, serves the connections that it has,
 * and is stopped when they are gone, or idle. Connections that nobody has accepted wait on in the
 * socket, for whoever has it too. Its handlers should be `drainable`; WebSockets are waited for, so
 * close those that can come again.
 *
 * (Bun's own `stop()` closes connections on which no request has been read yet: a request that is
 * just on its way there is lost.)
 *
 * @returns when nothing of it is left
 * @throws TypeError for a server that was not adopted; RangeError
 */
export async function drain(server: Drainable, options: DrainOptions = {}): Promise<void> {
  const how = adopted.get(server);
  if (how === undefined) throw new TypeError("drain is for what serveOn has returned");
  const idleMs = integer("idleMs", options.idleMs ?? IDLE_MS);
  const left = remaining(options.timeoutMs);
  drainingNow.add(server);
  if (how.door.current) how.door.suspend();
  try {
    const enough = (): boolean => options.signal?.aborted === true || left() === 0;
    await emptied(server, how, { idleMs, enough, signal: options.signal });
  } finally {
    void server.stop(true); // Bun 1.3 would have us wait for handlers that never end
  }
}

interface Patience {
  readonly idleMs: number;
  readonly enough: () => boolean;
  readonly signal: AbortSignal | undefined;
}

/** Until all connections are gone, or those that are left have had their time, or it is enough. */
async function emptied(
  server: Drainable,
  { door, epoll, name }: Adopted,
  { idleMs, enough, signal }: Patience,
): Promise<void> {
  const idleEnd = performance.now() + idleMs;
  const pauses = new Backoff(LOOKS); // after the first, what the loop had in hand is accepted
  do {
    await sleep(pauses.next(), signal).catch(() => {});
    if (connectionsOf(name, epoll) + door.arriving === 0) return;
    const busy = server.pendingRequests + server.pendingWebSockets;
    if (busy === 0 && performance.now() >= idleEnd) return;
  } while (!enough());
}

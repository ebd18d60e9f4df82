// A delegate: a server of node:http that listens on behalf of another server. Requests that Bun
// accepts and parses for it go to that server's event listeners, and that server's options hold.
// The server itself may also listen, and may have several delegates.

import type { Server } from "node:http";
import type { Socket } from "node:net";
import type { AnyServer } from "./server-kinds.ts";

/** A connection as node:http of Bun has it. */
export interface BunStream extends Socket {
  /** As `destroy`, but at once. */
  destroyNow?(): void;
}

export interface DelegateHooks {
  /** Bun has just accepted it, and has read nothing from it. */
  accepted(stream: BunStream): void;
  /** Whether it was admitted. */
  admitted(stream: BunStream): boolean;
  /** A request has come, and goes to the server. */
  requested(answer: unknown): void;
}

/** The state that Bun keeps for what a server listens on: a delegate has its own. */
const ownState: Readonly<Record<string, () => unknown>> = {
  "http.server.pendingDrainClose": () => false,
  "http.server.pendingCloseGenerations": () => new Set(),
  "http.server.listenerGeneration": () => undefined,
  "http.server.connectionsCheckingInterval": () => undefined,
  "::bunternal::": () => undefined,
};
/** The properties that a server must have before it listens. */
const requiredState = [
  "http.server.pendingDrainClose",
  "http.server.pendingCloseGenerations",
  "http.server.listenerGeneration",
  "http.server.trackedConnections",
];

/** Events of the delegate, which the server does not see: it does not listen here. */
const ownEvents = new Set(["listening", "close", "error"]);

const symbolsOf = (of: object): Map<string | undefined, symbol> =>
  new Map(Object.getOwnPropertySymbols(of).map((key) => [key.description, key]));

/** Whether a delegate can be made for it: a server of this Bun's node:http, without TLS. */
export function canHaveDelegate(server: object): boolean {
  const keys = symbolsOf(server);
  const tls = keys.get("tls");
  const hasTls = tls !== undefined && Boolean(Reflect.get(server, tls));
  return !hasTls && requiredState.every((name) => keys.has(name));
}

/** Make a delegate. `listen`, `ref`, `unref` and `close` are its own, the rest is the server's. */
export function delegateOf(server: AnyServer & object, hooks: DelegateHooks): Server {
  const delegate = Object.create(server) as Server & AnyServer;
  for (const [name, key] of symbolsOf(server)) {
    const make = name === undefined ? undefined : ownState[name];
    if (make !== undefined) define(delegate, key, make());
  }
  define(delegate, "maxConnections", undefined); // else Bun would disconnect clients above it
  define(delegate, "once", () => delegate); // else a cluster's worker would report that it listens
  define(delegate, "emit", emitterFor(server, hooks));
  return delegate;
}

function define(delegate: object, key: PropertyKey, value: unknown): void {
  Object.defineProperty(delegate, key, { value, configurable: true, writable: true });
}

type Message = { readonly socket?: BunStream } | undefined;

function emitterFor(server: AnyServer, hooks: DelegateHooks): AnyServer["emit"] {
  /** Whether it may go on; a connection without a caller is not served. */
  const mayPass = (stream: BunStream | undefined): boolean => {
    if (stream === undefined || hooks.admitted(stream)) return true;
    stream.destroy();
    return false;
  };
  return (event: string, first: unknown, second: unknown, third: unknown): boolean => {
    if (event === "request") {
      const stream = (first as Message)?.socket;
      if (!mayPass(stream)) return true;
      if (stream !== undefined) hooks.requested(second);
      return server.emit(event, first, second); // with as many arguments as a listener expects
    }
    if (event === "connection") {
      hooks.accepted(first as BunStream);
      return true;
    }
    if (ownEvents.has(event)) return false;
    const isRequest = event !== "clientError";
    const stream = isRequest ? (first as Message)?.socket : (second as BunStream | undefined);
    if (!mayPass(stream)) return true;
    if (isRequest && stream !== undefined) hooks.requested(second);
    return server.emit(event, first, second, third);
  };
}

/** Options that Bun copies when a server begins to listen; they may be changed later. */
const copied = ["httpAllowHalfOpen", "maxHeadersCount"] as const;

/** Copies such options from the server to a delegate when they were changed. */
export class CopiedOptions {
  readonly #server: AnyServer;
  readonly #delegate: AnyServer;
  readonly #seen: unknown[];

  constructor(server: AnyServer, delegate: Server) {
    this.#server = server;
    this.#delegate = delegate as unknown as AnyServer;
    this.#seen = copied.map((name) => server[name]);
  }

  update(): void {
    for (let i = 0; i < copied.length; i++) {
      const value = this.#server[copied[i]!];
      if (value === this.#seen[i]) continue;
      this.#seen[i] = value;
      this.set(copied[i]!, value);
    }
  }

  /** Bun acts only on a changed value, and reads the server's: so it is first set to another. */
  set(name: (typeof copied)[number], value: unknown): void {
    if (name === "httpAllowHalfOpen") this.#delegate[name] = value !== true;
    this.#delegate[name] = value;
  }
}

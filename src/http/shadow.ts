// A server of node:http that listens in the name of another: what Bun accepts and parses for it
// goes to the other one's listeners, and the other one's options hold. The other need not listen
// itself, may, and may have several of these.

import type { Server } from "node:http";
import type { Socket } from "node:net";
import type { AnyServer } from "./kinds.ts";

/** A connection as node:http of Bun has it. */
export interface BunStream extends Socket {
  /** Beside `destroy`, at once. */
  destroyNow?(): void;
}

export interface Told {
  /** Bun has accepted it, in this moment; nothing of it has been read. */
  accepted(stream: BunStream): void;
  /** Whether it was let in. */
  admitted(stream: BunStream): boolean;
  /** A request comes, and goes on to the server. */
  requested(answer: unknown): void;
}

/** Bun's names for what a server keeps of what it listens on: it is the shadow's own. */
const apart: Readonly<Record<string, () => unknown>> = {
  "http.server.pendingDrainClose": () => false,
  "http.server.pendingCloseGenerations": () => new Set(),
  "http.server.listenerGeneration": () => undefined,
  "http.server.connectionsCheckingInterval": () => undefined,
  "::bunternal::": () => undefined,
};
/** What there is before a server listens, and which connections are open: the server's own. */
const needed = [
  "http.server.pendingDrainClose",
  "http.server.pendingCloseGenerations",
  "http.server.listenerGeneration",
  "http.server.trackedConnections",
];

/** Not for the server: it does not listen here. */
const own = new Set(["listening", "close", "error"]);

const named = (of: object): Map<string | undefined, symbol> =>
  new Map(Object.getOwnPropertySymbols(of).map((key) => [key.description, key]));

/** Whether a server is made as this needs it: of this Bun's node:http, and without TLS. */
export function canHaveShadow(server: object): boolean {
  const keys = named(server);
  const tls = keys.get("tls");
  return needed.every((name) => keys.has(name)) && !(tls !== undefined && Reflect.get(server, tls));
}

/** A shadow. `listen`, `ref`, `unref` and `close` are its own, the rest is the server's. */
export function shadowOf(server: AnyServer & object, told: Told): Server {
  const shadow = Object.create(server) as Server & AnyServer;
  for (const [name, key] of named(server)) {
    const make = name === undefined ? undefined : apart[name];
    if (make !== undefined) define(shadow, key, make());
  }
  define(shadow, "maxConnections", undefined); // Bun would disconnect who comes then
  define(shadow, "once", () => shadow); // what a cluster's worker tells of listening
  define(shadow, "emit", emitterFor(server, told));
  return shadow;
}

function define(shadow: object, key: PropertyKey, value: unknown): void {
  Object.defineProperty(shadow, key, { value, configurable: true, writable: true });
}

type Message = { readonly socket?: BunStream } | undefined;

function emitterFor(server: AnyServer, told: Told): AnyServer["emit"] {
  return (event: string, first: unknown, second: unknown, third: unknown): boolean => {
    if (event === "connection") {
      told.accepted(first as BunStream);
      return true;
    }
    if (own.has(event)) return false;
    const isRequest = event !== "clientError";
    const stream = isRequest ? (first as Message)?.socket : (second as BunStream | undefined);
    if (stream !== undefined) {
      if (!told.admitted(stream)) {
        stream.destroy(); // nobody is served without a name
        return true;
      }
      if (isRequest) told.requested(second);
    }
    return server.emit(event, first, second, third);
  };
}

/** What Bun copies when it begins to listen, and which may be changed later. */
const copied = ["httpAllowHalfOpen", "maxHeadersCount"] as const;

/** Have what was changed on the server hold for a shadow. */
export class Follower {
  readonly #server: AnyServer;
  readonly #shadow: AnyServer;
  readonly #seen = new Map<(typeof copied)[number], unknown>();

  constructor(server: AnyServer, shadow: Server) {
    this.#server = server;
    this.#shadow = shadow as unknown as AnyServer;
    for (const name of copied) this.#seen.set(name, server[name]);
  }

  follow(): void {
    for (const name of copied) {
      const value = this.#server[name];
      if (value === this.#seen.get(name)) continue;
      this.#seen.set(name, value);
      this.set(name, value);
    }
  }

  /** Bun looks whether it is another value, and sees the server's. */
  set(name: (typeof copied)[number], value: unknown): void {
    if (name === "httpAllowHalfOpen") this.#shadow[name] = value !== true;
    this.#shadow[name] = value;
  }
}

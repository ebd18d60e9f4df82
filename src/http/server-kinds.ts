// The kinds of server that can be given connections; https gets them through a TLS server.

import type { Server as HttpServer } from "node:http";
import type { Http2SecureServer, Http2Server } from "node:http2";
import type { Server as HttpsServer } from "node:https";
import type { Server, TLSSocket, TlsOptions } from "node:tls";
import { UnsupportedError } from "../base/errors.ts";
import type { HttpStream } from "./probe.ts";

/** What is used of a server of any kind. */
export interface AnyServer {
  emit(event: string, ...args: unknown[]): boolean;
  on(event: string, listener: (...args: never[]) => void): unknown;
  prependListener(event: string, listener: (...args: never[]) => void): unknown;
  removeListener(event: string, listener: (...args: never[]) => void): unknown;
  getConnections?(callback: (error: Error | null, count: number) => void): unknown;
  readonly timeout?: unknown;
  readonly maxConnections?: unknown;
  readonly headersTimeout?: unknown;
  readonly requestTimeout?: unknown;
  readonly keepAliveTimeout?: unknown;
  readonly keepAliveTimeoutBuffer?: unknown;
  httpAllowHalfOpen?: unknown;
  maxHeadersCount?: unknown;
}

/** An HTTP server: made by createServer of node:http, node:https or node:http2. */
export type AnyHttpServer = HttpServer | HttpsServer | Http2Server | Http2SecureServer;

/** "http2s": createSecureServer of node:http2, which does TLS itself. */
export type Kind = "http" | "https" | "http2" | "http2s";

/** @throws TypeError */
export function kindOf(server: unknown): Kind {
  const [http, https, tls, net] = [
    process.getBuiltinModule("node:http"),
    process.getBuiltinModule("node:https"),
    process.getBuiltinModule("node:tls"),
    process.getBuiltinModule("node:net"),
  ];
  if (server instanceof https.Server) return "https";
  if (server instanceof http.Server) return "http";
  const sessions = server instanceof net.Server && "updateSettings" in server;
  if (sessions) return server instanceof tls.Server ? "http2s" : "http2";
  throw new TypeError("serveHttp takes a server of node:http, node:https or node:http2");
}

const certificates = ["cert", "pfx", "SNICallback", "ALPNCallback", "pskCallback"] as const;

/** The options of https.createServer, which Bun keeps in a private symbol. */
function optionsOf(server: object): TlsOptions | null {
  for (const key of Object.getOwnPropertySymbols(server)) {
    const value: unknown = key.description === "options" ? Reflect.get(server, key) : null;
    if (typeof value !== "object" || value === null) continue;
    if (certificates.some((name) => (value as Record<string, unknown>)[name] != null)) return value;
  }
  return null;
}

/**
 * A TLS server in front of an https server; after its handshake a stream goes to `secured`.
 * @throws UnsupportedError if the https server does not say which certificate it has
 */
export function terminator(
  server: AnyServer & object,
  given: TlsOptions | undefined,
  secured: (stream: TLSSocket & HttpStream) => void,
): Server {
  const options = given ?? optionsOf(server);
  if (options === null) {
    const why = "this Bun does not say which certificate an https.Server has: pass it as `tls`";
    throw new UnsupportedError("serveHttp", why);
  }
  const front = process.getBuiltinModule("node:tls").createServer(options);
  front.on("secureConnection", secured);
  front.on("tlsClientError", (error, stream) => server.emit("tlsClientError", error, stream));
  return front;
}

// Bun's own object for a connection of node:http, which a stream keeps in a private symbol.

import type { BunStream } from "./delegate-server.ts";

const HANDLE = "handle";
let key: symbol | undefined;

/** Bun's own object for a connection. */
export interface BunHandle {
  /** Bun asks the kernel each time until it gets one; null for a Unix socket. */
  readonly localAddress: { readonly family?: unknown } | null;
  isRequestTimedOut(headersTimeout: number, requestTimeout: number): boolean;
}

/** null: the stream has none, or this Bun's is different. */
export function handleOf(stream: BunStream): BunHandle | null {
  key ??= Object.getOwnPropertySymbols(stream).find(({ description }) => description === HANDLE);
  const value: unknown = key === undefined ? null : Reflect.get(stream, key);
  const timed = typeof (value as BunHandle | null | undefined)?.isRequestTimedOut === "function";
  return timed ? (value as BunHandle) : null;
}

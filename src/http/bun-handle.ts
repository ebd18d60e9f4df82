// Bun's own object for a connection of node:http, which a stream keeps in a private symbol.

import type { BunStream } from "./delegate-server.ts";

const HANDLE = "handle";
let key: symbol | undefined;

/** What a connection shows of an address. */
interface ShownAddress {
  address: unknown;
  family: unknown;
  port: unknown;
}

/** Bun's own object for a connection. */
export interface BunHandle {
  /** Bun asks the kernel each time until it gets one, and keeps that; null for a Unix socket. */
  readonly localAddress: ShownAddress | null;
  /** Whether Bun has closed its descriptor. */
  readonly closed: boolean;
  isRequestTimedOut(headersTimeout: number, requestTimeout: number): boolean;
}

/** null: the stream has none, or this Bun's is different. */
export function handleOf(stream: BunStream): BunHandle | null {
  key ??= Object.getOwnPropertySymbols(stream).find(({ description }) => description === HANDLE);
  if (key === undefined) return null;
  const value = (stream as unknown as Record<symbol, BunHandle | null | undefined>)[key];
  const known = typeof value?.isRequestTimedOut === "function" && typeof value.closed === "boolean";
  return known ? value : null;
}

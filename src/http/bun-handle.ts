// What Bun's stream of node:http keeps of its connection, in a property without a public name.

import type { BunStream } from "./shadow.ts";

const HANDLE = "handle";
let key: symbol | undefined;

/** Bun's own object for a connection. */
export interface BunHandle {
  /** Asked of the kernel each time, until there is one; null for a Unix socket. */
  readonly localAddress: { readonly family?: unknown } | null;
  isRequestTimedOut(headersTimeout: number, requestTimeout: number): boolean;
}

/** null: it has none, or this Bun has another one. */
export function handleOf(stream: BunStream): BunHandle | null {
  key ??= Object.getOwnPropertySymbols(stream).find(({ description }) => description === HANDLE);
  const value: unknown = key === undefined ? null : Reflect.get(stream, key);
  const timed = typeof (value as BunHandle | null | undefined)?.isRequestTimedOut === "function";
  return timed ? (value as BunHandle) : null;
}

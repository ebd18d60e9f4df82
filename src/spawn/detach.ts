// Bun's own sockets, taken out of Bun so that another process can have them.

import { existsSync, linkSync, renameSync, rmSync } from "node:fs";
import type { Socket, TCPSocketListener, UnixSocketListener } from "bun";
import { closedError, fileCall } from "../base/errors.ts";
import { Fd, fdNumber } from "../fd/fd.ts";

/** A connection or a listener of Bun.listen or Bun.connect. */
export type BunSocket =
  | Socket<unknown>
  | TCPSocketListener<unknown>
  | UnixSocketListener<unknown>
  | { readonly fd: number; close(): void }
  | { readonly fd: number; stop(): void };

/** What is there, whatever Bun's types say. */
interface Actual {
  readonly fd?: unknown;
  readonly unix?: unknown;
  readonly close?: unknown;
  readonly stop?: unknown;
}

/**
 * Take a connection or a listener of Bun's out of Bun: the result is yours to pass on and to close,
 * Bun has closed its own. The connection itself stays as it is: `shutdown()` would end it for every
 * process that has it, `terminate()` would have it reset when the last of them closes it.
 *
 * Call it in the `open` handler: what Bun has read by then is in your `data` handler and nowhere
 * else, and what it has not written yet is lost. The `close` handler is called. It stays
 * non-blocking: for a program that reads plainly, set `nonBlocking` to false.
 *
 * Who takes it up with `Bun.connect({ fd })` or `Bun.listen({ fd })` gives the number to Bun, which
 * closes it in the end: an Fd goes there as `fd.release()`, a number that was inherited as it is.
 *
 * A listener's connections stay Bun's. Its socket file stays, too, but for a moment in which the
 * path is not there, since Bun removes it.
 *
 * @throws TypeError: none of Bun's, or TLS, whose keys cannot go along
 * @throws UnixError EMFILE; for a listener at a path what link(2) says if its folder may not be
 *   written to: everything is as it was then; ERR_CLOSED
 */
export function detachBunSocket(from: BunSocket): Fd {
  const actual = from as Actual;
  const release = releaseOf(actual);
  if (actual.fd === -1) throw closedError("detachBunSocket");
  const fd = Fd.duplicate(fdNumber(from as { readonly fd: number }));
  try {
    release();
  } catch (error) {
    fd.close();
    throw error;
  }
  return fd;
}

/** What has Bun close its descriptor and do nothing else to the socket. */
function releaseOf(from: Actual): () => void {
  const kind = Object.prototype.toString.call(from);
  if (kind === "[object TLSSocket]") throw new TypeError("a TLS connection's keys stay here");
  if (kind === "[object TCPSocket]" && typeof from.close === "function") {
    return from.close.bind(from) as () => void;
  }
  if (kind !== "[object Listener]" || typeof from.stop !== "function") throw notBuns();
  const stop = from.stop.bind(from) as () => void;
  const path = typeof from.unix === "string" && !from.unix.startsWith("\0") ? from.unix : null;
  return path === null || !existsSync(path) ? stop : () => keepingFile(path, stop);
}

const notBuns = (): TypeError =>
  new TypeError("detachBunSocket takes what Bun.listen and Bun.connect make; ours have release()");

/** `stop` removes whatever is at the path: a second name for it outlives that, and moves back. */
function keepingFile(path: string, stop: () => void): void {
  const second = `${path}.${process.pid}.kept`;
  const detail = { address: path };
  fileCall(() => linkSync(path, second), detail);
  try {
    stop();
  } finally {
    try {
      fileCall(() => renameSync(second, path), detail);
    } finally {
      // two names of one file: rename does nothing
      fileCall(() => rmSync(second, { force: true }), detail);
    }
  }
}

// Two sockets that are connected to each other.

import { UnixError } from "../base/errors.ts";
import { type SocketType, typeNumber } from "../base/socket-type.ts";
import { originOf } from "../fd/closing.ts";
import { Fd } from "../fd/fd.ts";
import { socketpair } from "../syscalls/socket.ts";
import { applySettings, type SocketOptions, toSettings } from "./options.ts";
import { type SocketKinds, wrapSocket } from "./types.ts";

/** Two sockets that are connected to each other; `using pair = …` closes both. */
export type SocketPair<S> = [S, S] & Disposable;

/**
 * Two sockets connected to each other, both yours to close. Hand one end to a child or over another
 * socket, or keep both. Options hold for both ends. `using pair = socketPair(…)` closes both.
 *
 * @throws UnixError EMFILE, ENFILE
 * @throws UnsupportedError for "seqpacket": not on macOS
 * @see socketpair(2)
 */
export function socketPair<T extends SocketType>(
  type: T,
  options?: SocketOptions,
): SocketPair<SocketKinds[T]> {
  const settings = toSettings(options);
  const made = socketpair(typeNumber(type));
  if (typeof made === "number") throw new UnixError("socketpair", made);
  const handles = made.map((fd) => Fd.of(fd, "socketPair", originOf(type)));
  try {
    for (const { fd } of handles) applySettings(fd, settings);
    const [a, b] = handles.map((handle) => wrapSocket(type, handle, settings));
    return disposable([a!, b!]);
  } catch (error) {
    for (const handle of handles) handle.close();
    throw error;
  }
}

/** An array of two as before to everything that looks at its elements. */
function disposable<S extends Disposable>(pair: [S, S]): SocketPair<S> {
  const value = (): void => {
    for (const socket of pair) socket[Symbol.dispose]();
  };
  return Object.defineProperty(pair, Symbol.dispose, { value }) as SocketPair<S>;
}

// Connecting a stream or seqpacket socket.

import { errno } from "../../native/errno.ts";
import { type AddressInput, absolute, formatAddress, parseAddress } from "../address/address.ts";
import { withShortAddress } from "../address/short-path.ts";
import { Backoff } from "../base/backoff.ts";
import { type Abortable, sleep, type TimeLimited } from "../base/deadline.ts";
import { check, UnixError } from "../base/errors.ts";
import { typeNumber } from "../base/socket-type.ts";
import { bindSocket } from "../bind/binding.ts";
import { originOf } from "../fd/closing.ts";
import { Fd } from "../fd/fd.ts";
import { whyUnreachable } from "../inspect/reach.ts";
import type { Address } from "../structs/sockaddr-un.ts";
import { remaining } from "../syscalls/clock.ts";
import { connect as connectOnce, socket } from "../syscalls/socket.ts";
import { applySettings, type Settings, type SocketOptions, toSettings } from "./options.ts";
import { type SocketKinds, wrapSocket } from "./types.ts";

/** A kind of socket that connects. */
export type ConnectionType = "stream" | "seqpacket";

/** How to connect. */
export interface ConnectOptions<T extends ConnectionType = ConnectionType>
  extends SocketOptions,
    TimeLimited {
  /** Default "stream". "seqpacket" is not on macOS. */
  readonly type?: T | undefined;
  /** Milliseconds to wait for a place in a full backlog, then ETIMEDOUT. Default: no limit. */
  readonly timeoutMs?: number | undefined;
  /** A name for this end too, so that the server sees where it comes from. Not removed on close. */
  readonly from?: AddressInput | undefined;
}

/**
 * Pauses between tries while the backlog is full: there is nothing to poll for
 * (facts: #full-backlog-says-eagain).
 */
const FULL = { first: 1, max: 50 } as const;

interface Connecting {
  readonly handle: Fd;
  readonly address: Address;
  readonly settings: Settings;
  readonly type: ConnectionType;
}

function begin(input: AddressInput, options: ConnectOptions): Connecting {
  const { type = "stream" } = options;
  if ((type as string) === "datagram") {
    throw new TypeError("connect is for stream and seqpacket: openDatagram has { connect }");
  }
  const number = typeNumber(type);
  const address = parseAddress(input);
  if (address.kind === "unnamed")
    throw new TypeError("connect needs an address: a socket without one cannot be reached");
  const from = options.from === undefined ? null : parseAddress(options.from);
  const settings = toSettings(options);
  const target = absolute(address); // the directory may change during the wait
  const handle = Fd.of(check(socket(number), "socket"), "connect", originOf(type));
  try {
    applySettings(handle.fd, settings);
    if (from !== null) bindSocket(handle.fd, from, { unlinkOnClose: false });
  } catch (error) {
    handle.close();
    throw error;
  }
  return { handle, address: target, settings, type };
}

/** True: connected. False: the backlog is full. */
function tryOnce({ handle, address }: Connecting): boolean {
  const result = withShortAddress(address, "connect", (short) => connectOnce(handle.fd, short));
  if (result >= 0) return true;
  if (result === -errno.EAGAIN) return false;
  const detail = { address: formatAddress(address), hint: whyUnreachable(address, result) };
  throw new UnixError("connect", result, detail);
}

function finish<T extends ConnectionType>({ type, handle, settings }: Connecting): SocketKinds[T] {
  return wrapSocket(type, handle, settings) as SocketKinds[T];
}

function timedOut({ address }: Connecting): UnixError {
  const detail = { address: formatAddress(address), hint: "the server's backlog stayed full" };
  return new UnixError("connect", -errno.ETIMEDOUT, detail);
}

/**
 * Connect to a listening socket. A full backlog is waited for; if no process listens it fails at
 * once.
 *
 * @throws UnixError ENOENT, ECONNREFUSED, EACCES, EPROTOTYPE, ETIMEDOUT; the signal's reason
 * @see connect(2), unix(7)
 */
export async function connect<T extends ConnectionType = "stream">(
  address: AddressInput,
  options: ConnectOptions<T> & Abortable = {},
): Promise<SocketKinds[T]> {
  options.signal?.throwIfAborted();
  const left = remaining(options.timeoutMs);
  const attempt = begin(address, options);
  try {
    for (const pauses = new Backoff(FULL); !tryOnce(attempt); ) {
      const wait = left();
      if (wait === 0) throw timedOut(attempt);
      await sleep(pauses.next(wait), options.signal);
    }
  } catch (error) {
    attempt.handle.close();
    throw error;
  }
  return finish<T>(attempt);
}

/**
 * {@link connect}, blocking the thread.
 * @throws as connect
 * @see connect(2)
 */
export function connectSync<T extends ConnectionType = "stream">(
  address: AddressInput,
  options: ConnectOptions<T> = {},
): SocketKinds[T] {
  const left = remaining(options.timeoutMs);
  const attempt = begin(address, options);
  try {
    for (const pauses = new Backoff(FULL); !tryOnce(attempt); ) {
      const wait = left();
      if (wait === 0) throw timedOut(attempt);
      Bun.sleepSync(pauses.next(wait));
    }
  } catch (error) {
    attempt.handle.close();
    throw error;
  }
  return finish<T>(attempt);
}

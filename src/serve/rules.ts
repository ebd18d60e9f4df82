// The rules of a server's listener, and the acceptor that keeps them.

import { errno } from "../../native/errno.ts";
import { formatAddress } from "../address/address.ts";
import { UnixError, UnsupportedError } from "../base/errors.ts";
import { setImmediate } from "../base/timers.ts";
import { Fd, type FdLike } from "../fd/fd.ts";
import { inodeOf } from "../fd/inode.ts";
import { type AdmissionOptions, Listener, rulesFor } from "../listener/listener.ts";
import type { Rules } from "../peer/admission.ts";
import { type Settings, toSettings } from "../socket/options.ts";
import { decodeSockaddr } from "../structs/sockaddr-un.ts";
import type { AcceptControl } from "./drain.ts";
import { exchange, type Registration } from "./epoll-entry.ts";
import { openPrivateSocket } from "./private-socket.ts";
import { RulesAcceptor } from "./rules-acceptor.ts";

/** By what rules clients are accepted, and with what socket options. */
export interface Terms {
  readonly rules: Rules;
  readonly settings: Settings;
}

interface Listening {
  readonly fd: number;
  readonly family: "unix" | "inet" | "inet6";
  readonly name: Uint8Array;
}

/** null: every client is admitted, so that Bun itself can accept. @throws TypeError */
export function termsFor(
  from: FdLike,
  { family, name }: Listening,
  options: AdmissionOptions,
): Terms | null {
  const given = options.allow !== undefined || options.maxConnections !== undefined;
  if (from instanceof Listener) {
    if (given) throw new TypeError("a Listener has its rules: give them to listen or adoptSocket");
    const { rules, settings } = from.terms;
    checkSettings(settings);
    return rules.none && !hasSizes(settings) ? null : from.terms;
  }
  if (family !== "unix") {
    if (given) throw new TypeError("allow and maxConnections are for Unix sockets, not for TCP");
    return null;
  }
  const rules = rulesFor(options, decodeSockaddr(name, name.length).kind === "path");
  return rules.none ? null : { rules, settings: toSettings() };
}

const usual = toSettings();

/** Sizes that the kernel does not copy from the listener to accepted sockets. */
const hasSizes = ({ sendBufferBytes, receiveBufferBytes }: Settings): boolean =>
  (sendBufferBytes ?? receiveBufferBytes) !== undefined;

/** The first option that a server of Bun would not keep: it reads bytes, in its own sizes. */
function lostSetting(settings: Settings): string | undefined {
  const lost = (
    ["passCredentials", "passPidfd", "maxMessageBytes", "maxQueuedBytes"] as const
  ).find((name) => settings[name] !== usual[name]);
  const wantsFds = settings.acceptFds !== 0 && settings.acceptFds !== usual.acceptFds;
  return lost ?? (wantsFds ? "acceptFds" : undefined);
}

export const keepsSettings = (settings: Settings): boolean => lostSetting(settings) === undefined;

/** @throws TypeError for options that a server of Bun would not keep */
function checkSettings(settings: Settings): void {
  const name = lostSetting(settings);
  if (name === undefined) return;
  const why = "a server of Bun reads bytes only, in its own sizes";
  throw new TypeError(`${name} of the listener would not hold: ${why}; leave it out`);
}

interface RulesStart {
  readonly listener: Listening;
  readonly terms: Terms;
  /** Bun's registration of the socket that `start` opened. */
  readonly entry: Registration;
  readonly paused: boolean;
}

/** Have Bun listen on a private socket, and accept the listener's clients for it. */
export function acceptByRules(
  server: object,
  { listener, terms, entry, paused }: RulesStart,
): { epoll: number; control: AcceptControl } {
  const { socket, pathFd } = openPrivateSocket();
  try {
    const control = acceptorFor({ listener, terms, entry: install(socket, entry) }, pathFd);
    followServer(server, control);
    if (!paused) control.resume();
    return { epoll: entry.epoll, control };
  } catch (error) {
    pathFd.close();
    throw error;
  } finally {
    socket.close();
  }
}

function acceptorFor(
  { listener, terms, entry }: Omit<RulesStart, "paused">,
  pathFd: Fd,
): RulesAcceptor {
  const listening = Fd.duplicate(listener.fd);
  try {
    listening.nonBlocking = true;
    const where = formatAddress(decodeSockaddr(listener.name, listener.name.length));
    return new RulesAcceptor({ ...terms, listening, pathFd, entry, where });
  } catch (error) {
    listening.close();
    throw error;
  }
}

function install(socket: Fd, entry: Registration): Registration {
  const inode = inodeOf(socket.fd);
  const failed = inode < 0 ? { step: "fstat", result: -errno.EIO } : exchange(entry, socket.fd);
  if (failed === null) return { ...entry, inode };
  const { message } = new UnixError(failed.step, failed.result);
  throw new UnsupportedError("serveOn", `the listener's rules cannot be kept: ${message}`);
}

const enders = ["stop", "close", Symbol.dispose, Symbol.asyncDispose] as const;

type Method = (...all: unknown[]) => unknown;

/**
 * When the server is stopped the acceptor is closed, and it keeps the process alive as long as the
 * server does. Bun has no event for either, so the server's methods are wrapped.
 */
function followServer(server: object, acceptor: RulesAcceptor): void {
  const look = (): void => {
    if (!acceptor.current) acceptor.close();
  };
  for (const name of enders) {
    after(server, name, () => {
      look();
      setImmediate(look);
    });
  }
  after(server, "ref", () => {
    acceptor.referenced = true;
  });
  after(server, "unref", () => {
    acceptor.referenced = false;
  });
}

function after(server: object, name: string | symbol, then: () => void): void {
  const method = (server as Record<string | symbol, unknown>)[name];
  if (typeof method !== "function") return;
  const value: Method = function (this: unknown, ...all) {
    try {
      return (method as Method).apply(this, all);
    } finally {
      then();
    }
  };
  Object.defineProperty(server, name, { value, configurable: true, writable: true });
}

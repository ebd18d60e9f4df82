// Which rules a server's listener has, and the doorway that keeps them.

import { errno } from "../../native/errno.ts";
import { formatAddress } from "../address/address.ts";
import { UnixError, UnsupportedError } from "../base/errors.ts";
import { Fd, type FdLike } from "../fd/fd.ts";
import { inodeOf } from "../fd/inode.ts";
import { type AdmissionOptions, Listener, rulesFor } from "../listener/listener.ts";
import type { Rules } from "../peer/admission.ts";
import { type Settings, toSettings } from "../socket/options.ts";
import { decodeSockaddr } from "../structs/sockaddr-un.ts";
import { Doorway } from "./doorway.ts";
import type { Door } from "./drain.ts";
import { exchange, type Registration } from "./epoll-entry.ts";
import { openHidden } from "./hidden.ts";

/** By what rules somebody is accepted, and with what socket options. */
export interface Terms {
  readonly rules: Rules;
  readonly settings: Settings;
}

interface Listening {
  readonly fd: number;
  readonly family: "unix" | "inet" | "inet6";
  readonly name: Uint8Array;
}

/** null: everybody may come in, so that Bun can accept itself. @throws TypeError */
export function termsOf(
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

/** What the kernel does not give to accepted sockets by itself. */
const hasSizes = ({ sendBufferBytes, receiveBufferBytes }: Settings): boolean =>
  (sendBufferBytes ?? receiveBufferBytes) !== undefined;

/** The first option that a server of Bun would not keep: it reads bytes, by its own sizes. */
function lostSetting(settings: Settings): string | undefined {
  const lost = (
    ["passCredentials", "passPidfd", "maxMessageBytes", "maxQueuedBytes"] as const
  ).find((name) => settings[name] !== usual[name]);
  const wantsFds = settings.acceptFds !== 0 && settings.acceptFds !== usual.acceptFds;
  return lost ?? (wantsFds ? "acceptFds" : undefined);
}

export const keepsSettings = (settings: Settings): boolean => lostSetting(settings) === undefined;

/** @throws TypeError for options that would promise more */
function checkSettings(settings: Settings): void {
  const name = lostSetting(settings);
  if (name === undefined) return;
  const why = "a server of Bun reads bytes only, by its own sizes";
  throw new TypeError(`${name} of the listener would not hold: ${why}; leave it out`);
}

interface Start {
  readonly listener: Listening;
  readonly terms: Terms;
  /** Where Bun has the socket that `start` opened. */
  readonly entry: Registration;
  readonly paused: boolean;
}

/** Have Bun listen where only this process can connect, and stand in front of it. */
export function weAccept(
  server: object,
  { listener, terms, entry, paused }: Start,
): { epoll: number; door: Door } {
  const { socket, way } = openHidden();
  try {
    const door = doorway({ listener, terms, entry: put(socket, entry) }, way);
    followServer(server, door);
    if (!paused) door.resume();
    return { epoll: entry.epoll, door };
  } catch (error) {
    way.close();
    throw error;
  } finally {
    socket.close();
  }
}

function doorway({ listener, terms, entry }: Omit<Start, "paused">, way: Fd): Doorway {
  const listening = Fd.duplicate(listener.fd);
  try {
    listening.nonBlocking = true;
    const where = formatAddress(decodeSockaddr(listener.name, listener.name.length));
    return new Doorway({ ...terms, listening, way, entry, where });
  } catch (error) {
    listening.close();
    throw error;
  }
}

function put(socket: Fd, entry: Registration): Registration {
  const inode = inodeOf(socket.fd);
  const failed = inode < 0 ? { step: "fstat", result: -errno.EIO } : exchange(entry, socket.fd);
  if (failed === null) return { ...entry, inode };
  const { message } = new UnixError(failed.step, failed.result);
  throw new UnsupportedError("serveOn", `the listener's rules cannot be kept: ${message}`);
}

const enders = ["stop", "close", Symbol.dispose, Symbol.asyncDispose] as const;

type Method = (...all: unknown[]) => unknown;

/**
 * When the server is stopped the doorway is closed, and it keeps the process alive as long as the
 * server does. Nothing tells of either, so its methods do.
 */
function followServer(server: object, door: Doorway): void {
  const look = (): void => {
    if (!door.current) door.close();
  };
  for (const name of enders) {
    after(server, name, () => {
      look();
      setImmediate(look);
    });
  }
  after(server, "ref", () => {
    door.referenced = true;
  });
  after(server, "unref", () => {
    door.referenced = false;
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

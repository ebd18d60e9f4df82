// Sending to the service manager's notification socket.

import { errno } from "../../native/errno.ts";
import type { AddressInput } from "../address/address.ts";
import { check, UnixError, UnsupportedError } from "../base/errors.ts";
import { toJson } from "../base/printable.ts";
import { Fd, type FdLike } from "../fd/fd.ts";
import { waitReadable } from "../readiness/readiness.ts";
import type { DatagramSocket } from "../socket/datagram.ts";
import { openDatagram } from "../socket/open-datagram.ts";
import { discard, pipe } from "../syscalls/fd.ts";

/** One datagram to the manager. */
export interface Notice {
  readonly text: string;
  readonly fds?: readonly FdLike[];
}

export interface Delivery {
  readonly notices: readonly Notice[];
  readonly barrier?: boolean;
  readonly signal?: AbortSignal | undefined;
  /** Whether waiting for room keeps the process alive. */
  readonly referenced: boolean;
}

/**
 * Send to the manager, if there is one; false: there is none. If the manager has room it is all out
 * when this returns.
 */
export async function deliver(delivery: Delivery): Promise<boolean> {
  const where = process.env["NOTIFY_SOCKET"];
  if (where === undefined || where === "") return false;
  const { notices, barrier = false, signal, referenced } = delivery;
  signal?.throwIfAborted();
  const channel = ManagerSocket.enter(where, referenced);
  try {
    for (const notice of notices) {
      const waiting = channel.say(notice, { signal });
      if (waiting !== null) await waiting;
    }
    if (barrier) await channel.barrier(signal);
  } finally {
    channel.leave();
  }
  return true;
}

/** Why a manager outside of this virtual machine cannot be reached. */
export const whyNoVsock = "only Unix sockets are spoken to";

/** @throws UnixError EINVAL, UnsupportedError */
function managerAddress(where: string): AddressInput {
  if (where.startsWith("/")) return { path: where };
  if (where.startsWith("@")) return { abstract: where.slice(1) };
  if (where.startsWith("vsock")) {
    throw new UnsupportedError("notifyVsock", `NOTIFY_SOCKET is ${where}: ${whyNoVsock}`);
  }
  const hint = `NOTIFY_SOCKET is ${toJson(where)}, neither an absolute path nor "@name"`;
  throw new UnixError("notify", -errno.EINVAL, { hint });
}

interface Saying {
  readonly signal: AbortSignal | undefined;
  readonly transfer?: boolean;
}

/**
 * A socket for the notifications that are under way at the same time: so they keep their order, and
 * nothing stays open between them.
 */
class ManagerSocket {
  static readonly #open = new Map<string, ManagerSocket>();
  readonly #key: string;
  readonly #to: AddressInput;
  readonly #socket: DatagramSocket;
  #users = 0;
  #identified = true;

  private constructor(key: string, where: string) {
    this.#key = key;
    this.#to = managerAddress(where);
    this.#socket = openDatagram();
  }

  static enter(where: string, referenced: boolean): ManagerSocket {
    const key = `${referenced} ${where}`;
    let channel = ManagerSocket.#open.get(key);
    if (channel === undefined) {
      channel = new ManagerSocket(key, where);
      if (!referenced) channel.#socket.unref();
      ManagerSocket.#open.set(key, channel);
    }
    channel.#users += 1;
    return channel;
  }

  leave(): void {
    this.#users -= 1;
    if (this.#users > 0) return;
    this.#socket.close();
    ManagerSocket.#open.delete(this.#key);
  }

  /**
   * null: it is out. It carries this process's credentials, whether or not the receiver has asked
   * the kernel for them yet. In a user namespace that cannot name them (EINVAL) only the kernel's
   * own remain.
   */
  say(notice: Notice, options: Saying): Promise<void> | null {
    try {
      return this.#send(notice, options);
    } catch (error) {
      if (!(error instanceof UnixError && error.code === "EINVAL" && this.#identified)) throw error;
      this.#identified = false;
      return this.#send(notice, options);
    }
  }

  #send({ text, fds }: Notice, { signal, transfer }: Saying): Promise<void> | null {
    const credentials = this.#identified ? {} : undefined;
    const options = { fds, transfer, credentials, to: this.#to };
    if (this.#socket.trySend(text, options) !== null) return null;
    return this.#socket.send(text, { ...options, signal });
  }

  /** Send one end of a pipe and wait until no process has it any more. @see sd_notify_barrier(3) */
  async barrier(signal: AbortSignal | undefined): Promise<void> {
    const made = pipe();
    if (typeof made === "number") throw new UnixError("pipe2", made);
    using reader = Fd.of(made[0], "notify", "ours");
    using writer = Fd.of(made[1], "notify", "ours");
    const notice = { text: "BARRIER=1", fds: [writer] };
    await this.say(notice, { signal, transfer: true });
    while (!(await waitReadable(reader, { signal })).ended) {
      check(discard(reader.fd), "read"); // a process wrote into it
    }
  }
}

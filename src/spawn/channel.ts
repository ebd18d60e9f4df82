// The socket between a child and the process that spawned it.

import { fstatSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { system } from "../../native/platform.ts";
import { fileCall, UnixError } from "../base/errors.ts";
import { toJson } from "../base/printable.ts";
import { describeFd } from "../fd/description.ts";
import type { Fd } from "../fd/fd.ts";
import { inodeOf } from "../fd/inode.ts";
import { adoptSocket } from "../listener/adopt.ts";
import { peerCredentials } from "../peer/credentials.ts";
import { type SocketOptions, toSettings } from "../socket/options.ts";
import { socketPair } from "../socket/pair.ts";
import type { SeqpacketSocket } from "../socket/seqpacket.ts";
import type { StreamSocket } from "../socket/stream.ts";

/** "<descriptor>:<inode of the socket>", and if there are options ":<they, as JSON>" */
export const CHANNEL = "BUNIX_CHANNEL";
const VALUE = /^(\d{1,9}):(\d+)(?::(\{.*\}))?$/;

/** What a channel goes over. */
export type ChannelType = "seqpacket" | "stream";
type ChannelSocket = SeqpacketSocket | StreamSocket;

/** What messages go over: macOS has no seqpacket sockets, and their frames need none. */
export const MESSAGES_OVER: ChannelType = system === "darwin" ? "stream" : "seqpacket";

/** Both ends of a child's channel; its own may block, as foreign programs expect. */
export class ChannelPair {
  readonly ours: ChannelSocket;
  readonly theirs: Fd;
  readonly #options: string;

  constructor(type: ChannelType, options: SocketOptions = {}) {
    this.#options = toJson(options);
    const [ours, end] = socketPair(type, options);
    this.ours = ours;
    this.theirs = end.release();
    try {
      this.theirs.nonBlocking = false;
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** The variable's value if the child has its end as `fd`. */
  named(fd: number): string {
    const which = `${fd}:${fileCall(() => fstatSync(this.theirs.fd)).ino}`;
    return this.#options === "{}" ? which : `${which}:${this.#options}`;
  }

  close(): void {
    this.ours.close();
    this.theirs.close();
  }
}

let channel: ChannelSocket | null = null;

/**
 * The channel to the process that spawned this one with `channel: true`; null if there is none, as
 * always on macOS. The first call takes it: the descriptor becomes close-on-exec, the variable
 * BUNIX_CHANNEL goes. Later ones return the same object, in the main thread; a Worker gets null.
 *
 * The parent's death reads as the end. `peerCredentials()` is the parent, as of the spawn.
 *
 * In another language: the number before the colon of BUNIX_CHANNEL is a connected, blocking
 * seqpacket socket: `int(os.environ["BUNIX_CHANNEL"].split(":")[0])` in Python. The inode behind
 * the colon tells a process that has only inherited the variable that it is not meant. Options may
 * follow behind a second colon, as JSON.
 *
 * What the parent gave as options of the channel holds here too.
 *
 * @param options for this end, as in `adoptSocket`, in the place of the parent's
 * @throws UnixError EINVAL (the variable is none of ours), EPROTOTYPE (no seqpacket Unix socket)
 */
export function parentChannel(options?: SocketOptions): SeqpacketSocket | null {
  return parentSocket("seqpacket", options) as SeqpacketSocket | null;
}

/** The socket of that type, once. */
export function parentSocket(type: ChannelType, options?: SocketOptions): ChannelSocket | null {
  if (!Bun.isMainThread) return null;
  const value = process.env[CHANNEL];
  if (value === undefined) return channel;
  const meant = meantFor(value);
  if (meant !== null) channel = adoptChannel(meant.fd, type, { ...meant.options, ...options });
  delete process.env[CHANNEL];
  return channel;
}

interface Meant {
  readonly fd: number;
  readonly options: SocketOptions;
}

/** The descriptor and the parent's options, or null if another process was meant. */
function meantFor(value: string): Meant | null {
  const [, fd, inode, said] = VALUE.exec(value) ?? [];
  const options = optionsOf(said);
  if (fd === undefined || options === null) {
    const hint = `${CHANNEL} is "${value}", not a descriptor, an inode and options`;
    throw new UnixError("parentChannel", -errno.EINVAL, { hint });
  }
  return inodeOf(Number(fd)) === Number(inode) ? { fd: Number(fd), options } : null;
}

/** null if they make no sense. */
function optionsOf(said: string | undefined): SocketOptions | null {
  try {
    const options = JSON.parse(said ?? "{}") as SocketOptions;
    toSettings(options);
    return options;
  } catch {
    return null;
  }
}

function adoptChannel(fd: number, type: ChannelType, options: SocketOptions): ChannelSocket {
  const { socket } = describeFd(fd);
  if (socket?.family !== "unix" || socket.type !== type || socket.listening) {
    const hint = `descriptor ${fd}, which ${CHANNEL} names, is no ${type} Unix socket`;
    throw new UnixError("parentChannel", -errno.EPROTOTYPE, { hint });
  }
  peerCredentials(fd); // ENODATA: not connected
  return adoptSocket(fd, options) as ChannelSocket;
}

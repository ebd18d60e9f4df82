// Sockets whose transport is POSIX message queues: docs/queue-socket.md says how.

import { integer } from "../base/checks.ts";
import type { Abortable } from "../base/deadline.ts";
import { type ConnectQueueOptions, connect, connectSync } from "./connect.ts";
import { type QueueDatagramOptions, QueueDatagramSocket } from "./datagram.ts";
import { takeOver } from "./inherit.ts";
import { type ListenQueueOptions, QueueListener } from "./listener.ts";
import { QueueSocket } from "./stream.ts";

/**
 * Listen under a name. It is this listener's alone while it lives, and what a crash has left is
 * taken over. Both ends of a connection run as the same user (or may trace each other's processes),
 * in one pid and one ipc namespace.
 *
 * @param name "/" and then up to 242 bytes without another "/"
 * @throws TypeError, RangeError; UnixError EADDRINUSE, EACCES; QueueLimitError
 * @throws UnsupportedError without POSIX message queues: not on macOS
 * @see mq_overview(7), docs/queue-socket.md
 */
export function listenQueue(name: string, options: ListenQueueOptions = {}): QueueListener {
  return QueueListener.open(name, options);
}

/**
 * Connect to a listener of this process's user, or of the `owner` given: anybody can take a name
 * first. A full backlog is waited for; if no process listens it fails at once.
 *
 * @throws TypeError, RangeError; UnixError ENOENT, ECONNREFUSED, EACCES (another user's, or `allow`
 *   said no), EPROTOTYPE (a datagram socket's name), EMFILE, ETIMEDOUT; QueueLimitError;
 *   the signal's reason
 * @throws UnsupportedError without POSIX message queues: not on macOS
 */
export function connectQueue(
  name: string,
  options: ConnectQueueOptions & Abortable = {},
): Promise<QueueSocket> {
  return connect(name, options);
}

/**
 * {@link connectQueue}, blocking the thread.
 * @throws as connectQueue; not on macOS
 */
export function connectQueueSync(name: string, options: ConnectQueueOptions = {}): QueueSocket {
  return connectSync(name, options);
}

/**
 * A datagram socket: under a name that is its own while it lives, or without one, reachable by who
 * was sent something (`message.from`).
 *
 * @throws TypeError, RangeError; UnixError EADDRINUSE, EACCES; QueueLimitError
 * @throws UnsupportedError without POSIX message queues: not on macOS
 */
export function openQueueDatagram(
  name?: string,
  options: QueueDatagramOptions = {},
): QueueDatagramSocket {
  return QueueDatagramSocket.open(name, options);
}

/**
 * The socket that another program (or this process before its exec) handed on with `inherit()`. It
 * owns both descriptors from then on; they are close-on-exec again. The other end learns which
 * process to watch.
 *
 * @throws TypeError for what is no such text; UnixError EBADF if the descriptors are not the
 *   socket's
 */
export function adoptQueueSocket(
  token: string,
  options: { readonly maxQueuedBytes?: number | undefined } = {},
): QueueSocket {
  const { maxQueuedBytes } = options;
  if (maxQueuedBytes !== undefined) {
    integer("maxQueuedBytes", maxQueuedBytes, { max: Number.MAX_SAFE_INTEGER });
  }
  const { moved, ...ends } = takeOver(token);
  const socket = new QueueSocket({ ...ends, maxQueuedBytes });
  if (moved) socket.announce();
  return socket;
}

// Queue sockets for tests: names of their own, pairs, and raw access to their queues.

import { closeSync, openSync } from "node:fs";
import { file } from "../../native/file.ts";
import {
  connectQueue,
  type ListenQueueOptions,
  listenQueue,
  type QueueListener,
  type QueueSocket,
} from "../../src/index.ts";
import { mqOpen, mqSend } from "../../src/syscalls/message-queue.ts";
import { freshQueueName, removeQueue } from "./queues.ts";

/** A name that no other test has. */
export const freshName = (): string => `${freshQueueName()}-socket`;

/** The kernel's name of the queue of a socket called `name`. */
export const kernelNameOf = (name: string): string => `${name}.queue-socket`;

/** Remove a socket's name that may be gone already. */
export const removeName = (name: string): void => removeQueue(kernelNameOf(name));

export interface Pair extends Disposable {
  readonly server: QueueSocket;
  readonly client: QueueSocket;
  readonly listener: QueueListener;
}

/** A connection and the listener that made it; all closed at the end of the block. */
export async function queuePair(options: ListenQueueOptions = {}): Promise<Pair> {
  const name = freshName();
  const listener = listenQueue(name, options);
  const both = Promise.all([connectQueue(name, options), listener.accept()]);
  const [client, server] = await both.catch((error: unknown) => {
    listener.close(); // whoever was told that there is no queue for it will not be accepted
    throw error;
  });
  return {
    server,
    client,
    listener,
    [Symbol.dispose]() {
      for (const one of [client, server, listener]) one.close();
    },
  };
}

/** Send raw bytes into the queue of a socket called `name`. */
export function rawSend(name: string, bytes: Uint8Array, priority = 0): void {
  const fd = mqOpen(kernelNameOf(name), file.O_WRONLY | file.O_NONBLOCK);
  if (fd < 0) throw new Error(`mq_open: ${fd}`);
  const sent = mqSend(fd, bytes, priority);
  closeSync(fd);
  if (sent < 0) throw new Error(`mq_send: ${sent}`);
}

/** Send raw bytes into a queue of this process. */
export function rawSendTo(number: number, bytes: Uint8Array): void {
  const fd = openSync(`/proc/self/fd/${number}`, file.O_WRONLY | file.O_NONBLOCK);
  const sent = mqSend(fd, bytes, 0);
  closeSync(fd);
  if (sent < 0) throw new Error(`mq_send: ${sent}`);
}

/** Exactly `count` bytes. */
export async function readBytes(socket: QueueSocket, count: number): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for (let have = 0; have < count; have += parts.at(-1)!.length) {
    const message = await socket.receive({ maxBytes: count - have });
    if (message === null) throw new Error(`ended after ${have} of ${count} bytes`);
    parts.push(message.data);
  }
  return Buffer.concat(parts);
}

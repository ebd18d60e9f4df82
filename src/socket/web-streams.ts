// WHATWG streams over a stream socket.

import { closedError } from "../base/errors.ts";
import type { Message } from "./message.ts";
import type { StreamSocket } from "./stream.ts";

/** Beside the sockets, few of which are asked for streams: connections stay small. */
const readables = new WeakMap<StreamSocket, ReadableStream<Uint8Array>>();
const writables = new WeakMap<StreamSocket, WritableStream<Uint8Array>>();

/** The one of this socket: two would compete for its bytes. */
export function readableOf(socket: StreamSocket): ReadableStream<Uint8Array> {
  const stream = readables.get(socket) ?? toReadable(socket);
  readables.set(socket, stream);
  return stream;
}

/** The one of this socket. */
export function writableOf(socket: StreamSocket): WritableStream<Uint8Array> {
  const stream = writables.get(socket) ?? toWritable(socket);
  writables.set(socket, stream);
  return stream;
}

const toReadable = (socket: StreamSocket): ReadableStream<Uint8Array> =>
  new ReadableStream<Uint8Array>(new Source(socket), { highWaterMark: 0 });

type Controller = ReadableStreamDefaultController<Uint8Array>;

/**
 * One receive for each pull: nothing is read before it is asked for. What is read is the stream's
 * in the same moment: a stream that was cancelled before that takes nothing out of the socket.
 */
class Source {
  readonly #socket: StreamSocket;
  readonly #stop = new AbortController();
  #ended = false;
  /** Tell the stream that its pull is done. */
  #pulled = (): void => {};
  /** Have the next one received; null before the first. */
  #goOn: (() => void) | null = null;

  constructor(socket: StreamSocket) {
    this.#socket = socket;
  }

  pull(controller: Controller): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#pulled = resolve;
    if (this.#goOn === null) this.#begin(controller);
    else this.#goOn();
    return promise;
  }

  #begin(controller: Controller): void {
    const ended = (): void => {
      this.#ended = true;
    };
    const { signal } = this.#stop;
    const finish = (): void =>
      this.#ended ? controller.close() : controller.error(closedError("recvmsg"));
    this.#socket
      .consumeToEnd((message) => this.#take(message, controller), { ended, signal })
      .then(finish, (error: unknown) => controller.error(error))
      .catch(() => {}) // it was cancelled: there is no reader to be told
      .finally(() => this.#pulled());
  }

  /** Resolves when the next one is wanted. */
  #take(message: Message, controller: Controller): Promise<void> {
    message.close();
    controller.enqueue(message.data);
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#goOn = resolve;
    this.#pulled();
    return promise;
  }

  cancel(reason: unknown): void {
    this.#stop.abort(reason);
  }
}

/** Each write resolves when the kernel has taken it, so back-pressure is the kernel's. */
function toWritable(socket: StreamSocket): WritableStream<Uint8Array> {
  return new WritableStream<Uint8Array>({
    write: (chunk) => socket.send(chunk),
    close: () => socket.end(),
    abort: () => socket.end(),
  });
}

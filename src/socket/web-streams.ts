// WHATWG streams over a stream socket.

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

/** Pulls one receive at a time: nothing is read before it is asked for. */
function toReadable(socket: StreamSocket): ReadableStream<Uint8Array> {
  const stop = new AbortController();
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller): Promise<void> {
        const message = await socket.receive({ signal: stop.signal });
        if (message === null) return controller.close();
        message.close();
        controller.enqueue(message.data);
      },
      cancel(reason): void {
        stop.abort(reason);
      },
    },
    { highWaterMark: 0 },
  );
}

/** Each write resolves when the kernel has taken it, so back-pressure is the kernel's. */
function toWritable(socket: StreamSocket): WritableStream<Uint8Array> {
  return new WritableStream<Uint8Array>({
    write: (chunk) => socket.send(chunk),
    close: () => socket.end(),
    abort: () => socket.end(),
  });
}

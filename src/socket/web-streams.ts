// WHATWG streams over a stream socket.

import type { StreamSocket } from "./stream.ts";

/** Pulls one receive at a time: nothing is read before it is asked for. */
export function toReadable(socket: StreamSocket): ReadableStream<Uint8Array> {
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
export function toWritable(socket: StreamSocket): WritableStream<Uint8Array> {
  return new WritableStream<Uint8Array>({
    write: (chunk) => socket.send(chunk),
    close: () => socket.end(),
    abort: () => socket.end(),
  });
}

// sink.ts PATH FORM TOTAL: receives, and answers one byte after every TOTAL bytes. FORM: "await",
// "consume", or either into a buffer of its own: "into", "consumeInto".

import { listen, type StreamSocket } from "../../src/index.ts";

const [path = "", form = "await", total = "0"] = process.argv.slice(2);
const ROOM = 256 * 1024;
const answer = new Uint8Array(1);

/** Counts what a socket has received. */
function counter(socket: StreamSocket): (bytes: number) => Promise<void> | undefined {
  let left = Number(total);
  return (bytes) => {
    left -= bytes;
    if (left > 0) return undefined;
    left += Number(total);
    return socket.send(answer);
  };
}

async function awaiting(socket: StreamSocket): Promise<void> {
  const count = counter(socket);
  for (;;) {
    const message = await socket.receive();
    if (message === null) break;
    count(message.data.length);
  }
}

async function into(socket: StreamSocket): Promise<void> {
  const count = counter(socket);
  const buffer = new Uint8Array(new ArrayBuffer(ROOM));
  for (;;) {
    const received = await socket.receiveInto(buffer);
    if (received === null) break;
    count(received.bytes);
  }
}

function consuming(socket: StreamSocket): Promise<void> {
  const count = counter(socket);
  return socket.consume(({ data }) => count(data.length));
}

function consumingInto(socket: StreamSocket): Promise<void> {
  const count = counter(socket);
  const buffer = new Uint8Array(new ArrayBuffer(ROOM));
  return socket.consumeInto(buffer, ({ bytes }) => count(bytes));
}

const serve = { consume: consuming, into, consumeInto: consumingInto }[form] ?? awaiting;

for await (const socket of listen(path)) {
  serve(socket)
    .catch(() => {}) // the client went with bytes unread
    .finally(() => socket.close());
}

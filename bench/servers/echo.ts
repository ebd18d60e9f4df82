// echo.ts PATH FORM [MICROS]: an echo server on bunix, until it is killed. FORM is how it accepts
// and receives: "await" in a loop, or "consume". MICROS: busyPollMicros.

import { configureLoop, listen, type StreamSocket } from "../../src/index.ts";

const [path = "", form = "await", micros = "0"] = process.argv.slice(2);

async function awaiting(socket: StreamSocket): Promise<void> {
  for (;;) {
    const message = await socket.receive();
    if (message === null) break;
    await socket.send(message.data);
  }
}

function consuming(socket: StreamSocket): Promise<void> {
  return socket.consume(({ data }) => {
    const sent = socket.trySend(data);
    return sent === data.length ? undefined : socket.send(data.subarray(sent ?? 0));
  });
}

configureLoop({ busyPollMicros: Number(micros) });
const listener = listen(path);

function serve(socket: StreamSocket): void {
  const end = (): void => socket.close(); // also where the client went in the middle of a message
  (form === "consume" ? consuming(socket) : awaiting(socket)).then(end, end);
}

if (form === "consume") await listener.consume(serve);
else for await (const socket of listener) serve(socket);

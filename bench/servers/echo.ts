// echo.ts PATH FORM [MICROS]: an echo server on bunix, until it is killed. FORM is how it receives:
// "await" in a loop, or "consume". MICROS: busyPollMicros.

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

const serve = form === "consume" ? consuming : awaiting;
configureLoop({ busyPollMicros: Number(micros) });

for await (const socket of listen(path)) {
  const end = (): void => socket.close(); // also where the client went in the middle of a message
  serve(socket).then(end, end);
}

// bunix.ts PATH: an echo server on bunix, until its last client has gone.

import { listen, type StreamSocket } from "../../src/index.ts";

const listener = listen(process.argv[2] ?? "");
let clients = 0;

async function echo(socket: StreamSocket): Promise<void> {
  clients += 1;
  for (;;) {
    const message = await socket.receive();
    if (message === null) break;
    await socket.send(message.data);
  }
  socket.close();
  clients -= 1;
  if (clients === 0) listener.close();
}

for await (const socket of listener) void echo(socket);

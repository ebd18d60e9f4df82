// accept.ts PATH FORM: accepts, asks who it is, closes; until it is killed. FORM is how it accepts:
// "await" in a loop, or "consume".

import { listen, type StreamSocket } from "../../src/index.ts";

const [path = "", form = "await"] = process.argv.slice(2);
const listener = listen(path);

function see(socket: StreamSocket): void {
  if (socket.peerCredentials().pid === 0) process.exit(1);
  socket.close();
}

if (form === "consume") await listener.consume(see);
else for await (const socket of listener) see(socket);

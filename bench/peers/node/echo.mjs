// echo.mjs PATH: an echo server on node:net, until it is killed.

import { createServer } from "node:net";

createServer((socket) => {
  socket.on("data", (data) => socket.write(data));
  socket.on("error", () => socket.destroy());
}).listen({ path: process.argv[2], backlog: 4096 });

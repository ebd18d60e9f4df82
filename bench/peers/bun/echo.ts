// echo.ts PATH: an echo server on Bun's own sockets, until it is killed.

Bun.listen({
  unix: process.argv[2] ?? "",
  socket: {
    data(socket, data) {
      socket.write(data);
    },
  },
});

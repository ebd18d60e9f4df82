// accept.ts PATH: accepts on Bun's own sockets, and closes; until it is killed.

Bun.listen({
  unix: process.argv[2] ?? "",
  socket: {
    open(socket) {
      socket.terminate();
    },
    data() {},
  },
});

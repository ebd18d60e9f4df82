// bun-listen.ts PATH: the same on Bun's own sockets.

let clients = 0;

const listener = Bun.listen({
  unix: process.argv[2] ?? "",
  socket: {
    open() {
      clients += 1;
    },
    data(socket, data) {
      socket.write(data);
    },
    close() {
      clients -= 1;
      if (clients === 0) listener.stop();
    },
  },
});

// sink.ts PATH TOTAL: receives on Bun's own sockets, and answers one byte after every TOTAL bytes.

const total = Number(process.argv[3]);
const answer = new Uint8Array(1);

Bun.listen<{ left: number }>({
  unix: process.argv[2] ?? "",
  socket: {
    open(socket) {
      socket.data = { left: total };
    },
    data(socket, bytes) {
      socket.data.left -= bytes.length;
      if (socket.data.left > 0) return;
      socket.data.left += total;
      socket.write(answer);
    },
  },
});

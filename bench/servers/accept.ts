// accept.ts PATH: accepts, asks who it is, closes; until it is killed.

import { listen } from "../../src/index.ts";

for await (const socket of listen(process.argv[2] ?? "")) {
  if (socket.peerCredentials().pid === 0) process.exit(1);
  socket.close();
}

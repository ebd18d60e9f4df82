// Bun's own server, and the question that it cannot answer: who has connected?
//
//   bun examples/adopt-bun-socket.ts

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { peerCredentials } from "bunix";

const directory = mkdtempSync(join(tmpdir(), "bunix-"));
const unix = join(directory, "bun.sock");
const { promise: said, resolve } = Promise.withResolvers<string>();

const server = Bun.listen({
  unix,
  socket: {
    open(socket) {
      const { fd } = socket as unknown as { fd: number }; // it is there, Bun's types omit it
      const { pid, uid } = peerCredentials(fd); // borrowed: the socket stays Bun's
      socket.end(`you are pid ${pid} of user ${uid}`);
    },
    data() {},
  },
});
await Bun.connect({ unix, socket: { data: (_, bytes) => resolve(bytes.toString()) } });
const answer = await said;
console.log(answer);
if (!answer.startsWith(`you are pid ${process.pid} `)) process.exitCode = 1;
server.stop(true);
rmSync(directory, { recursive: true });

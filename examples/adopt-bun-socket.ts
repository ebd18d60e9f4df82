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
    data(socket) {
      const { fd } = socket as unknown as { fd: number }; // it is there, Bun's types omit it
      const { pid, uid } = peerCredentials(fd); // borrowed: the socket stays Bun's
      socket.end(`you are pid ${pid} of user ${uid}`);
    },
  },
});
const client = { data: (_: unknown, bytes: Buffer) => resolve(bytes.toString()) };
(await Bun.connect({ unix, socket: client })).write("who am I?");
const answer = await said;
console.log(answer);
if (!answer.startsWith(`you are pid ${process.pid} `)) process.exitCode = 1;
server.stop(true);
rmSync(directory, { recursive: true });

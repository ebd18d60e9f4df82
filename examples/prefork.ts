// A pre-fork server: one process accepts, four answer.
//
//   bun examples/prefork.ts

import { adoptSocket, connect, listen, parentChannel, spawn } from "bunix";

const channel = parentChannel();
if (channel !== null) {
  for await (const message of channel) {
    if (message.credentials?.pid !== process.ppid) throw new Error("not from my parent");
    using socket = adoptSocket(message.takeFds()[0]!, { expect: "stream" });
    await socket.send(`from worker ${message.text()}`);
  }
} else {
  const workers = [0, 1, 2, 3].map(() =>
    spawn([process.execPath, import.meta.path], { channel: { passCredentials: true } }),
  );
  using server = listen(`@bunix-prefork-${process.pid}`);
  for (let i = 0; i < 12; i++) {
    using client = await connect(server.address);
    const accepted = await server.accept();
    const fds = [accepted.release()]; // given away: closed here once it is on its way
    await workers[i % 4]?.channel.send(String(i % 4), { fds, transfer: true });
    using answer = await client.receive();
    console.log(answer?.text());
    if (answer?.text() !== `from worker ${i % 4}`) process.exitCode = 1;
  }
  for (const { channel } of workers) channel.close(); // each ends when it has read the end
}

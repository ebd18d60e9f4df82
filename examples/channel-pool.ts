// A pool of workers: each connection goes to the worker that is free, as part of a request.
//
//   bun examples/channel-pool.ts

import { adoptSocket, connect, type Fd, listen, parentMessages, StreamSocket, spawn } from "bunix";

const parent = parentMessages<{ n: number; client: Fd }>();
if (parent !== null) {
  await parent.serve(async ({ value: { n, client } }) => {
    using socket = adoptSocket(client);
    if (socket instanceof StreamSocket) await socket.send(`answer ${n * n}`);
    return { done: n };
  });
} else {
  const command = [process.execPath, import.meta.path];
  const workers = [0, 1, 2].map(() => spawn(command, { channel: "messages" }).messages);
  const free = [...workers];
  using server = listen(`@bunix-pool-${process.pid}`);
  for (let n = 0; n < 9; n++) {
    using client = await connect(server.address);
    using accepted = await server.accept();
    const worker = free.shift()!;
    const done = worker.request({ n, client: accepted }, { timeoutMs: 20_000 });
    using answer = await client.receive();
    console.log(answer?.text());
    await done.then(() => free.push(worker));
  }
  for (const worker of workers) worker.close(); // each ends when it has read the end
}

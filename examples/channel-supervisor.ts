// A supervisor: it owns the listener, and lends it to a child that serves; when the child dies, the
// next one gets the same listener, and no connection is refused.
//
//   bun examples/channel-supervisor.ts

import { adoptSocket, connect, type Fd, type Listener, listen, parentMessages, spawn } from "bunix";

const parent = parentMessages<{ cmd: string; on: Fd }, { ready: number }>();
const message = await parent?.receive();
if (parent !== null && message) {
  using listener = adoptSocket(message.value.on) as Listener;
  await parent.send({ ready: process.pid });
  for await (const client of listener) {
    await client.send(`hello from ${process.pid}`);
    process.exit(1); // this server is not a good one
  }
} else {
  using on = listen(`@bunix-supervisor-${process.pid}`);
  for (let life = 1; life <= 3; life++) {
    await using child = spawn([process.execPath, import.meta.path], { channel: "messages" });
    await child.messages.send({ cmd: "serve", on });
    const { value } = (await child.messages.receive())!;
    using client = await connect(on.address);
    using answer = await client.receive();
    const right = answer?.text() === `hello from ${(value as { ready: number }).ready}`;
    console.log(
      `life ${life}: answered by the child: ${right}, it ended with ${await child.exited}`,
    );
  }
}

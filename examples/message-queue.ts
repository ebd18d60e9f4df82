// A POSIX message queue: a mailbox with priorities that processes share by its name.
//
//   bun examples/message-queue.ts

import { MessageQueue } from "bunix";

if (process.argv[2] === "worker") {
  using queue = MessageQueue.open(process.argv[3] ?? "", { access: "write" });
  await queue.send("tidy up", { priority: 0 });
  await queue.send("fire!", { priority: 9 });
  await queue.send("make coffee", { priority: 1 });
} else {
  const name = `/bunix-example-${process.pid}`;
  using queue = MessageQueue.open(name, { create: true, exclusive: true, maxMessages: 5 });
  const worker = Bun.spawn([process.execPath, import.meta.path, "worker", name]);
  process.exitCode = await worker.exited; // the messages outlive their sender

  console.log(`${queue.attributes().currentMessages} of ${queue.maxMessages} messages`);
  for (let i = 0; i < 3; i++) {
    const message = await queue.receive(); // waits on Bun's event loop if there is none
    console.log(message.priority, message.text()); // 9 fire!, 1 make coffee, 0 tidy up
  }
  queue.unlink(); // until then the queue stays, even without a process
}

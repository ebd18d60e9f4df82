// Memory that two processes see at once: handed over as a descriptor, never copied.
//
//   bun examples/shared-memory.ts

import { adoptSocket, SharedMemory, socketPair } from "bunix";

if (process.argv[2] === "child") {
  using socket = adoptSocket(3, { expect: "stream" });
  using message = await socket.receive();
  const [fd] = message?.takeFds() ?? [];
  if (fd === undefined) throw new Error("no memory came");
  using memory = SharedMemory.map(fd);
  memory.bytes.set(new TextEncoder().encode("written by the child"));
  await socket.send("done");
} else {
  const [ours, theirs] = socketPair("stream");
  using memory = SharedMemory.create(20);
  const command = [process.execPath, import.meta.path, "child"];
  const child = Bun.spawn(command, { stdio: ["ignore", "inherit", "inherit", theirs.fd] });
  theirs.close();
  await ours.send("here is some memory", { fds: [memory] });
  await ours.receive();
  console.log(new TextDecoder().decode(memory.bytes));
  process.exitCode = await child.exited;
  ours.close();
}

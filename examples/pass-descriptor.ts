// Hand an open file to another process. What travels is the open file itself, not its name.
//
//   bun examples/pass-descriptor.ts

import { closeSync, openSync } from "node:fs";
import { adoptSocket, socketPair } from "bunix";

if (process.argv[2] === "child") {
  using socket = adoptSocket(3, { expect: "stream" });
  using message = await socket.receive();
  const file = message?.fds[0];
  if (file === undefined) throw new Error("no descriptor came");
  console.log(`child ${process.pid} has got "${message?.text()}", a ${file.describe().kind}`);
  console.log(`it begins: ${(await Bun.file(file.fd).text()).split("\n")[0]}`);
} else {
  const [ours, theirs] = socketPair("stream");
  const command = [process.execPath, import.meta.path, "child"];
  const child = Bun.spawn(command, { stdio: ["ignore", "inherit", "inherit", theirs.fd] });
  theirs.close(); // the child has its own now
  const file = openSync(import.meta.path, "r");
  await ours.send("my source", { fds: [file] });
  closeSync(file); // it was lent, not given
  process.exitCode = await child.exited;
  ours.close();
}

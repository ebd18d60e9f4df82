// Hand an open file to a process of which only the pid is known: no socket between the two.
//
//   bun examples/send-fd.ts

import { openSync, readFileSync } from "node:fs";
import { receiveFds, sendFd } from "bunix";

const realtimeSignal = "SIGRTMIN+3";

if (process.argv[2] === "receiver") {
  using receiver = receiveFds({ realtimeSignal, allow: ({ uid }) => uid === process.getuid?.() });
  console.log("listening");
  const { fd, pid, uid } = await receiver.receive();
  console.log(`receiver ${process.pid} has got a ${fd.describe().kind} from ${pid}, uid ${uid}`);
  console.log(`it begins: ${readFileSync(fd.fd, "utf8").split("\n")[0]}`);
  fd.close();
} else {
  const command = [process.execPath, import.meta.path, "receiver"];
  const child = Bun.spawn(command, { stdio: ["ignore", "pipe", "inherit"] });
  const output = child.stdout.getReader();
  await output.read(); // it listens: a process that does not would be refused, not killed
  await sendFd(child.pid, openSync(import.meta.path, "r"), { realtimeSignal, transfer: true });
  console.log(`sender ${process.pid}: it is there`);
  for (let part = await output.read(); !part.done; part = await output.read()) {
    process.stdout.write(part.value);
  }
  process.exitCode = await child.exited;
}

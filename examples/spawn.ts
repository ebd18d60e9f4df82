// A child with exactly the descriptors you list, and a channel to it, in whatever language.
//
//   bun examples/spawn.ts

import { mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Fd, listen, parentChannel, spawn } from "bunix";

const channel = parentChannel();
if (channel !== null) {
  for await (const message of channel) {
    const { LISTEN_FDNAMES, LISTEN_PID } = process.env;
    const mine = Number(LISTEN_PID) === process.pid;
    await channel.send(`${message.text()} to you; from 3: ${LISTEN_FDNAMES}, mine: ${mine}`);
  }
} else {
  const directory = mkdtempSync(join(tmpdir(), "bunix-"));
  const server = listen(join(directory, "web.sock"));
  using log = Fd.adopt(openSync(join(directory, "log"), "a"));
  const command = [process.execPath, import.meta.path];
  const child = spawn(command, { fds: { web: server, log }, channel: true, stderr: "inherit" });
  await child.channel.send("hello");
  const answer = (await child.channel.receive())?.text();
  console.log(answer); // hello to you; from 3: web:log, mine: true
  child.channel.close(); // the child reads the end
  process.exitCode = (await child.exited) || (answer?.endsWith("web:log, mine: true") ? 0 : 1);
  server.close();
  rmSync(directory, { recursive: true });
}

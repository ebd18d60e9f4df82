// The demo's Bun client: bun client.ts file|listener SOCKET

import { openSync, readFileSync, unlinkSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, Fd, type SeqpacketSocket } from "bunix";

const [role, address = ""] = process.argv.slice(2);

async function receive(socket: SeqpacketSocket, expected: string): Promise<Fd | undefined> {
  using message = await socket.receive();
  if (message?.text() !== expected) throw new Error(`expected "${expected}"`);
  return message.takeFds()[0];
}

/** What client.py does, where there is no Python. */
async function file(socket: SeqpacketSocket): Promise<void> {
  const text = "A descriptor is an open file, not its name:\nthis one had its name taken away.\n";
  const name = join(tmpdir(), `bunix-demo-${process.pid}`);
  using opened = Fd.adopt(openSync(name, "wx+", 0o600));
  unlinkSync(name);
  writeSync(opened.fd, text, 0);
  await socket.send(`file from ${process.pid}`, { fds: [opened] });
  using memfd = await receive(socket, "memfd");
  const digest = new Bun.CryptoHasher("sha256").update(text).digest("hex");
  const found = memfd === undefined ? "nothing" : readFileSync(memfd.fd, "utf8");
  await socket.send(found === digest ? "it matches" : `it differs: ${found}`);
}

/** Open a listening socket, give it away, and be its first customer. */
async function listener(socket: SeqpacketSocket): Promise<void> {
  const server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const { fd } = server as unknown as { fd: number }; // it is there, Bun's types omit it
  await socket.send(`listener from ${process.pid}`, { fds: [fd] });
  server.stop(true); // ours only: the socket goes on listening where it is now
  await socket.send(String(server.port));
  await receive(socket, "serving");
  const response = await fetch(`http://127.0.0.1:${server.port}/hello`);
  await socket.send(`${response.status} ${await response.text()}`);
}

using socket = await connect(address, { type: "seqpacket" });
await (role === "file" ? file(socket) : listener(socket));

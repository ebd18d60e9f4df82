// A service: its manager listens, passes the socket on, and is told when the service is ready. Here
// the program is its own manager; systemd, or systemd-socket-activate, does the same.
//
//   bun examples/activation.ts

import { adoptSocket, connect, inheritedFds, listen, notify, openDatagram } from "bunix";

const entry = inheritedFds().find(({ name }) => name === "main");
if (entry !== undefined) {
  const listener = adoptSocket(entry.fd, { expect: "listener" });
  await notify({ ready: true, status: "waiting for the first caller" });
  using socket = await listener.accept();
  await socket.send(`hello from pid ${process.pid}`);
  process.exit();
}

const [service, status] = ["@bunix-service", "@bunix-status"].map((x) => `${x}-${process.pid}`);
using listener = listen(service!);
using reports = openDatagram(status!, { passCredentials: true });
const command = ["sh", "-c", 'LISTEN_PID=$$ exec "$0" "$1"', process.execPath, import.meta.path];
const env = { ...process.env, LISTEN_FDS: "1", LISTEN_FDNAMES: "main", NOTIFY_SOCKET: status! };
const child = Bun.spawn(command, { env, stdio: ["inherit", "inherit", "inherit", listener.fd] });
using socket = await connect(service!); // it waits in the queue until the service takes it
const report = await reports.receive();
console.log(`pid ${report?.credentials?.pid}, the one started as ${child.pid}: ${report?.text()}`);
console.log((await socket.receive())?.text());

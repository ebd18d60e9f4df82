// descriptors.ts PATH FORM CONNS: connects CONNS times to bench/peers/c/driver.c and answers each
// message, whose descriptor it closes.

import { connect, type Message, type StreamSocket } from "../../src/index.ts";

const [path = "", form = "await", conns = "1"] = process.argv.slice(2);

function close(message: Message): void {
  const fds = message.takeFds();
  if (fds.length !== 1) process.exit(1);
  for (const fd of fds) fd.close();
}

async function awaiting(socket: StreamSocket): Promise<void> {
  for (;;) {
    const message = await socket.receive();
    if (message === null) break;
    close(message);
    await socket.send(message.data);
  }
}

function consuming(socket: StreamSocket): Promise<void> {
  return socket.consume((message) => {
    close(message);
    const { data } = message;
    return socket.trySend(data) === data.length ? undefined : socket.send(data);
  });
}

const serve = form === "consume" ? consuming : awaiting;
for (let i = 0; i < Number(conns); i++) {
  serve(await connect(path)).catch(() => process.exit(0)); // the driver has ended
}

// A post box: one thread, four ways in. It prints how it is reached, and every message that comes.
// (bunx bunix postbox does the same with more care.)
//
//   bun examples/postbox.ts [DIRECTORY]

import { mkdirSync, rmSync } from "node:fs";
import {
  listen,
  MessageQueue,
  makeFifo,
  openFifo,
  type StreamSocket,
  signalNumber,
  watchSignals,
} from "bunix";

const directory = process.argv[2] ?? `/tmp/postbox-${process.getuid?.()}`;
const [path, fifoPath] = [`${directory}/socket`, `${directory}/fifo`];
const queueName = `/${directory.replaceAll("/", "-")}`;

mkdirSync(directory, { recursive: true, mode: 0o700 });
using listener = listen(path, { mode: 0o600 }); // the first thing: it refuses a second post box
makeFifo(fifoPath, { mode: 0o600, exclusive: false }); // one that a crash has left will do
using fifo = openFifo(fifoPath, "read");
using queue = MessageQueue.open(queueName, { create: true, exclusive: "lifetime" });
using signals = watchSignals(["SIGUSR1", "SIGRTMIN+1"]); // the first kind merges, the second queues
using stop = watchSignals(["SIGINT", "SIGTERM"]);

console.log(`echo hello > ${fifoPath}`);
console.log(`echo hello | socat - UNIX-CONNECT:${path}`);
console.log(`/bin/kill -USR1 -q 3 ${process.pid}      # or -${signalNumber("SIGRTMIN+1")}`);
console.log(`mq_send(3) to ${queueName}\n`);

/** Nothing in a message can end its line, so nobody can forge another one. */
function print(channel: string, text: string): void {
  console.log(`${channel}: ${text.replace(/[\p{C}\p{Zl}\p{Zp}%]/gu, encodeURIComponent)}`);
}

/** All that comes by one connection is one message. */
async function read(accepted: StreamSocket): Promise<void> {
  using socket = accepted; // closed at the end
  const { pid, uid, gid } = socket.peerCredentials();
  const text = await new Response(socket.readable).text();
  print(`socket[pid=${pid},uid=${uid},gid=${gid}]`, text.trimEnd());
}

async function each<T>(source: AsyncIterable<T>, show: (one: T) => unknown): Promise<void> {
  for await (const one of source) show(one);
}

await Promise.race([
  each(fifo.lines(), (text) => print("fifo", text)),
  each(listener, (socket) => read(socket).catch((error) => print("socket", `${error}`))),
  each(signals, ({ signal, pid, value }) => print(`signal[${signal},pid=${pid}]`, `${value}`)),
  each(queue, (message) => print(`queue[priority=${message.priority}]`, message.text())),
  stop.receive(),
]);
queue.unlink();
rmSync(fifoPath);

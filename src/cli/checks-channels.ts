// The checks of bunix doctor beside sockets: the other channels, processes, and servers.

import { join } from "node:path";
import { notify } from "../activation.ts";
import { makeFifo } from "../fifo/file.ts";
import { openFifo } from "../fifo/open.ts";
import { listen } from "../listener/listener.ts";
import { SharedMemory } from "../memory/shared-memory.ts";
import { MessageQueue } from "../message-queue/queue.ts";
import { ProcessHandle } from "../process/handle.ts";
import { sendSignal } from "../process/send-signal.ts";
import { connectQueue, listenQueue } from "../queue-socket/open.ts";
import { receiveFds } from "../send-fd/receiver.ts";
import { sendFd } from "../send-fd/send.ts";
import { serveOn } from "../serve/adopt.ts";
import { watchSignals } from "../signals/watcher.ts";
import { openDatagram } from "../socket/open-datagram.ts";
import { socketPair } from "../socket/pair.ts";
import type { StreamSocket } from "../socket/stream.ts";
import type { SpawnFds } from "../spawn/descriptors.ts";
import { spawn } from "../spawn/spawn.ts";
import { both, expect, inDirectory, LIMIT_MS } from "./check-tools.ts";
import type { Check } from "./checks.ts";

/** In the order in which they are tried. */
export const channelChecks: readonly Check[] = [
  { name: "a FIFO", needs: ["fifos", "waiting"], run: fifo },
  { name: "a message queue", needs: ["messageQueues", "waiting"], run: messageQueue },
  { name: "sockets over message queues", needs: ["messageQueues", "waiting"], run: queueSocket },
  { name: "shared memory", needs: ["sharedMemory"], run: sharedMemory },
  { name: "signals with a value", needs: ["signals", "signalSenders", "waiting"], run: signals },
  { name: "a process's end", needs: ["pidfd", "waiting"], run: processEnd },
  { name: "descriptors for a child", needs: ["waiting"], run: child },
  { name: "names for a child's descriptors", needs: ["waiting", "listenNames"], run: named },
  {
    name: "a descriptor handed over by pid",
    needs: ["sendFd", "pidfdGetfd", "pidfdSignals", "signalSenders", "waiting"],
    run: handed,
  },
  { name: "Bun.serve on a given socket", needs: ["serveOn", "waiting"], run: adopted },
  { name: "the service manager is told", needs: ["abstractNames", "waiting"], run: managed },
];

const ownName = (): string => `bunix-doctor-${crypto.randomUUID()}`;

/** For operations that must not wait for ever. */
const limit = (): { signal: AbortSignal } => ({ signal: AbortSignal.timeout(LIMIT_MS) });

function fifo(): Promise<void> {
  return inDirectory(async (directory) => {
    const path = join(directory, "name");
    makeFifo(path);
    using reader = openFifo(path, "read");
    using writer = openFifo(path, "write");
    const writing = writer.write("through a FIFO", limit());
    const [bytes] = await Promise.all([reader.read(limit()), writing]);
    expect(new TextDecoder().decode(bytes ?? new Uint8Array(0)), "through a FIFO", "what came");
  });
}

async function messageQueue(): Promise<void> {
  using queue = MessageQueue.open(`/${ownName()}`, { create: true, maxMessages: 2 });
  try {
    await queue.send("later", { priority: 0 });
    await queue.send("first", { priority: 1 });
    const message = await queue.receive(limit());
    expect(message.text(), "first", "what came first");
  } finally {
    queue.unlink();
  }
}

async function queueSocket(): Promise<void> {
  const name = `/${ownName()}`;
  using listener = listenQueue(name);
  const ends = await both(connectQueue(name, limit()), listener.accept(limit()));
  using client = ends[0];
  using server = ends[1];
  await client.send("over queues");
  expect((await server.receive(limit()))?.text(), "over queues", "what came");
}

function sharedMemory(): void {
  using made = SharedMemory.create(4096);
  using mapped = SharedMemory.map(made.fd);
  made.bytes[0] = 7;
  expect(mapped.bytes[0], 7, "what the other mapping has");
}

async function signals(): Promise<void> {
  const name = "SIGRTMIN+9";
  using watcher = watchSignals([name]);
  sendSignal(process.pid, name, { value: 42 });
  const { value, pid } = await watcher.receive(limit());
  expect(value, 42, "its value");
  expect(pid, process.pid, "its sender");
}

async function processEnd(): Promise<void> {
  await using program = Bun.spawn(["sh", "-c", "read line"], { stdin: "pipe" });
  using handle = ProcessHandle.open(program.pid);
  const ended = handle.exited(limit());
  ended.catch(() => {}); // if the next line throws, nothing awaits it
  expect(handle.alive(), true, "alive before");
  await program.stdin.end();
  await ended;
  expect(handle.alive(), false, "alive after");
}

/** What a line of shell writes to descriptor 3, and the shell's pid. */
async function fromChild(
  line: string,
  lend: (socket: StreamSocket) => SpawnFds,
): Promise<[string, number]> {
  const [near, far] = socketPair("stream");
  using socket = near;
  using theirs = far;
  const program = spawn(["/bin/sh", "-c", `echo "${line}" >&3`], { fds: lend(theirs) });
  using message = await socket.receive(limit());
  expect(await program.exited, 0, "how the child ended");
  return [message?.text().trimEnd() ?? "", program.pid];
}

async function child(): Promise<void> {
  const [said] = await fromChild("hello", (fd) => [fd]);
  expect(said, "hello", "what the child said");
}

async function named(): Promise<void> {
  const line = "$LISTEN_FDS $LISTEN_FDNAMES $LISTEN_PID";
  const [said, pid] = await fromChild(line, (fd) => ({ web: fd }));
  expect(said, `1 web ${pid}`, "what the child was told");
}

async function handed(): Promise<void> {
  const realtimeSignal = "SIGRTMIN+9";
  using memory = SharedMemory.create("handed over");
  using receiver = receiveFds({ realtimeSignal });
  const sending = sendFd(process.pid, memory.fd, { realtimeSignal, timeoutMs: LIMIT_MS });
  sending.catch(() => {});
  using held = (await receiver.receive(limit())).fd;
  await sending;
  expect(held.describe().kind, "memfd", "what came");
}

function adopted(): Promise<void> {
  return inDirectory(async (directory) => {
    const path = join(directory, "name");
    using listener = listen(path);
    const server = serveOn(listener, (where) =>
      Bun.serve({ ...where, fetch: () => new Response("adopted") }),
    );
    try {
      const response = await fetch("http://localhost/", { unix: path, ...limit() });
      expect(await response.text(), "adopted", "the answer");
    } finally {
      await server.stop(true);
    }
  });
}

async function managed(): Promise<void> {
  const name = ownName();
  using manager = openDatagram({ abstract: name });
  const before = process.env["NOTIFY_SOCKET"];
  process.env["NOTIFY_SOCKET"] = `@${name}`;
  try {
    expect(await notify({ status: "bunix doctor" }), true, "told");
  } finally {
    if (before === undefined) delete process.env["NOTIFY_SOCKET"];
    else process.env["NOTIFY_SOCKET"] = before;
  }
  using message = await manager.receive(limit());
  expect(message?.text().trimEnd(), "STATUS=bunix doctor", "what came");
}

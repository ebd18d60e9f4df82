// The soak's other channels: FIFOs, message queues, queue sockets, signals, children.

import { rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  capabilities,
  connectQueue,
  listenQueue,
  MessageQueue,
  makeFifo,
  openFifo,
  type RealtimeSignal,
  receiveFds,
  sendFd,
  sendSignal,
  socketPair,
  spawn,
  watchSignals,
} from "../../src/index.ts";
import { translatedSignals } from "../support/unless.ts";
import { type Channel, channel, check, moved } from "./channel.ts";

const FEW = 100;
const own = `bunix-soak-${process.pid}`;

function fifo(): Channel {
  const path = join(tmpdir(), `${own}.fifo`);
  rmSync(path, { force: true });
  makeFifo(path);
  const reader = openFifo(path, "read");
  const writer = openFifo(path, "write");
  rmSync(path);
  const lines = reader.lines();
  return channel("FIFO, lines", [reader, writer], async () => {
    const text = Array.from({ length: FEW }, (_, i) => `line ${i}\n`).join("");
    const writing = writer.write(text);
    for (let i = 0; i < FEW; i++) check("a line", (await lines.next()).value, `line ${i}`);
    await writing;
    return moved(FEW);
  });
}

function messageQueue(): Channel {
  const queue = MessageQueue.open(`/${own}`, { create: true, maxMessages: 10 });
  queue.unlink();
  return channel("message queue", [queue], async () => {
    for (let i = 0; i < FEW; i++) {
      await queue.send(`${i}`, { priority: i % 3 });
      check("a message", (await queue.receive()).text(), `${i}`);
    }
    return moved(FEW);
  });
}

async function queueSocket(): Promise<Channel> {
  const listener = listenQueue(`/${own}-socket`);
  const connecting = connectQueue(`/${own}-socket`);
  connecting.catch(() => {});
  const server = await listener.accept();
  const client = await connecting;
  return channel("queue sockets", [client, server, listener], async () => {
    for (let i = 0; i < FEW; i++) {
      await client.send(`${i}`);
      check("a message", (await server.receive())?.text(), `${i}`);
    }
    return moved(FEW);
  });
}

function signals(): Channel {
  const name = "SIGRTMIN+9";
  const watcher = watchSignals(name);
  return channel("signals", [watcher], async () => {
    let sum = 0;
    for (let i = 0; i < FEW; i++) sendSignal(process.pid, name, { value: i });
    for (let i = 0; i < FEW; i++) sum += (await watcher.receive()).value ?? 0;
    check("the sum of the values", sum, (FEW * (FEW - 1)) / 2);
    check("lost", watcher.lost, 0);
    return moved(FEW);
  });
}

function offered(): Channel {
  const realtimeSignal: RealtimeSignal = "SIGRTMIN+10";
  const receiver = receiveFds({ realtimeSignal });
  const [near, far] = socketPair("stream");
  return channel("sendFd", [receiver, near, far], async () => {
    for (let i = 0; i < 5; i++) {
      const sending = sendFd(process.pid, near, { realtimeSignal });
      using got = (await receiver.receive()).fd;
      check("an open descriptor", got.closed, false);
      await sending;
    }
    return moved(5, 5);
  });
}

/** A shell's child that sends back what comes by its channel. */
const ECHO = ["sh", "-c", `n=\${BUNIX_CHANNEL%%:*}; exec cat <&$n >&$n`];

function children(): Channel {
  return channel("spawn, with a channel", [], async () => {
    const child = spawn(ECHO, { channel: true, stdio: ["ignore", "ignore", "inherit"] });
    for (let i = 0; i < 10; i++) {
      await child.channel.send(`${i}`);
      check("its answer", (await child.channel.receive())?.text(), `${i}`);
    }
    child.channel.close();
    check("its end", await child.exited, 0);
    return moved(20);
  });
}

/** All of them that this system has. */
export async function others(): Promise<Channel[]> {
  const found = [fifo(), children()];
  if (capabilities().messageQueues.available) found.push(messageQueue(), await queueSocket());
  if (capabilities().signalSenders.available) {
    found.push(signals());
    if ((await translatedSignals()) === null) found.push(offered());
  }
  return found;
}

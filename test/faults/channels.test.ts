// FIFOs, message queues and the sockets over them, under every fault.

import {
  connectQueue,
  connectQueueSync,
  FifoReader,
  FifoWriter,
  listenQueue,
  MessageQueue,
  makeFifo,
  openFifo,
  openQueueDatagram,
  UnixError,
  watchSignals,
} from "../../src/index.ts";
import { freshPath } from "../api/pairs.ts";
import { freshName, kernelNameOf } from "../api/queue-sockets.ts";
import { freshQueueName, newQueue, removeQueue } from "../api/queues.ts";
import { noQueueSignals } from "../support/unless.ts";
import { again, type Keep, same, setUp, underFaults } from "./driver.ts";

setUp();

const fifo = (): string => {
  const path = freshPath();
  makeFifo(path);
  return path;
};

underFaults("makeFifo", {
  prepare: freshPath,
  run: (path) => {
    makeFifo(path, { mode: 0o640, exclusive: false });
    makeFifo(path, { exclusive: false });
  },
  // that its directory cannot be opened is why it cannot be made
  right: (error, { call }) =>
    call === "open" && error instanceof UnixError && error.syscall === "mkfifo",
});

underFaults("a FIFO: open, write, read", {
  prepare: fifo,
  run: async (path, keep) => {
    const reader = keep(openFifo(path, "read"));
    const writer = keep(openFifo(path, "write"));
    keep(FifoReader.adopt({ fd: reader.fd })).close();
    keep(FifoWriter.adopt({ fd: writer.fd })).close();
    const text = async (bytes: number): Promise<string> => {
      let got = "";
      while (got.length < bytes) got += Buffer.from((await reader.read()) ?? []).toString();
      return got;
    };
    await writer.write("hello");
    same(await text(5), "hello");
    const sent = again(() => writer.tryWrite("abc"));
    if (sent === "no-reader") throw new Error("there is one");
    let got = "";
    while (got.length < sent) got += Buffer.from(again(() => reader.tryRead())).toString();
    same(got, "abc".slice(0, sent));
    writer.writeSync("sync", { timeoutMs: 5_000 });
    got = "";
    while (got.length < 4) {
      got += Buffer.from(reader.readSync({ timeoutMs: 5_000 }) ?? []).toString();
    }
    same(got, "sync");
    await writer.write("one\ntwo\n");
    for await (const line of reader.lines()) if (line === "two") break;
  },
  // EPIPE is "no reader", and that is waited for
  right: (error, { fault }) => fault === "EPIPE" && /hangs|EPIPE|is one/.test(String(error)),
});

underFaults("a FIFO: a write that waits for room", {
  prepare: (keep) => {
    const path = fifo();
    const reader = keep(openFifo(path, "read"));
    const writer = keep(openFifo(path, "write"));
    while (writer.tryWrite(Buffer.alloc(4096)) !== null) {}
    return { reader, writer };
  },
  run: async ({ reader, writer }) => {
    const writing = writer.write("the last");
    writing.catch(() => {});
    const failed = writing.then(() => new Promise<never>(() => {}));
    for (let end = ""; end !== "the last"; ) {
      const bytes = await Promise.race([reader.read(), failed]);
      end = (end + Buffer.from(bytes?.slice(-8) ?? []).toString()).slice(-8);
    }
    await writing;
  },
  right: (error, { fault }) => fault === "EPIPE" && /hangs|EPIPE/.test(String(error)),
});

underFaults("a message queue: open, send, receive, all forms", {
  prepare: freshQueueName,
  run: async (name, keep) => {
    const queue = keep(MessageQueue.open(name, { create: true, maxMessages: 4, messageBytes: 64 }));
    await queue.send("one", { priority: 1 });
    again(() => queue.trySend("two") || null);
    queue.sendSync("three", { timeoutMs: 5_000 });
    same((await queue.receive()).text(), "one");
    same(again(() => queue.tryReceive()).text(), "two");
    same(queue.receiveSync({ timeoutMs: 5_000 }).text(), "three");
    same(queue.attributes().currentMessages, 0);
    queue.unlink();
  },
  atEnd: (name) => removeQueue(name),
});

underFaults("a message queue: waiting both ways", {
  prepare: (keep) => {
    const queue = keep(newQueue({ maxMessages: 2, messageBytes: 16 }));
    while (queue.trySend("x")) {}
    return queue;
  },
  run: async (queue) => {
    const sending = queue.send("last");
    sending.catch(() => {});
    const failed = sending.then(() => new Promise<never>(() => {}));
    for (let text = ""; text !== "last"; ) {
      text = (await Promise.race([queue.receive(), failed])).text();
    }
    await sending;
    const stop = new AbortController();
    const coming = queue.receive({ signal: stop.signal });
    coming.catch(() => {});
    await queue.send("more").catch((error) => {
      stop.abort();
      throw error;
    });
    same((await coming).text(), "more");
  },
});

underFaults("a message queue: for life, notify, adopt", {
  lacking: noQueueSignals(),
  prepare: freshQueueName,
  run: async (name, keep) => {
    const queue = keep(MessageQueue.open(name, { create: true, exclusive: "lifetime" }));
    using watcher = watchSignals(["SIGRTMIN+3"]);
    queue.notify({ signal: "SIGRTMIN+3" });
    queue.trySend("x");
    queue.notify(null);
    watcher.close();
    keep(MessageQueue.adopt({ fd: queue.fd }));
    queue.unlink();
  },
  right: (error, { call }) => call === "flock" && error instanceof UnixError,
  atEnd: (name) => removeQueue(name),
});

const ends = async (keep: Keep) => {
  const name = freshName();
  const listener = keep(listenQueue(name));
  const connecting = connectQueue(name);
  const server = keep(await listener.accept());
  return { name, listener, server, client: keep(await connecting) };
};

underFaults("queue sockets: send, receive, all forms", {
  prepare: ends,
  run: async ({ client, server }) => {
    await client.send("one");
    again(() => client.trySend("two"));
    client.sendSync("three", { timeoutMs: 5_000 });
    same((await server.receive())?.text(), "one");
    same(again(() => server.tryReceive()).text(), "two");
    same(server.receiveSync({ timeoutMs: 5_000 })?.text(), "three");
    const coming = client.receive();
    coming.catch(() => {});
    await server.send("back");
    same((await coming)?.text(), "back");
    server.close();
    same(await client.receive(), null);
  },
});

/** Where the other end's call failed, it says so, or does not answer. */
const theirs = /mq_|open|flock|fchmod|fcntl|fstat|futimes/;

underFaults("queue sockets: connecting, both ways", {
  prepare: freshName,
  run: async (name, keep, point) => {
    const listener = keep(listenQueue(name));
    const timeoutMs = point === null ? 10_000 : 100;
    const connecting = connectQueue(name, { timeoutMs }).then(keep);
    connecting.catch(() => {});
    const accepting = listener.accept().then(keep);
    accepting.catch(() => {});
    await Promise.race([connecting, accepting]);
    await connecting;
  },
  right: (error, { call }) => error instanceof UnixError && theirs.test(call),
  atEnd: (name) => removeQueue(kernelNameOf(name)),
});

underFaults("queue sockets: connectQueueSync to nobody", {
  prepare: freshName,
  run: (name) => {
    try {
      connectQueueSync(name, { timeoutMs: 1 }).close();
    } catch (error) {
      if (!(error instanceof UnixError)) throw error;
    }
  },
});

underFaults("queue sockets: datagrams", {
  prepare: freshName,
  run: async (name, keep) => {
    const inbox = keep(openQueueDatagram(name));
    const sender = keep(openQueueDatagram());
    await sender.send("there", { to: name });
    const message = await inbox.receive();
    same(message.text(), "there");
    await inbox.send("back", { to: message.from! });
    same((await sender.receive()).text(), "back");
  },
  right: (error, { call }) => error instanceof UnixError && theirs.test(call),
  atEnd: (name) => removeQueue(kernelNameOf(name)),
});

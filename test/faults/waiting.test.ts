// Whoever waits, taken from the thread that keeps the process alive to the one that does not, and
// back; and the forms of a channel that do not wait for the loop.

import {
  connectQueue,
  Handover,
  listen,
  listenQueue,
  makeFifo,
  openFifo,
  openQueueDatagram,
  ProcessHandle,
  receiveFds,
  sendFd,
  socketPair,
  UnixError,
  watchSignals,
} from "../../src/index.ts";
import { freshAddress, freshPath } from "../api/pairs.ts";
import { freshName, kernelNameOf } from "../api/queue-sockets.ts";
import { newQueue, removeQueue } from "../api/queues.ts";
import { marked, markOf } from "../api/tools.ts";
import { again, type Keep, same, setUp, underFaults } from "./driver.ts";

setUp();

interface Waiter {
  ref(): unknown;
  unref(): unknown;
}

/** Wait, with the waiter moved to the other thread and back meanwhile. */
async function movedAbout(
  waiter: Waiter,
  wait: (options: { signal: AbortSignal }) => Promise<unknown>,
): Promise<void> {
  const stop = new AbortController();
  const waiting = wait({ signal: stop.signal });
  const ended = waiting.then(
    () => {},
    (error) => {
      if (error !== stop.signal.reason) throw error;
    },
  );
  ended.catch(() => {});
  try {
    waiter.unref();
    waiter.ref();
    waiter.unref();
  } finally {
    stop.abort();
  }
  await ended;
  waiter.ref();
}

underFaults("moved about while it waits: a socket, a listener", {
  prepare: (keep) => ({
    ends: socketPair("seqpacket").map(keep),
    listener: keep(listen(freshAddress("abstract"))),
  }),
  run: async ({ ends: [a], listener }) => {
    await movedAbout(a!, (options) => a!.receive(options));
    await movedAbout(listener, (options) => listener.accept(options));
  },
});

underFaults("moved about while it waits: a FIFO's reader, a message queue, a process", {
  prepare: (keep) => {
    const path = freshPath();
    makeFifo(path);
    return {
      fifo: keep(openFifo(path, "read")),
      queue: keep(newQueue({ maxMessages: 2, messageBytes: 16 })),
      process: keep(ProcessHandle.open(process.ppid)),
    };
  },
  run: async ({ fifo, queue, process }) => {
    await movedAbout(fifo, (options) => fifo.read(options));
    await movedAbout(queue, (options) => queue.receive(options));
    await movedAbout(process, (options) => process.exited(options));
  },
});

underFaults("moved about while it waits: signals, descriptors by pid", {
  prepare: (keep) => ({
    watcher: keep(watchSignals(["SIGRTMIN+7"])),
    receiver: keep(receiveFds({ realtimeSignal: "SIGRTMIN+8" })),
  }),
  run: async ({ watcher, receiver }) => {
    await movedAbout(watcher, (options) => watcher.receive(options));
    await movedAbout(receiver, (options) => receiver.receive(options));
  },
});

/** All queues of a user together have a limit. */
const small = { maxMessages: 2, messageBytes: 512 };

const queueEnds = async (keep: Keep) => {
  const name = freshName();
  const listener = keep(listenQueue(name, small));
  const connecting = connectQueue(name, small);
  const server = keep(await listener.accept());
  return { name, listener, server, client: keep(await connecting) };
};

underFaults("moved about while it waits: queue sockets", {
  prepare: async (keep) => ({
    ...(await queueEnds(keep)),
    inbox: keep(openQueueDatagram(freshName(), small)),
  }),
  run: async ({ listener, client, inbox }) => {
    await movedAbout(listener, (options) => listener.accept(options));
    await movedAbout(client, (options) => client.receive(options));
    await movedAbout(inbox, (options) => inbox.receive(options));
  },
});

underFaults("moved about: a handover; what it has", {
  prepare: async (keep) => {
    const handover = keep(await Handover.open(freshPath()));
    handover.descriptor("state", () => marked("state"));
    await handover.ready();
    return handover;
  },
  run: (handover) => {
    handover.unref();
    same(
      handover.entries().map(({ name }) => name),
      ["state"],
    );
    handover.ref();
  },
});

underFaults("queue sockets: tryAccept, acceptSync, the peer, the end", {
  prepare: freshName,
  run: async (name, keep, point) => {
    const listener = keep(listenQueue(name, small));
    const timeoutMs = point === null ? 10_000 : 200;
    const connecting = [1, 2].map(() => connectQueue(name, { ...small, timeoutMs }).then(keep));
    for (const one of connecting) one.catch(() => {});
    const first = keep(listener.acceptSync({ timeoutMs }));
    const second = keep(again(() => listener.tryAccept()));
    const [client] = await Promise.all(connecting);
    same(first.peerCredentials().pid, process.pid);
    keep(first.peer());
    for (const one of [first, second]) one.end();
    same(await client!.receive(), null);
  },
  right: (error, { call }) =>
    (error instanceof UnixError && /mq_|open|flock|fchmod|fcntl|fstat|futimes/.test(call)) ||
    /again and again/.test(String(error)),
  atEnd: (name) => removeQueue(kernelNameOf(name)),
});

underFaults("queue sockets: datagrams, the forms that do not wait for the loop", {
  prepare: (keep) => {
    const name = freshName();
    return {
      name,
      inbox: keep(openQueueDatagram(name, small)),
      sender: keep(openQueueDatagram(undefined, small)),
    };
  },
  run: ({ name, inbox, sender }) => {
    again(() => sender.trySend("one", { to: name }) || null);
    sender.sendSync("two", { to: name, timeoutMs: 5_000 });
    same(again(() => inbox.tryReceive()).text(), "one");
    same(inbox.receiveSync({ timeoutMs: 5_000 }).text(), "two");
  },
  right: (error, { call }) => error instanceof UnixError && /mq_|open|fstat|fcntl/.test(call),
});

const realtimeSignal = "SIGRTMIN+9" as const;

underFaults("a descriptor by pid and signal: the forms that do not wait for the loop", {
  prepare: (keep) => ({
    fd: keep(marked("by pid")),
    receiver: keep(receiveFds({ realtimeSignal })),
  }),
  run: async ({ fd, receiver }, keep, point) => {
    const timeoutMs = point === null ? 10_000 : 50;
    for (const receive of [
      () => receiver.receiveSync({ timeoutMs }),
      () => again(() => receiver.tryReceive()),
    ]) {
      const sending = sendFd(process.pid, fd, { realtimeSignal, timeoutMs });
      sending.catch(() => {});
      await Promise.race([sending, Bun.sleep(20)]); // it has been sent by then, mostly
      try {
        same(markOf(keep(receive().fd)), "by pid");
        await sending;
      } finally {
        await sending.catch(() => {});
      }
    }
  },
  // the other side has its word, or none comes
  right: (error) => !/it hangs/.test(String(error)),
});

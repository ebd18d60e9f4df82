// Shared memory, readiness, and the service manager's protocols, under every fault.

import {
  type DatagramSocket,
  notify,
  openDatagram,
  SharedMemory,
  type StreamSocket,
  serveNotify,
  socketPair,
  waitReadable,
  waitWritable,
  watchdog,
  watchReadiness,
} from "../../src/index.ts";
import { cleanEnvironment, manager } from "../api/managers.ts";
import { marked } from "../api/tools.ts";
import { same, setUp, underFaults } from "./driver.ts";

setUp();
cleanEnvironment();

underFaults("shared memory: made, sealed, mapped", {
  run: (_, keep) => {
    const memory = keep(SharedMemory.create("contents", { name: "faults" }));
    same(memory.seals(), ["shrink", "grow"]);
    const other = keep(SharedMemory.map(memory));
    same(Buffer.from(other.bytes).toString(), "contents");
    keep(SharedMemory.map(memory, { writable: false }));
    keep(SharedMemory.create(4096, { seal: true }));
    other.close();
  },
  right: (error, { call }) => call === "fcntl F_GET_SEALS" && error instanceof Error,
});

underFaults("shared memory: frozen with views of it", {
  prepare: (keep) => keep(SharedMemory.create("contents")),
  run: (memory) => {
    const view = memory.bytes;
    memory.seal("write");
    same(Buffer.from(view).toString(), "contents");
  },
  after: (memory) => {
    same(Buffer.from(memory.bytes).toString(), "contents");
    memory.bytes[0] = 67;
    memory.seal("write");
  },
});

const streams = (keep: <T extends { close(): void }>(one: T) => T) => {
  const [a, b] = socketPair("stream");
  return [keep(a), keep(b)] as [StreamSocket, StreamSocket];
};

underFaults("readiness: waiting, and an iterator", {
  prepare: streams,
  run: async ([a, b]) => {
    same((await waitWritable(a.fd)).writable, true);
    const stop = new AbortController();
    const waiting = waitReadable(b.fd, { signal: stop.signal });
    waiting.catch(() => {});
    try {
      await a.send("x");
      same((await waiting).readable, true);
      for await (const found of watchReadiness(b.fd)) {
        same(found.readable, true);
        break;
      }
    } finally {
      stop.abort();
    }
  },
});

underFaults("readiness: two wait by number, an owner comes", {
  prepare: streams,
  run: async ([a, b]) => {
    const stop = new AbortController();
    const waiting = waitReadable(b.fd, { signal: stop.signal });
    waiting.catch(() => {});
    const coming = b.receive({ signal: stop.signal });
    coming.catch(() => {});
    try {
      await a.send("x");
      await coming;
    } finally {
      stop.abort();
    }
  },
});

underFaults("notify, with descriptors and a barrier", {
  prepare: (keep) => {
    const socket = keep(manager());
    const hear = (): unknown => socket.consume((message) => message.close()).catch(again);
    const again = (): unknown => socket.closed || hear();
    hear();
    return { fd: keep(marked("state")), at: process.env["NOTIFY_SOCKET"] };
  },
  run: async ({ fd, at }) => {
    process.env["NOTIFY_SOCKET"] = at;
    same(await notify({ ready: true, status: "up" }), true);
    await notify({}, { fds: [fd], fdNames: ["state"], barrier: true } as object);
  },
});

underFaults("a watchdog", {
  prepare: (keep): DatagramSocket => {
    const socket = keep(manager());
    process.env["WATCHDOG_USEC"] = "10000";
    return socket;
  },
  run: async (socket, keep) => {
    const failed = Promise.withResolvers<never>();
    const dog = keep(watchdog({ onError: failed.reject })!).start();
    failed.promise.catch(() => {});
    const message = await Promise.race([socket.receive(), failed.promise]);
    same(message?.text(), "WATCHDOG=1");
    message?.close();
    await dog.ping();
    await dog.trigger();
  },
});

underFaults("serveNotify: a service that is ready, and stores", {
  prepare: (keep) => ({ fd: keep(marked("stored")) }),
  run: async ({ fd }, keep) => {
    const failed = Promise.withResolvers<never>();
    failed.promise.catch(() => {});
    const server = keep(serveNotify({ onError: failed.reject }));
    const service = keep(server.service(process.pid, { maxStoredFds: 9 }));
    same(Object.keys(server.environment()), ["NOTIFY_SOCKET"]);
    using sender = openDatagram();
    const ready = service.ready();
    ready.catch(() => {});
    while (service.state !== "ready") {
      // one whose credentials did not come is not listened to
      await sender.send("READY=1\nFDSTORE=1", { to: server.address, fds: [fd] });
      await Promise.race([ready, failed.promise, Bun.sleep(20)]);
    }
    for (const one of service.takeFds()) one.fd.close();
  },
});

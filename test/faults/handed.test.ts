// What goes from one owner to another: a server's connections, Bun's own sockets, a queue socket, a
// listener's descriptor; under every fault.

import { existsSync, readlinkSync } from "node:fs";
import {
  adoptQueueSocket,
  connect,
  connectQueue,
  detachBunSocket,
  drain,
  drainable,
  Fd,
  isDraining,
  listen,
  listenQueue,
  listenTcp,
  type PlaceholderAddress,
  peerCredentials,
  peerGroups,
  peerPidfd,
  peerSecurity,
  type QueueSocket,
  resumeServer,
  serveOn,
  socketPair,
  UnixError,
  UnsupportedError,
  verifyPeer,
} from "../../src/index.ts";
import { freshAddress, freshPath } from "../api/pairs.ts";
import { freshName } from "../api/queue-sockets.ts";
import { newQueue } from "../api/queues.ts";
import { fetchOnce, portOf } from "../api/servers.ts";
import { markedMany, markOf } from "../api/tools.ts";
import { type Keep, same, setUp, underFaults } from "./driver.ts";

setUp();

const answering = (where: PlaceholderAddress): Bun.Server<undefined> =>
  Bun.serve({ ...where, fetch: drainable(() => new Response("served")) });

const tcp = (keep: Keep) => {
  const listening = keep(listenTcp({ hostname: "127.0.0.1", port: 0 }));
  return { listening, target: { host: "127.0.0.1", port: portOf(listening.fd) } };
};

underFaults("a server: adopted and paused, resumed, drained", {
  prepare: tcp,
  run: async ({ listening, target }) => {
    const server = serveOn(listening, answering, { paused: true });
    try {
      resumeServer(server);
      same(await fetchOnce(target), "served");
      const draining = drain(server, { idleMs: 0, timeoutMs: 5_000 });
      same(isDraining(server), true);
      await draining;
    } finally {
      await server.stop(true);
    }
  },
  // with the call that failed in it; what cannot be looked at counts as gone
  right: (error, { call }) =>
    error instanceof UnsupportedError ||
    (call === "fstatSync" && error instanceof UnixError && error.code === "ERR_CLOSED"),
  after: async ({ listening, target }) => {
    const server = serveOn(listening, answering);
    same(await fetchOnce(target), "served");
    await server.stop(true);
  },
});

const noData = { data() {} };

underFaults("detachBunSocket: a connection of Bun's", {
  prepare: async (keep) => {
    const unix = freshPath();
    const opened = Promise.withResolvers<{ fd: number; close(): void }>();
    const open = (one: unknown): void => opened.resolve(one as { fd: number; close(): void });
    const server = Bun.listen({ unix, socket: { ...noData, open } });
    keep({ close: () => server.stop(true) });
    const peer = keep(await connect(unix));
    return { theirs: await opened.promise, peer };
  },
  run: async ({ theirs, peer }, keep) => {
    keep(detachBunSocket(theirs));
    await peer.send("hello");
  },
});

underFaults("detachBunSocket: a listener of Bun's at a path", {
  prepare: (keep) => {
    const unix = freshPath();
    const server = Bun.listen({ unix, socket: noData });
    keep({ close: () => server.stop(true) });
    return { unix, server };
  },
  run: async ({ unix, server }, keep) => {
    keep(detachBunSocket(server));
    same(existsSync(unix), true);
    keep(await connect(unix));
  },
  // the file goes with Bun's listener where it was not seen, or cannot be brought back
  right: (error, { call }) =>
    call === "existsSync" || (error instanceof UnixError && error.code === "ENOENT"),
  atEnd: ({ unix }) => same(existsSync(`${unix}.${process.pid}.kept`), false),
});

underFaults("a queue socket: inherited, adopted", {
  prepare: async (keep) => {
    const name = freshName();
    const listener = keep(listenQueue(name));
    const connecting = connectQueue(name);
    const server = keep(await listener.accept());
    return { server, client: await connecting };
  },
  run: async ({ server, client }, keep) => {
    const next = keep(inherited(keep(client)));
    await next.send("hello");
    same((await server.receive())?.text(), "hello");
  },
  right: (error, { call }) =>
    error instanceof UnixError &&
    ((call === "mq_getattr" && error.code === "EBADF") || call === "flock"),
});

/** As a child would have it: under numbers of its own. The old object goes. */
function inherited(socket: QueueSocket): QueueSocket {
  const copies: Fd[] = [];
  try {
    for (const fd of socket.fds) copies.push(Fd.duplicate(fd));
    const [own, peer] = copies.map(({ fd }) => fd);
    const next = adoptQueueSocket(socket.inherit({ as: [own!, peer!] }));
    for (const copy of copies.splice(0)) copy.release();
    return next;
  } finally {
    // a number that was closed is /dev/null's until the run is over
    for (const copy of copies) {
      if (readlinkSync(`/proc/self/fd/${copy.fd}`) === "/dev/null") copy.release();
      else copy.close();
    }
    socket.close();
  }
}

underFaults("release: a listener, a message queue; descriptors taken from a message", {
  prepare: (keep) => ({
    listener: keep(listen(freshAddress("abstract"))),
    queue: keep(newQueue({ maxMessages: 2, messageBytes: 16 })),
    ends: socketPair("stream").map(keep),
    fds: markedMany(2).map(keep),
  }),
  run: async ({ listener, queue, ends: [a, b], fds }, keep) => {
    keep(listener.release());
    keep(queue.release());
    await a!.send("x", { fds });
    const message = await b!.receive();
    const taken = (message?.takeFds() ?? []).map(keep);
    if (message?.fdsTruncated !== true) same(taken.map(markOf), ["fd 0", "fd 1"]);
  },
});

underFaults("who is at the other end, by descriptor", {
  prepare: (keep) => socketPair("stream").map(keep),
  run: ([a], keep) => {
    same(peerCredentials(a!).pid, process.pid);
    same(Array.isArray(peerGroups(a!)), true);
    keep(peerPidfd(a!));
    peerSecurity(a!);
    same(keep(verifyPeer(a!)).pid, process.pid);
  },
});

// Listening, connecting, accepting; taking an address; looking who is there: under every fault.

import { expect, test } from "bun:test";
import { existsSync, lstatSync, renameSync, unlinkSync, writeFileSync } from "node:fs";
import {
  AddressInUseError,
  adoptSocket,
  bindDatagram,
  capabilities,
  connect,
  connectSync,
  type Listener,
  listen,
  listSockets,
  openDatagram,
  probe,
  type SeqpacketSocket,
  type StreamSocket,
  socketGraph,
  socketPair,
  UnixError,
} from "../../src/index.ts";
import { freshAddress, freshPath } from "../api/pairs.ts";
import { run, succeeded, writeSource } from "../support/child.ts";
import { tempDir } from "../support/tmp.ts";
import { again, type Keep, same, setUp, underFaults } from "./driver.ts";
import type { Point } from "./injector.ts";

setUp();

/** Someone can still connect, and is accepted; or it is closed, and its file has gone. */
async function listens(listener: Listener): Promise<void> {
  if (listener.closed) return;
  using client = await connect(listener.address as { kind: "path"; path: string });
  using server = await listener.accept();
  await client.send("x");
  (await server.receive())?.close();
}

const options = {
  passCredentials: true,
  passPidfd: capabilities().passPidfd.available,
  sendBufferBytes: 100_000,
  receiveBufferBytes: 100_000,
  acceptFds: "refuse",
} as const;

for (const route of ["path", "abstract"] as const) {
  for (const type of ["stream", "seqpacket"] as const) {
    underFaults(`${route}, ${type}: listen, connect, accept`, {
      prepare: () => freshAddress(route),
      run: async (address, keep) => {
        const listener = keep(listen(address, { type, mode: 0o600 }));
        const client = keep(await connect(address, { type }));
        const server = keep(await listener.accept());
        await client.send("hello");
        same(
          again(() => server.tryReceive())
            .text()
            .slice(0, 1),
          "h",
        );
      },
      atEnd: (address, point) => {
        if (route === "path" && !mayStay(point)) same(existsSync(address), false);
        listen(address, { type }).close(); // nobody is in its way
      },
      right: nobodyThere,
    });
  }
}

/**
 * What cannot be looked at, or what somebody is just taking over, is not removed: it may be
 * another's by now. The next server takes it over.
 */
const mayStay = (point: Point | null): boolean =>
  /^(?:lstatSync|fstatSync|unlinkSync|flock)$/.test(point?.call ?? "");

/** Where a call of looking failed, what it was asked for may be unknown: then it is not taken. */
function nobodyThere(error: unknown): boolean {
  return error instanceof AddressInUseError;
}

interface Served {
  readonly listener: Listener;
  readonly address: string;
}

const served = (keep: Keep): Served => {
  const address = freshPath();
  return { address, listener: keep(listen(address, { ...options })) };
};

underFaults("accept, with every option", {
  prepare: async (keep) => {
    const { listener, address } = served(keep);
    return { listener, client: keep(await connect(address)) };
  },
  run: async ({ listener }, keep) => {
    keep(await listener.accept());
  },
  after: async ({ listener }) => {
    while (listener.tryAccept()?.close() !== undefined) {}
    await listens(listener);
  },
});

underFaults("accept that waits, tryAccept, acceptSync, allow", {
  prepare: (keep) => {
    const address = freshAddress("abstract");
    return { address, listener: keep(listen(address)) };
  },
  run: async ({ listener, address }, keep) => {
    const stop = new AbortController();
    const coming = listener.accept({ signal: stop.signal }).then(keep);
    coming.catch(() => {});
    try {
      for (let i = 0; i < 4; i++) keep(await connect(address));
    } catch (error) {
      stop.abort();
      throw error;
    }
    await coming;
    keep(again(() => listener.tryAccept()));
    keep(listener.acceptSync({ timeoutMs: 5_000 }));
    for await (const one of listener.unref().ref()) {
      one.close();
      break;
    }
  },
  right: (error) => error instanceof Error && /hangs/.test(error.message),
});

type Accepted = StreamSocket | SeqpacketSocket;

for (const way of ["consume", "serve"] as const) {
  underFaults(`a listener's ${way}`, {
    prepare: served,
    run: async ({ listener, address }, keep) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      const handler = (one: Accepted): void => {
        keep(one);
        resolve();
      };
      const serving = way === "serve" ? listener.serve(handler) : listener.consume(handler);
      const failed = serving.then(() => Promise.reject(new Error("ended")));
      failed.catch(() => {});
      keep(await connect(address));
      await Promise.race([promise, failed]);
    },
  });
}

underFaults("connect with every option and a name of its own, connectSync", {
  prepare: served,
  run: async ({ address }, keep) => {
    const from = freshPath();
    const client = keep(await connect(address, { ...options, from, timeoutMs: 5_000 }));
    keep(connectSync(address, { timeoutMs: 5_000 }));
    same(client.localAddress.kind, "path");
    same(client.peerAddress.kind, "path");
    client.peerCredentials();
    client.peerGroups();
    client.peerSecurity();
    client.peerPidfd().close();
    client.peer().close();
  },
  after: ({ listener }) => {
    while (listener.tryAccept()?.close() !== undefined) {}
  },
});

/** A socket's file whose server died. */
function stale(): string {
  const path = freshPath();
  const listener = listen(path);
  listener.release().close();
  return path;
}

underFaults("a stale file is taken over", {
  prepare: stale,
  run: (path, keep) => {
    keep(listen(path, { backlog: 5 }));
  },
  right: nobodyThere,
  after: (path) => listen(path).close(),
});

underFaults("a live server is not", {
  prepare: (keep) => served(keep),
  run: ({ address }) => {
    try {
      listen(address).close();
    } catch (error) {
      if (!(error instanceof AddressInUseError)) throw error;
      return;
    }
    throw new Error("taken from a live server");
  },
  after: ({ listener }) => listens(listener),
});

underFaults("a live server is replaced", {
  prepare: (keep) => served(keep),
  run: async ({ address, listener }, keep) => {
    const next = keep(listen(address, { replace: true }));
    const client = keep(await connect(address));
    keep(await next.accept());
    client.close();
    listener.close();
    same(existsSync(address), true);
  },
  right: nobodyThere,
  after: async ({ listener, address }) => {
    using client = await connect(address);
    client.close();
    listener.close();
  },
});

underFaults("with a lock file", {
  prepare: () => ({ path: freshPath(), lockFile: `${freshPath()}.lock` }),
  run: ({ path, lockFile }, _keep, point) => {
    using listener = listen(path, { lockFile });
    same(existsSync(lockFile), true);
    listener.close();
    same(existsSync(lockFile) && !mayStay(point), false);
  },
  right: (error) => error instanceof UnixError && error.code === "EADDRINUSE", // flock: EAGAIN
  after: ({ path, lockFile }) => listen(path, { lockFile }).close(),
});

underFaults("a datagram socket: bound, connected, to a name", {
  prepare: (keep) => {
    const address = freshPath();
    return { address, inbox: keep(openDatagram(address)), own: freshPath() };
  },
  run: async ({ address, inbox, own }, keep) => {
    const sender = keep(openDatagram(own, { ...options, connect: address, mode: 0o700 }));
    await sender.send("one");
    const free = keep(openDatagram({ autobind: true }));
    await free.send("two", { to: address });
    again(() => free.trySend("three", { to: address }));
    free.sendSync("four", { to: address, timeoutMs: 5_000 });
    await free.sendBatch([{ data: "five", to: address }]);
    const bound = keep(openDatagram());
    bindDatagram(bound, freshPath());
    bound.connect(address);
    await bound.send("six");
    const texts: string[] = [];
    while (texts.length < 6) texts.push((await inbox.receive())?.text() ?? "");
    same(texts, ["one", "two", "three", "four", "five", "six"]);
  },
  right: (_error, { call }) => call === "connect",
  atEnd: ({ own }, point) => same(existsSync(own) && !mayStay(point), false),
});

underFaults("datagrams wait for room at a name", {
  prepare: (keep) => {
    const address = freshAddress("abstract");
    const inbox = keep(openDatagram(address));
    const sender = keep(openDatagram());
    while (sender.trySend("x", { to: address }) !== null) {}
    return { address, inbox, sender };
  },
  run: async ({ address, inbox, sender }) => {
    const sending = sender.send("last", { to: address });
    sending.catch(() => {});
    const failed = sending.then(() => new Promise<never>(() => {}));
    for (let text = ""; text !== "last"; ) {
      const message = await Promise.race([inbox.receive(), failed]);
      text = message?.text() ?? "";
    }
    await sending;
    while (sender.trySend("x", { to: address }) !== null) {}
    try {
      sender.sendSync("y", { to: address, timeoutMs: 1 });
    } catch (error) {
      if (!(error instanceof UnixError && error.code === "ETIMEDOUT")) throw error;
    }
  },
  // another answer is what connect is asked for there
  right: (_error, { call }) => call === "connect",
});

underFaults("adoptSocket: a socket, a listener", {
  prepare: (keep) => {
    const [a, b] = socketPair("seqpacket");
    const listener = listen(freshPath(), { unlinkOnClose: true });
    return { end: keep(a.release()), other: keep(b), listening: keep(listener.release()) };
  },
  run: ({ end, listening }, keep) => {
    same(keep(adoptSocket(end)).listening, false);
    same(keep(adoptSocket(listening)).listening, true);
  },
  after: ({ end }, keep) => {
    if (!end.closed) keep(adoptSocket(end));
  },
});

underFaults("probe, listSockets", {
  prepare: (keep) => ({ ...served(keep), dead: stale() }),
  run: ({ address, dead }) => {
    same(probe(address).state, "listening");
    same(probe(dead).state, "stale");
    same(probe(freshPath()).state, "free");
    same(listSockets().length > 0, true);
  },
  // its answer is what there is to say
  right: (_error, { call }) => call === "connect" || call === "lstatSync",
  after: ({ listener }) => listens(listener),
});

/** Nothing stale is in it. */
const withoutSockets = "/proc/self/fdinfo";

underFaults("socketGraph", {
  prepare: (keep) => served(keep),
  run: (_objects, _keep, point) => {
    const { listeners } = socketGraph({ directories: [withoutSockets] });
    if (point === null) same(listeners.length > 0, true);
  },
  after: ({ listener }) => listens(listener),
});

/** Whose file it is. */
const inodeOf = (path: string): number => lstatSync(path).ino;

underFaults("close, where another server's file has taken the place of ours", {
  prepare: (keep) => {
    const [ours, other] = [served(keep), served(keep)];
    renameSync(other.address, ours.address);
    return { ...ours, other: other.listener, inode: inodeOf(ours.address) };
  },
  run: ({ listener }) => listener.close(),
  atEnd: ({ address, inode }) => {
    same(inodeOf(address), inode);
    unlinkSync(address);
  },
});

underFaults("a file that is no socket, a live server's: neither is taken", {
  prepare: (keep) => {
    const [file, { address }] = [freshPath(), served(keep)];
    writeFileSync(file, "contents");
    return { paths: [file, address], inodes: [file, address].map(inodeOf) };
  },
  run: ({ paths, inodes }, keep) => {
    for (const path of paths) {
      try {
        keep(listen(path, { takeOver: true }));
      } catch (error) {
        if (error instanceof AddressInUseError) continue;
        throw error;
      }
      throw new Error(`${path} was taken`);
    }
    same(paths.map(inodeOf), inodes);
  },
  after: ({ paths, inodes }) => same(paths.map(inodeOf), inodes),
});

underFaults("capabilities", {
  run: () => {
    same(capabilities().system, "linux");
  },
});

underFaults("close, whatever it says", {
  prepare: (keep) => served(keep),
  run: ({ listener }) => listener.close(),
  atEnd: ({ address }, point) => same(existsSync(address) && !mayStay(point), false),
});

const FULL = `
  import { existsSync, openSync } from "node:fs";
  import { listen, connect } from "@/src/index.ts";
  const path = process.argv[2];
  const listener = listen(path);
  (await connect(path)).close();
  existsSync(path); // whatever it opens is open now
  let full = "";
  for (let i = 0; i < 1_000 && full === ""; i++) {
    try { openSync("/dev/null", "r"); } catch (error) { full = error.code; }
  }
  listener.close();
  console.log(full, existsSync(path));
  process.exit(0);`;

test("closed while no descriptor is left: the file goes all the same", async () => {
  using dir = tempDir();
  const program = writeSource(dir, FULL);
  const command = 'ulimit -n 64; exec "$@"';
  const path = dir.file("s");
  const outcome = await run(["sh", "-c", command, "sh", process.execPath, program, path]);
  expect(succeeded(outcome)).toBe("EMFILE false\n");
});

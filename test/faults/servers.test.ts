// Servers on sockets that are open already, and handing them over, under every fault.

import {
  Handover,
  type Listener,
  listen,
  listenTcp,
  UnixError,
  UnsupportedError,
} from "../../src/index.ts";
import { serveOn } from "../../src/serve/adopt.ts";
import { freshAddress } from "../api/pairs.ts";
import { fetchOnce, hello, portOf } from "../api/servers.ts";
import { eventually } from "../api/tools.ts";
import { type Keep, same, setUp, underFaults } from "./driver.ts";

setUp();

const tcp = (keep: Keep) => {
  const listening = keep(listenTcp({ hostname: "127.0.0.1", port: 0 }));
  return { listening, target: { host: "127.0.0.1", port: portOf(listening.fd) } };
};

underFaults("listenTcp", {
  run: (_, keep) => {
    same(keep(listenTcp({ hostname: "127.0.0.1", port: 0 })).closed, false);
  },
});

underFaults("serveOn", {
  prepare: tcp,
  run: async ({ listening, target }) => {
    const server = serveOn(listening, hello);
    try {
      same(await fetchOnce(target), "hello /");
    } finally {
      await server.stop(true);
    }
  },
  right: (error) => error instanceof UnsupportedError, // with the call that failed in it
  after: async ({ listening, target }) => {
    const server = serveOn(listening, hello);
    same(await fetchOnce(target), "hello /");
    await server.stop(true);
  },
});

underFaults("serveOn by rules", {
  prepare: (keep) => {
    const path = freshAddress("path");
    return { listening: keep(listen(path, { allow: () => true, maxConnections: 9 })), path };
  },
  run: async ({ listening, path }) => {
    const server = serveOn(listening, hello);
    try {
      // a client that could not be handed over is closed, and nobody else is
      const answer = await fetchOnce({ path }).catch((error: Error) => error.message);
      same(answer === "hello /" || answer.startsWith("ended; so far: "), true);
    } finally {
      await server.stop(true);
    }
  },
  right: (error) => error instanceof UnsupportedError, // with the call that failed in it
  after: async ({ listening, path }) => {
    const server = serveOn(listening, hello);
    same(await fetchOnce({ path }), "hello /");
    await server.stop(true);
  },
});

/**
 * What is only said of a peer that has gone, or of a frame with descriptors: the first then
 * believes that the next has gone, and goes on.
 */
const hopeless = new Set(["ECONNRESET", "EPIPE", "EMSGSIZE", "ETOOMANYREFS"]);

/** A handover that was refused or has failed says so itself. */
const told = (error: unknown): boolean =>
  error instanceof Error && "code" in error && typeof error.code === "string";

/** That the last one is gone may have to be noticed first: EBUSY. */
async function succeeded(address: string, keep: Keep): Promise<boolean> {
  try {
    await keep(await Handover.open(address, { timeoutMs: 5_000 })).ready();
    return true;
  } catch (error) {
    if (error instanceof UnixError && error.code === "EBUSY") return false;
    throw error;
  }
}

underFaults("a handover", {
  prepare: () => ({ address: freshAddress("path"), both: [] as Handover[] }),
  run: async ({ address, both }, keep, point) => {
    const timeoutMs = point === null ? 10_000 : 200;
    const first = keep(await Handover.open(address, { timeoutMs }));
    both.push(first);
    const made = first.descriptor("web", (): Listener => listen(freshAddress("path")));
    same(made.closed, false);
    await first.ready();
    const next = keep(await Handover.open(address, { timeoutMs }));
    both.push(next);
    same(next.predecessor?.pid, process.pid);
    next.descriptor("web", () => {
      throw new Error("made again");
    });
    await next.ready();
    if (!hopeless.has(point?.fault ?? "")) await first.replaced;
  },
  // who is there goes on, or it is free: there is a successor
  after: async ({ address, both: [first, next] }, keep) => {
    next?.close();
    await first?.ready();
    await eventually(() => succeeded(address, keep), "there is a successor");
  },
  right: told,
});

// A pre-fork server: one process accepts, four answer. BUNIX_CONNECTIONS=100000 is the figure of
// the promise; fewer show the same.

import { expect, setDefaultTimeout } from "bun:test";
import { join } from "node:path";
import { type Fd, type Listener, listen, type StreamSocket, UnixError } from "../../src/index.ts";
import { type SpawnedProcess, spawn } from "../../src/spawn/spawn.ts";
import { freshPath } from "../api/pairs.ts";
import { eventually, leakFree, must, openFds } from "../api/tools.ts";
import { fewer, root, run, slower, succeeded } from "../support/child.ts";
import { compileC, peerTest } from "../support/peers.ts";

const CONNECTIONS = Number(process.env["BUNIX_CONNECTIONS"] ?? fewer(1_000));
const WORKERS = 4;
const CLIENTS = 16;
const TIMEOUT_MS = 600_000;
/** The worker has ended: with messages unread, or with none. */
const GONE = ["ECONNRESET", "EPIPE"];
setDefaultTimeout(TIMEOUT_MS * slower);

type Worker = SpawnedProcess<"ignore", "ignore", "inherit", { passCredentials: true }>;

async function startWorker(): Promise<Worker> {
  const worker = spawn([process.execPath, join(root, "test/fixtures/spawn-worker.ts")], {
    channel: { passCredentials: true },
    stdout: "ignore",
    stderr: "inherit",
  });
  using ready = must(await worker.channel.receive());
  // the kernel's word for who is at the other end: it was this process that made the pair
  expect([ready.text(), ready.credentials?.pid]).toEqual(["ready", worker.pid]);
  return worker;
}

/** Accepts, and hands out in turn. A worker that is gone is left out; its connection goes on. */
class Server {
  readonly listener: Listener<StreamSocket>;
  readonly workers: Worker[];
  given = 0;
  mostOpen = 0;
  readonly done: Promise<void>;

  constructor(path: string, workers: readonly Worker[]) {
    this.listener = listen(path);
    this.workers = [...workers];
    this.done = this.#serve();
  }

  async #serve(): Promise<void> {
    for await (const socket of this.listener) {
      await this.#give(socket.release());
      if (this.given % 500 === 0) this.mostOpen = Math.max(this.mostOpen, openFds());
    }
  }

  async #give(fd: Fd): Promise<void> {
    for (;;) {
      const worker = this.workers[this.given % this.workers.length]!;
      try {
        await worker.channel.send("take it", { fds: [fd], transfer: true });
        this.given += 1;
        return;
      } catch (error) {
        if (!(error instanceof UnixError) || !GONE.includes(error.code)) throw error;
        expect(fd.closed).toBe(false); // it is still ours
        this.workers.splice(this.workers.indexOf(worker), 1);
        worker.channel.close();
      }
    }
  }
}

interface Tally {
  readonly served: number;
  readonly before: number;
  readonly after: number;
  readonly max: number;
}

async function tally(worker: Worker): Promise<Tally> {
  await worker.channel.send("how many?");
  using answer = must(await worker.channel.receive());
  return JSON.parse(answer.text()) as Tally;
}

const clients = async (path: string): Promise<number[]> => {
  const command = [compileC("test/fixtures/spawn-clients.c"), path, `${CONNECTIONS}`, `${CLIENTS}`];
  const said = succeeded(await run(command, { timeoutMs: TIMEOUT_MS }));
  return said.trim().split(" ").map(Number);
};

async function end(worker: Worker): Promise<void> {
  worker.channel.close();
  expect(await worker.exited).toBe(0);
}

peerTest(
  `${CONNECTIONS} connections for ${WORKERS} workers: none lost, nothing left open`,
  ["cc"],
  () =>
    leakFree(async () => {
      const path = freshPath();
      const workers = await Promise.all(Array.from({ length: WORKERS }, startWorker));
      const before = openFds();
      const server = new Server(path, workers);
      expect(await clients(path)).toEqual([CONNECTIONS, 0]);
      server.listener.close();
      await server.done;
      const tallies = await Promise.all(workers.map(tally));
      expect(tallies.reduce((sum, { served }) => sum + served, 0)).toBe(CONNECTIONS);
      for (const { served, before, after, max } of tallies) {
        expect(served).toBe(CONNECTIONS / WORKERS);
        expect(after).toBeLessThanOrEqual(before);
        expect(max).toBeLessThanOrEqual(CLIENTS);
      }
      expect(server.mostOpen - before).toBeLessThanOrEqual(CLIENTS + 5); // the clients' child, ours
      await eventually(() => openFds() <= before, "the parent has what it had before");
      for (const worker of workers) await end(worker);
    }),
  TIMEOUT_MS,
);

peerTest(
  "a worker that is killed takes with it what it had, and nothing more",
  ["cc"],
  () =>
    leakFree(async () => {
      const path = freshPath();
      const workers = await Promise.all(Array.from({ length: WORKERS }, startWorker));
      const server = new Server(path, workers);
      const running = clients(path);
      await eventually(() => server.given >= CONNECTIONS / 4, "a quarter is served");
      const [victim, ...others] = workers as [Worker, ...Worker[]];
      victim.kill("SIGKILL");
      await victim.exited;
      const [answered, retried] = await running;
      expect(answered).toBe(CONNECTIONS);
      // one per client could be with it, and one more come while it was ending
      expect(retried).toBeLessThanOrEqual(2 * CLIENTS);
      server.listener.close();
      await server.done;
      expect(server.workers).toEqual(others);
      const tallies = await Promise.all(others.map(tally));
      for (const { before, after } of tallies) expect(after).toBeLessThanOrEqual(before);
      for (const worker of others) await end(worker);
    }),
  TIMEOUT_MS,
);

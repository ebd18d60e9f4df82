// time limit: 120 s
// socketGraph() and `ss -xp`, on real servers: a bus, a screen, nginx with two workers, a pre-fork
// server in Python. They have to name the same sockets, ends, processes and queues.

import { expect } from "bun:test";
import { writeFileSync } from "node:fs";
import { connect, socketGraph } from "../../src/index.ts";
import { startBus, startDisplay } from "../examples/daemons.ts";
import { type Child, run, slower, start, succeeded } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { type TempDir, tempDir } from "../support/tmp.ts";

const LIMIT_MS = 60_000;

const PREFORK = `import os, socket, sys, time
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen(7)
print(os.getpid(), flush=True)
for _ in range(2):
    if os.fork() == 0:
        taken, _ = listener.accept()
        print(os.getpid(), flush=True)
        time.sleep(600)
time.sleep(600)
`;

const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
const nginxConfig = (dir: TempDir): string => `daemon off; user root; worker_processes 2;
pid ${dir.file("pid")}; error_log ${dir.file("error.log")};
events {}
http {
  access_log off;
  ${paths.map((one) => `${one}_temp_path ${dir.path};`).join(" ")}
  server { listen unix:${dir.file("web")}; location / { return 200; } }
}`;

/** A connected client in a process of its own, which has sent `bytes`; "NUL" is one. */
async function client(path: string, bytes: string): Promise<Child> {
  const code = `import socket, sys, time
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(sys.argv[2].replace("NUL", chr(0)).encode())
print("there", flush=True)
time.sleep(600)`;
  const child = start(["python3", "-c", code, path, bytes]);
  await child.lineWith("there");
  return child;
}

interface Row {
  readonly type: string;
  readonly state: string;
  readonly queues: readonly [number, number];
  readonly address: string;
  readonly inode: number;
  readonly peer: number;
  readonly pids: readonly number[];
}

async function ss(): Promise<Map<number, Row>> {
  const said = succeeded(await run(["ss", "-xpnaH"]));
  const rows = said
    .trim()
    .split("\n")
    .map((line): Row => {
      const [type = "", state = "", received, sent, address = "", inode, , peer] =
        line.split(/\s+/);
      const pids = [...new Set(Array.from(line.matchAll(/pid=(\d+)/g), ([, pid]) => Number(pid)))];
      return {
        ...{ type, state, address, inode: Number(inode), peer: Number(peer) },
        queues: [Number(received), Number(sent)],
        pids: pids.toSorted((a, b) => a - b),
      };
    });
  return new Map(rows.map((row) => [row.inode, row]));
}

/** Every process below this one. */
async function family(): Promise<Set<number>> {
  const lines = succeeded(await run(["ps", "-eo", "pid=,ppid="]))
    .trim()
    .split("\n");
  const parents = new Map(
    lines.map((line) => line.trim().split(/\s+/).map(Number) as [number, number]),
  );
  const isOurs = (pid: number): boolean =>
    pid === process.pid || (parents.has(pid) && isOurs(parents.get(pid)!));
  return new Set([...parents.keys()].filter((pid) => isOurs(pid)));
}

peerTest(
  "the same as ss -xp, on a bus, a screen, nginx and a pre-fork server",
  ["ss", "ps", "python3", "dbus-daemon", "Xvfb", "nginx", "root"],
  async () => {
    using dir = tempDir();
    await using bus = await startBus(dir, `unix:path=${dir.file("bus")}`);
    await using display = await startDisplay("-ac");
    writeFileSync(dir.file("nginx.conf"), nginxConfig(dir));
    await using nginx = start(["nginx", "-e", dir.file("error.log"), "-c", dir.file("nginx.conf")]);
    await using prefork = start(["python3", "-c", PREFORK, dir.file("prefork")]);
    const [master] = [Number(await prefork.line())];
    const web = await whenThere(dir.file("web"));
    web.close();
    const clients = [
      await client(dir.file("bus"), "NULAUTH EXTERNAL\r\n"),
      await client(`/tmp/.X11-unix/X${display.address.slice(1)}`, ""),
      await client(dir.file("web"), "GET / HTTP/1.1\r\n"),
      await client(dir.file("prefork"), "unread by its worker"),
      await client(dir.file("prefork"), "another"),
    ];
    const workers = [Number(await prefork.line()), Number(await prefork.line())];
    clients.push(await client(dir.file("prefork"), "it waits in the backlog"));
    try {
      const ours = await family();
      const graph = socketGraph({ directories: [] });
      const rows = await ss();
      let [ends, listeners] = [0, 0];
      for (const listener of graph.listeners) {
        if (!listener.pids.some((pid) => ours.has(pid))) continue;
        const row = rows.get(listener.inode);
        if (listener.type === "datagram") continue;
        listeners += 1;
        expect(row?.state).toBe("LISTEN");
        expect(row?.pids).toEqual(listener.pids.toSorted((a, b) => a - b));
        expect(row?.queues).toEqual([listener.waiting!, listener.backlog!]);
      }
      for (const { from, to } of graph.connections) {
        if (![...from.pids, ...to.pids].some((pid) => ours.has(pid))) continue;
        for (const [end, other] of [
          [from, to],
          [to, from],
        ] as const) {
          const row = rows.get(end.inode);
          if (row === undefined && end.pids.includes(process.pid)) continue; // what ran ps, or ss
          ends += 1;
          expect(row?.pids).toEqual(end.pids.toSorted((a, b) => a - b));
          expect(row?.peer).toBe(other.inode);
          expect(row?.queues[0]).toBe(end.queue!);
        }
      }
      const known = new Set([
        ...graph.listeners.map(({ inode }) => inode),
        ...graph.connections.flatMap(({ from, to }) => [from.inode, to.inode]),
      ]);
      const mine = (row: Row): boolean =>
        row.pids.some((pid) => ours.has(pid) && pid !== process.pid) &&
        /LISTEN|ESTAB/.test(row.state);
      const missed = [...rows.values()].filter(
        (row) => mine(row) && row.peer !== 0 && !known.has(row.inode),
      );
      const waits = clients.at(-1)!.pid; // a connection that is not accepted has no other end yet
      expect(missed.filter(({ pids }) => !pids.includes(waits))).toEqual([]);
      const shared = graph.listeners.find(({ pids }) => pids.includes(master));
      expect(shared?.pids.toSorted()).toEqual([master, ...workers].toSorted());
      expect([shared?.waiting, shared?.backlog]).toEqual([1, 7]);
      expect(listeners).toBeGreaterThanOrEqual(4);
      expect(ends).toBeGreaterThanOrEqual(10);
      console.log(`note: ${listeners} listeners and ${ends} ends as ss -xp has them`);
      expect([nginx.pid, bus.child.pid].every((pid) => ours.has(pid))).toBe(true);
    } finally {
      nginx.kill("SIGTERM"); // its workers would outlive a SIGKILL
      for (const one of clients) one.kill("SIGKILL");
      for (const pid of workers) process.kill(pid, "SIGKILL");
      await nginx.exited;
    }
  },
  LIMIT_MS * slower,
);

async function whenThere(path: string) {
  for (;;) {
    try {
      return await connect(path);
    } catch {
      await Bun.sleep(20);
    }
  }
}

// socketGraph: processes, listeners, connections and stale files, against what we made and ss says.

import { describe, expect, test } from "bun:test";
import { fstatSync, mkdirSync, writeFileSync } from "node:fs";
import {
  connect,
  formatAddress,
  listen,
  openDatagram,
  type SocketGraph,
  socketGraph,
  socketPair,
} from "../../src/index.ts";
import { containerIn } from "../../src/inspect/container.ts";
import { leaveStale } from "../exclusive/crew.ts";
import { type Child, run, runSource, start, succeeded } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { noSockDiag, testUnless } from "../support/unless.ts";
import { closeAll, eventually, thrown } from "./tools.ts";

const inode = ({ fd }: { fd: number }): number => fstatSync(fd).ino;
const pids = [process.pid];

testUnless(noSockDiag(), "a listener, who is connected to it, and what waits", async () => {
  using dir = tempDir();
  const path = dir.file("s");
  using server = listen(path, { backlog: 3 });
  using client = await connect(path);
  using accepted = await server.accept();
  using waits = await connect(path);
  await client.send("12345");
  await accepted.send("12");
  const { listeners, connections, processes } = socketGraph({ directories: [] });
  const address = { kind: "path", path } as const;
  expect(listeners.find((one) => one.inode === inode(server))).toEqual({
    ...{ inode: inode(server), type: "stream", address, waiting: 1, backlog: 3, pids },
  });
  expect(connections.filter((one) => one.from.inode === inode(client))).toEqual([
    {
      ...{ type: "stream", kind: "client", address },
      from: { inode: inode(client), pids, queue: 2 },
      to: { inode: inode(accepted), pids, queue: 5 },
    },
  ]);
  expect(connections.some(({ from, to }) => [from, to].some((e) => e.inode === inode(waits)))).toBe(
    false, // nobody has its other end yet
  );
  const me = processes.find(({ pid }) => pid === process.pid);
  expect([me?.uid, me?.user]).toEqual([
    process.geteuid!(),
    succeeded(await run(["id", "-un"])).trim(),
  ]);
});

testUnless(noSockDiag(), "pairs and datagrams, each once", () => {
  using dir = tempDir();
  const pairs = (["stream", "seqpacket", "datagram"] as const).map((type) => socketPair(type));
  using receiver = openDatagram(dir.file("r"));
  using sender = openDatagram(undefined, { connect: dir.file("r") });
  const { connections, listeners } = socketGraph({ directories: [] });
  const of = (fd: number) =>
    connections.filter(({ from, to }) => from.inode === fd || to.inode === fd);
  for (const [one, other] of pairs) {
    const [found, ...more] = of(inode(one));
    expect([found?.kind, found?.address, more]).toEqual(["pair", null, []]);
    const ends = [found!.from.inode, found!.to.inode];
    expect(ends).toEqual([inode(one), inode(other)].sort((a, b) => a - b));
  }
  const [sends] = of(inode(sender));
  expect(sends).toMatchObject({ kind: "datagram", to: { inode: inode(receiver) } });
  expect(formatAddress(sends!.address!)).toBe(dir.file("r"));
  expect(listeners.some((one) => one.inode === inode(receiver))).toBe(true);
  closeAll(pairs.flat());
});

test("stale files are found three deep, live ones and others are not", () => {
  using dir = tempDir();
  for (const at of ["a", "a/b", "a/b/c"]) mkdirSync(dir.file(at));
  for (const at of ["s", "a/b/s", "a/b/c/s"]) leaveStale(dir.file(at));
  writeFileSync(dir.file("f"), "");
  using _live = listen(dir.file("a/live"));
  const { stale } = socketGraph({ directories: [dir.path, dir.file("none")] });
  expect(stale).toEqual([dir.file("a/b/s"), dir.file("s")]);
  expect(socketGraph({ directories: [] }).stale).toEqual([]);
  expect(socketGraph().stale).toContain(dir.file("s")); // beside a listener
});

testUnless(noSockDiag(), "many stale files take few questions to the kernel", async () => {
  using dir = tempDir();
  const files = Array.from({ length: 100 }, (_, i) => dir.file(`s${i}`));
  for (const file of files) leaveStale(file);
  const source = `
    import { socketGraph } from "@/src/index.ts";
    console.log(socketGraph({ directories: [${JSON.stringify(dir.path)}] }).stale.join());`;
  const outcome = await runSource(source, { env: { BUNIX_DEBUG: "1" } });
  expect(succeeded(outcome).trim()).toBe(files.sort().join());
  const questions = outcome.stderr.match(/ socket\(AF_NETLINK/g) ?? [];
  expect(questions.length).toBeGreaterThan(1);
  expect(questions.length).toBeLessThan(10);
});

test("directories that are none are a TypeError", async () => {
  expect(await thrown(() => socketGraph({ directories: "/tmp" as never }))).toBeInstanceOf(
    TypeError,
  );
});

test("containers, by the names of their control groups", () => {
  const id = "0123456789ab".padEnd(64, "c");
  const cases: Readonly<Record<string, string | null>> = {
    [`0::/system.slice/docker-${id}.scope`]: "docker 0123456789ab",
    [`12:cpu:/docker/${id}`]: "docker 0123456789ab",
    [`0::/machine.slice/libpod-${id}.scope/container`]: "podman 0123456789ab",
    [`0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-${id}.scope`]:
      "containerd 0123456789ab",
    [`1:name=systemd:/kubepods/besteffort/pod1/${id}`]: "kubernetes 0123456789ab",
    "0::/lxc.payload.web/init.scope": "lxc web",
    "0::/machine.slice/systemd-nspawn@db.service/payload": "nspawn db",
    "0::/user.slice/user-1000.slice": null,
    "": null,
  };
  for (const [text, wanted] of Object.entries(cases)) {
    const found = containerIn(text);
    expect(found === null ? null : `${found.runtime} ${found.id}`).toBe(wanted);
  }
});

const NGINX = `worker_processes 2; daemon off; pid DIR/pid; error_log /dev/null;
events { worker_connections 64; }
http {
  access_log off;
  client_body_temp_path DIR/b; proxy_temp_path DIR/p; fastcgi_temp_path DIR/f;
  uwsgi_temp_path DIR/u; scgi_temp_path DIR/c;
  server { listen unix:DIR/web; location / { return 200 "ok"; } }
}`;

/** What `ss -xp` says of a socket: its own inode, its peer's, the pids. */
function ssRow(line: string): { inode: number; peer: number; pids: number[] } {
  const [, , , , , own, , peer] = line.trim().split(/\s+/);
  const pids = Array.from(line.matchAll(/pid=(\d+)/g), ([, pid]) => Number(pid));
  return { inode: Number(own), peer: Number(peer), pids: [...new Set(pids)].sort((a, b) => a - b) };
}

const pairOf = (a: number, b: number): string => [a, b].sort((x, y) => x - y).join(" ");

describe("a machine with a bus, a screen and a pre-fork server", () => {
  peerTest("is told as ss -xp tells it", ["ss", "dbus-daemon", "Xvfb", "nginx"], async () => {
    using dir = tempDir();
    writeFileSync(dir.file("nginx.conf"), NGINX.replaceAll("DIR", dir.path));
    const bus = `unix:path=${dir.file("bus")}`;
    await using daemon = start(["dbus-daemon", "--session", "--nofork", `--address=${bus}`]);
    await using screen = start(["Xvfb", "-displayfd", "1", "-screen", "0", "64x64x8"]);
    const server = start(["nginx", "-e", "/dev/null", "-c", dir.file("nginx.conf")]);
    const display = `/tmp/.X11-unix/X${Number(await screen.line())}`;
    try {
      const addresses = [dir.file("bus"), dir.file("web"), display];
      await eventually(() => shown(addresses).length >= 3, "the servers listen");
      const clients = await Promise.all([...addresses, dir.file("web")].map((one) => connect(one)));
      const own = clients.map(inode);
      const all = (): boolean =>
        connected(socketGraph({ directories: [] }), own).length === own.length;
      await eventually(all, "the servers accept");
      const [lines, graph] = [
        succeeded(await run(["ss", "-xpH"])),
        socketGraph({ directories: [] }),
      ];
      const rows = lines
        .split("\n")
        .filter((line) => line !== "")
        .map(ssRow);
      for (const fd of own) {
        const row = rows.find((one) => one.inode === fd)!;
        const other = rows.find((one) => one.inode === row.peer)!;
        const [found] = connected(graph, [fd]);
        expect(pairOf(found!.from.inode, found!.to.inode)).toBe(pairOf(row.inode, row.peer));
        expect([found!.from.pids, found!.to.pids]).toEqual([row.pids, other.pids]);
      }
      checkServers(graph, addresses, { daemon, screen });
      closeAll(clients);
    } finally {
      server.kill("SIGTERM"); // it ends its workers
      await server.exited;
    }
  });
});

const shown = (addresses: readonly string[]) =>
  socketGraph({ directories: [] }).listeners.filter(({ address }) =>
    addresses.includes(formatAddress(address)),
  );

const connected = ({ connections }: SocketGraph, inodes: readonly number[]) =>
  connections.filter(({ from, to }) => inodes.includes(from.inode) && to.pids.length > 0);

function checkServers(
  graph: SocketGraph,
  [bus, web, display]: readonly string[],
  { daemon, screen }: Record<"daemon" | "screen", Child>,
): void {
  const by = (path: string | undefined) =>
    graph.listeners.find(({ address }) => formatAddress(address) === path)!;
  expect(by(bus).pids).toEqual([daemon.pid]);
  expect(by(display).pids).toEqual([screen.pid]);
  expect(by(web).pids).toHaveLength(3); // the master and two workers
  const command = (pid: number) => graph.processes.find((one) => one.pid === pid)?.command;
  expect(by(web).pids.map(command)).toEqual(["nginx", "nginx", "nginx"]);
  expect(command(daemon.pid)).toBe("dbus-daemon");
}

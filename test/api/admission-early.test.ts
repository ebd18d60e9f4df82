// Between a client's admission and the moment when its connection is the server's.

import { expect, spyOn, test } from "bun:test";
import { readdirSync, readFileSync, readlinkSync, statSync, utimesSync } from "node:fs";
import net from "node:net";
import { errno } from "../../native/errno.ts";
import { connect, listen, peerCredentials, verifyPeer } from "../../src/index.ts";
import { type PlaceholderAddress, serveOn } from "../../src/serve/adopt.ts";
import { runSource, start, succeeded } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { fake } from "../support/seam.ts";
import { tempDir } from "../support/tmp.ts";
import { freshAddress, freshPath } from "./pairs.ts";
import { fetchOnce, hello, readAll } from "./servers.ts";
import { leakFree, pattern } from "./tools.ts";

const allow = (): boolean => true;

function opening(where: PlaceholderAddress, open: (socket: Bun.Socket<undefined>) => void) {
  const socket = { open, data() {} };
  return "unix" in where ? Bun.listen({ ...where, socket }) : Bun.listen({ ...where, socket });
}

peerTest("who asks in open is told of the client", ["root", "python3"], () =>
  leakFree(async () => {
    const address = freshAddress("abstract");
    using listener = listen(address, { allow });
    const server = serveOn(listener, (where) =>
      opening(where, (socket) => {
        const { fd } = socket as unknown as { fd: number };
        const { uid, pid } = peerCredentials(fd);
        using peer = verifyPeer(fd);
        socket.end(JSON.stringify([uid, pid, peer.uid, peer.pid]));
      }),
    );
    const source = `
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
one = socket.socket(socket.AF_UNIX); one.connect("\\0" + sys.argv[1])
print(os.getpid(), one.recv(4096).decode(), flush=True)`;
    const child = start(["python3", "-c", source, address.slice(1)]);
    const [pid, said] = succeeded(await child.exited)
      .trim()
      .split(" ", 2);
    expect(JSON.parse(said ?? "")).toEqual([65_534, Number(pid), 65_534, Number(pid)]);
    server.stop(true);
  }),
);

test("a greeting that is more than the client takes at once comes whole", () =>
  leakFree(async () => {
    const path = freshPath();
    using listener = listen(path, { allow });
    const greeting = pattern(2_000_000);
    const server = serveOn(listener, (where) =>
      "unix" in where ? net.createServer((socket) => socket.end(greeting)).listen(where) : never(),
    );
    using client = await connect(path);
    await Bun.sleep(30); // it does not read
    const parts: Buffer[] = [];
    for await (const message of client) parts.push(Buffer.from(message.data));
    expect(Buffer.compare(Buffer.concat(parts), greeting)).toBe(0);
    server.close();
  }));

function never(): never {
  throw new Error("not Unix");
}

test("many clients at once, each gets its own greeting", () =>
  leakFree(async () => {
    const path = freshPath();
    using listener = listen(path, { allow });
    let count = 0;
    const server = serveOn(listener, (where) =>
      opening(where, (socket) => void socket.end(`${++count}`)),
    );
    const all = await Promise.all(Array.from({ length: 150 }, () => readAll({ path })));
    expect(new Set(all).size).toBe(150);
    server.stop(true);
  }));

/** Whether a line of /proc/net/unix is of a socket of this process. */
function isOurs(line: string): boolean {
  const [, , , , , , inode] = line.trim().split(/\s+/);
  return openSockets().has(`socket:[${inode}]`);
}

function openSockets(): Set<string> {
  const links = new Set<string>();
  for (const fd of readdirSync("/proc/self/fd")) {
    try {
      links.add(readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      // the one that lists them
    }
  }
  return links;
}

test("nobody else finds the way to where the server listens", () =>
  leakFree(async () => {
    using dir = tempDir(); // others make and remove such directories in /tmp, too
    const { XDG_RUNTIME_DIR } = process.env;
    process.env["XDG_RUNTIME_DIR"] = dir.path;
    try {
      utimesSync(dir.path, 0, 0);
      using listener = listen(freshPath(), { allow });
      const server = serveOn(listener, hello);
      const named = readFileSync("/proc/net/unix", "utf8").split("\n");
      const hidden = named.filter((line) => /@bunix-[0-9a-f-]{36}$/.test(line));
      expect(hidden.filter((line) => / 00010000 /.test(line) && isOurs(line))).toEqual([]);
      expect(readdirSync(dir.path)).toEqual([]);
      expect(statSync(dir.path).mtimeMs).toBeGreaterThan(0); // it was made there
      await server.stop(true);
    } finally {
      if (XDG_RUNTIME_DIR === undefined) delete process.env["XDG_RUNTIME_DIR"];
      else process.env["XDG_RUNTIME_DIR"] = XDG_RUNTIME_DIR;
    }
  }));

test("dup3 fails: the client is closed, the next is served", () =>
  leakFree(async () => {
    const path = freshPath();
    using listener = listen(path, { allow });
    const server = serveOn(listener, hello);
    expect(await fetchOnce({ path })).toBe("hello /");
    using warnings = spyOn(process, "emitWarning").mockImplementation(() => {});
    {
      using _faults = fake("dup3", [{ errno: errno.EBUSY }]);
      const outcome = await fetchOnce({ path }).catch((error: Error) => error.message);
      expect(outcome).toStartWith("ended; so far:");
    }
    expect(warnings.mock.calls[0]?.[0]).toContain("could not be given to the server");
    while (listener.connections > 0) await Bun.sleep(1);
    expect(await fetchOnce({ path })).toBe("hello /");
    await server.stop(true);
  }));

test("when the server is stopped and the listener closed, the name is free at once", () =>
  leakFree(async () => {
    const address = freshAddress("abstract");
    for (let i = 0; i < 3; i++) {
      using listener = listen(address);
      const server = serveOn(listener, hello);
      listener.close(); // the server goes on
      expect(await fetchOnce({ path: address.replace("@", "\0") })).toBe("hello /");
      await server.stop(true);
    }
  }));

test("unref lets the process end, and so does stop", async () => {
  const source = `
import { serveOn, listen } from "@/src/index.ts";
for (const way of ["stop", "unref"]) {
  const listener = listen("@doorway-" + process.pid + way);
  const fetch = () => new Response();
  const server = serveOn(listener, (where) => Bun.serve({ ...where, fetch }));
  if (way === "stop") server.stop(true);
  else server.unref();
}
console.log("the end");`;
  expect(succeeded(await runSource(source))).toBe("the end\n");
});

// In a user namespace that does not map all ids, strangers look alike: nobody of them is anybody.

import { describe, expect, test } from "bun:test";
import { chownSync, statSync, writeFileSync } from "node:fs";
import { decodeIdMap } from "../../src/structs/id-map.ts";
import { isOwnUid, knownUid } from "../../src/users/known-ids.ts";
import { start, writeSource } from "../support/child.ts";
import { peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";

const needs = ["root", "python3", "unshare"];

test("a map: all ids, some, none; what is no map", () => {
  expect(decodeIdMap("         0          0 4294967295\n")).toBe("all");
  expect(decodeIdMap("0 0 2147483648\n2147483648 2147483648 2147483647\n")).toBe("all");
  expect(decodeIdMap("         0       1000          1\n         1     100000      65536\n")).toBe(
    "some",
  );
  expect(decodeIdMap("65534 0 1\n")).toBe("some");
  expect(decodeIdMap("")).toBe("none");
  expect(decodeIdMap("0 0\n")).toBe(null);
});

test("here, where all ids are mapped, 65534 is somebody", () => {
  expect([knownUid(65_534), knownUid(0)]).toEqual([65_534, 0]);
  expect([isOwnUid(process.geteuid?.() ?? -1), isOwnUid(null)]).toEqual([true, false]);
});

const SERVER = `
import {
  serveOn, listen, openDatagram, peerCredentials, probe, ProcessHandle, watchSignals,
} from "@/src/index.ts";
const [dir, name] = process.argv.slice(2);
const say = (what) => console.log(JSON.stringify(what));
using own = listen("@" + name);
void own.consume((socket) => { socket.trySend("own user"); socket.close(); });
const allow = (peer) => (say(["allow", peer.uid, peer.gid]), true);
using all = listen("@" + name + "-all", { allow });
void all.consume((socket) => {
  const { uid, gid } = socket.peer();
  say(["peer", uid, gid]);
  socket.close();
});
using web = listen("@" + name + "-web");
const fetch = () => new Response("own user");
const server = serveOn(web, (where) => Bun.serve({ ...where, fetch }));
using box = openDatagram("@" + name + "-box", { passCredentials: true });
void box.consume((message) => say(["message", message.credentials.uid, message.credentials.gid]));
using signals = watchSignals("SIGUSR1");
(async () => { for await (const { uid } of signals) say(["signal", uid]); })();
say(["file", probe(dir + "/stranger").owner]);
using parent = ProcessHandle.open(process.ppid);
say(["process", parent.info()?.uid]);
say(["ready", process.geteuid()]);
for await (const _ of process.stdin) break;
process.exit(0);`;

const CALLER = `
import os, signal, socket, sys
name, uid, pid = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
os.setgroups([]); os.setgid(uid)
if pid: os.kill(pid, signal.SIGUSR1)
os.setuid(uid)
def ask(address, text=b""):
    one = socket.socket(socket.AF_UNIX); one.settimeout(20); one.connect("\\0" + address)
    try:
        if text: one.sendall(text)
        return one.recv(4096).decode()
    except OSError:
        return ""
print("own user" in ask(name), flush=True)
print("own user" in ask(name + "-web", b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n"), flush=True)
ask(name + "-all")
box = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); box.sendto(b"x", "\\0" + name + "-box")
`;

interface Outcome {
  readonly euid: number;
  /** What the server says of the file, and of its parent. */
  readonly facts: Record<string, unknown>;
  /** Whether the caller was served by the plain listener, and by serveOn. */
  readonly served: string[];
}

/** A server inside, with this map of uids and gids, that is called by `caller` from outside. */
async function inNamespace(map: string, caller: number): Promise<Outcome> {
  using dir = tempDir();
  const name = `userns-${process.pid}-${caller}-${map.replaceAll(" ", "-")}`;
  writeFileSync(dir.file("stranger"), "");
  chownSync(dir.file("stranger"), caller, caller);
  const program = writeSource(dir, SERVER);
  const inside = ["unshare", "-U", "sh", "-c", 'read _; exec "$@"', "sh"];
  await using server = start([...inside, process.execPath, program, dir.path, name]);
  while (statSync(`/proc/${server.pid}/ns/user`).ino === statSync("/proc/self/ns/user").ino) {
    await Bun.sleep(2);
  }
  writeFileSync(`/proc/${server.pid}/gid_map`, map);
  writeFileSync(`/proc/${server.pid}/uid_map`, map);
  server.write("mapped\n");
  const facts: Record<string, unknown> = {};
  const hear = async (last: string): Promise<unknown[]> => {
    for (;;) {
      const line = await server.line();
      if (line === null) throw new Error(`ended: ${(await server.exited).stderr}`);
      const [what, ...rest] = JSON.parse(line) as [string, ...unknown[]];
      facts[what] = rest;
      if (what === last) return rest;
    }
  };
  const [euid] = await hear("ready");
  const call = start(["python3", "-c", CALLER, name, String(caller), String(server.pid)]);
  const { stdout } = await call.exited;
  await hear("message");
  while (facts["signal"] === undefined) await hear("signal");
  const { ready: _, ...rest } = facts;
  return { euid: euid as number, facts: rest, served: stdout.trim().split("\n") };
}

/** All that the server can say of a caller whom it cannot name. */
const unknown = {
  file: [null],
  allow: [null, null],
  peer: [null, null],
  message: [null, null],
};

describe("from outside", () => {
  peerTest("a stranger, to a server that is 65534 inside: not the same user", needs, async () => {
    const { euid, facts, served } = await inNamespace("65534 0 1", 1234);
    expect([euid, served]).toEqual([65_534, ["False", "False"]]);
    expect(facts).toMatchObject({ ...unknown, signal: [null] });
  });

  peerTest("uid 65534, to a server without a name for itself", needs, async () => {
    const { euid, facts, served } = await inNamespace("0 1000 1", 65_534);
    expect([euid, served]).toEqual([65_534, ["False", "False"]]);
    expect(facts).toMatchObject({ ...unknown, process: [null], signal: [null] });
  });

  peerTest("the user who is 0 inside is; uid 65534 outside is nobody", needs, async () => {
    const own = await inNamespace("0 0 1", 0);
    expect([own.euid, own.served]).toEqual([0, ["True", "True"]]);
    expect(own.facts).toMatchObject({ file: [0], allow: [0, 0], message: [0, 0], signal: [0] });
    const stranger = await inNamespace("0 0 1", 65_534);
    expect([stranger.euid, stranger.served]).toEqual([0, ["False", "False"]]);
    expect(stranger.facts).toMatchObject(unknown);
  });
});

// Services in rooms of their own, and a client outside of them: what it finds, and whom the service
// takes it for.

import { expect, setDefaultTimeout } from "bun:test";
import { connect, MessageQueue, probe } from "../../../src/index.ts";
import { codeOf } from "../../api/tools.ts";
import { testsUnless } from "../../support/unless.ts";
import { LIMIT_MS, PATIENT, program, property, systemctl, units, whyNot } from "../systemd.ts";

setDefaultTimeout(LIMIT_MS);
const { test } = testsUnless(whyNot);

/** Listens wherever it may; says whom it takes each caller for, and has a queue. */
const SERVICE = `
import { listen, MessageQueue, notify } from "@/src/index.ts";
const allow = () => true;
const places = ["/tmp/room.sock", "@room", process.env.RUNTIME_DIRECTORY + "/room.sock"];
const queue = MessageQueue.open("/room", { create: true, mode: 0o666 });
const listeners = places.map((place) => listen(place, { allow, mode: 0o666 }));
for (const listener of listeners) {
  (async () => {
    for await (const socket of listener) {
      const peer = socket.peer();
      await socket.send(JSON.stringify([peer.pid, peer.uid, peer.executable, process.getuid()]));
      socket.close();
    }
  })();
}
await notify({ ready: true });
process.on("SIGTERM", () => {
  queue.unlink();
  for (const listener of listeners) listener.close();
  process.exit(0);
});
`;

async function inRoom(properties: readonly string[], body: () => Promise<void>): Promise<void> {
  const lines = ["RuntimeDirectory=room", "Type=notify", PATIENT, ...properties].join("\n");
  const start = `ExecStart=${process.execPath} ${program("room.ts", SERVICE)}`;
  await using _units = await units({ "room.service": `[Service]\n${lines}\n${start}\n` });
  await systemctl("start", "room.service");
  await body();
}

type Seen = [pid: number, uid: number, executable: string | null, own: number];

async function call(place: string): Promise<Seen> {
  using socket = await connect(place);
  using message = (await socket.receive())!;
  return JSON.parse(message.text());
}

const IN_DIRECTORY = "/run/room/room.sock";

test("no rooms: everything is found", () =>
  inRoom([], async () => {
    const seen = [process.pid, 0, process.execPath, 0];
    for (const place of ["/tmp/room.sock", "@room", IN_DIRECTORY]) {
      expect(await call(place)).toEqual(seen as Seen);
    }
    MessageQueue.open("/room").close();
  }));

test("DynamicUser=yes has a /tmp of its own, and knows who calls", () =>
  inRoom(["DynamicUser=yes"], async () => {
    expect((await probe("/tmp/room.sock")).state).toBe("free");
    const service = Number(await property("room.service", "MainPID"));
    for (const place of ["@room", IN_DIRECTORY]) {
      const [pid, uid, executable, own] = await call(place);
      expect([pid, uid]).toEqual([process.pid, 0]);
      expect(executable).toBeNull(); // root's link is not to be read
      expect(own).toBeGreaterThan(60_000);
      using socket = await connect(place);
      using peer = socket.peer();
      expect(peer).toMatchObject({ pid: service, uid: own, alive: true });
    }
  }));

test("PrivateUsers=yes: users that are not in there have no number", () =>
  inRoom(["PrivateUsers=yes", "DynamicUser=yes"], async () => {
    const [pid, uid, , own] = await call(IN_DIRECTORY);
    expect([pid, uid]).toEqual([process.pid, 0]); // root is mapped
    expect(own).toBeGreaterThan(60_000);
    const asOther = `import { connect } from "@/src/index.ts";
process.setgid(12345); process.setuid(12345);
using socket = await connect("${IN_DIRECTORY}");
console.log((await socket.receive()).text());`;
    const said = Bun.spawnSync([process.execPath, program("other.ts", asOther)]);
    expect(said.stderr.toString()).toBe("");
    expect(JSON.parse(said.stdout.toString())[1]).toBeNull();
  }));

test("PrivateTmp=yes: its /tmp is not ours, a RuntimeDirectory= is for both", () =>
  inRoom(["PrivateTmp=yes"], async () => {
    expect((await probe("/tmp/room.sock")).state).toBe("free");
    expect((await call(IN_DIRECTORY))[0]).toBe(process.pid);
  }));

test("PrivateNetwork=yes: names are its own, files are not", () =>
  inRoom(["PrivateNetwork=yes"], async () => {
    expect(await codeOf(() => connect("@room"))).toBe("ECONNREFUSED");
    expect((await call(IN_DIRECTORY))[0]).toBe(process.pid);
  }));

test("PrivateIPC=yes: message queues are its own", () =>
  inRoom(["PrivateIPC=yes"], async () => {
    expect(await codeOf(async () => MessageQueue.open("/room"))).toBe("ENOENT");
    expect((await call(IN_DIRECTORY))[0]).toBe(process.pid);
  }));

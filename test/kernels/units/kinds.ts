// Everything that a socket unit can listen on, several of them in one service; a service for each
// connection; systemd's own proxy in front.

import { expect, setDefaultTimeout } from "bun:test";
import { realpathSync, writeFileSync } from "node:fs";
import { connect, MessageQueue, openDatagram, openFifo } from "../../../src/index.ts";
import { eventually } from "../../api/tools.ts";
import { testsUnless } from "../../support/unless.ts";
import { LIMIT_MS, PATIENT, program, property, systemctl, units, whyNot } from "../systemd.ts";

setDefaultTimeout(LIMIT_MS);
const { test } = testsUnless(whyNot);

/** Takes all that is passed, and tells who asks on the stream socket what came otherwise. */
const EVERYTHING = `
import { isatty } from "node:tty";
import { adoptSocket, FifoReader, inheritedFds, MessageQueue, notify } from "@/src/index.ts";

const seen = [];
const note = (name, text) => void seen.push(name + ": " + text);
const entries = inheritedFds();
const told = ({ kind, socket, access }) =>
  [kind, socket?.family, socket?.type, socket?.listening, access].filter((x) => x !== undefined);
const list = entries.map(({ name, description }) => [name, ...told(description)]);

async function answer(name, listener) {
  for await (const socket of listener) {
    using open = socket;
    const message = await socket.receive();
    const text = message.text();
    await socket.send(text === "list" ? JSON.stringify(list)
      : text === "seen" ? JSON.stringify(seen) : name + ": " + text);
  }
}

for (const { name, fd, description: { kind, socket } } of entries) {
  if (kind === "message-queue") {
    const queue = MessageQueue.adopt(fd);
    (async () => {
      for await (const message of queue) note(name, message.text() + " at " + message.priority);
    })();
  } else if (kind === "pipe") {
    const reader = FifoReader.adopt(fd);
    (async () => { for await (const line of reader.lines()) note(name, line); })();
  } else if (kind === "character-device") {
    note(name, isatty(fd.fd) ? "a terminal" : "something else");
  } else if (socket?.family === "unix" && socket.type === "datagram") {
    const datagrams = adoptSocket(fd, { expect: "datagram" });
    (async () => {
      for await (const message of datagrams) {
        note(name, message.text() + " by " + message.credentials?.pid);
      }
    })();
  } else if (socket?.family === "unix") {
    answer(name, adoptSocket(fd, { expect: "listener", allow: () => true }));
  }
}
await notify({ ready: true });
`;

const socketUnit = (name: string, listen: string): string => `[Socket]
${listen}
FileDescriptorName=${name}
Service=every.service
`;

const every = (): Record<string, string> => ({
  "every-stream.socket": socketUnit("stream", "ListenStream=/run/every.stream"),
  "every-abstract.socket": socketUnit("abstract", "ListenStream=@every-abstract"),
  "every-seqpacket.socket": socketUnit("seqpacket", "ListenSequentialPacket=/run/every.seqpacket"),
  "every-datagram.socket": socketUnit(
    "datagram",
    "ListenDatagram=/run/every.datagram\nPassCredentials=yes",
  ),
  "every-fifo.socket": socketUnit("fifo", "ListenFIFO=/run/every.fifo"),
  "every-queue.socket": socketUnit("queue", "ListenMessageQueue=/every"),
  "every-special.socket": socketUnit("special", `ListenSpecial=${realpathSync("/dev/ptmx")}`),
  "every-odd.socket": socketUnit(
    "odd",
    "ListenNetlink=kobject-uevent 0\nListenStream=127.0.0.1:5555",
  ),
  "every.service": `[Service]
Type=notify
Sockets=${KINDS.map((kind) => `every-${kind}.socket`).join(" ")}
ExecStart=${process.execPath} ${program("every.ts", EVERYTHING)}
${PATIENT}
`,
});

/** What systemd makes of ListenNetlink=; no Unix socket has that type. */
const SOCK_RAW = 3;

const KINDS = ["stream", "abstract", "seqpacket", "datagram", "fifo", "queue", "special", "odd"];

const ask = async (
  address: string,
  text: string,
  type: "stream" | "seqpacket" = "stream",
): Promise<string> => {
  using socket = await connect(address, { type });
  await socket.send(text);
  using answer = (await socket.receive())!;
  return answer.text();
};

test("each kind of socket unit reaches one service, and what comes on it is read", async () => {
  await using _units = await units(every());
  await systemctl("start", ...KINDS.map((kind) => `every-${kind}.socket`));
  // one of them starts it, and all are passed
  expect(await ask("/run/every.stream", "hello")).toBe("stream: hello");
  const list = JSON.parse(await ask("/run/every.stream", "list"));
  expect(list.sort()).toEqual([
    ["abstract", "socket", "unix", "stream", true, "read-write"],
    ["datagram", "socket", "unix", "datagram", false, "read-write"],
    ["fifo", "pipe", "read-write"],
    ["odd", "socket", "inet", "stream", true, "read-write"],
    ["odd", "socket", "netlink", SOCK_RAW, false, "read-write"],
    ["queue", "message-queue", "read"],
    ["seqpacket", "socket", "unix", "seqpacket", true, "read-write"],
    ["special", "character-device", "read"],
    ["stream", "socket", "unix", "stream", true, "read-write"],
  ]);
  expect(await ask("@every-abstract", "hello")).toBe("abstract: hello");
  expect(await ask("/run/every.seqpacket", "hello", "seqpacket")).toBe("seqpacket: hello");
  using datagrams = openDatagram();
  await datagrams.send("one", { to: "/run/every.datagram" });
  writeFileSync("/run/every.fifo", "two\n");
  using queue = MessageQueue.open("/every", { access: "write" });
  await queue.send("three", { priority: 3 });
  const expected = [
    `datagram: one by ${process.pid}`,
    "fifo: two",
    "queue: three at 3",
    "special: a terminal",
  ];
  await eventually(
    async () => JSON.parse(await ask("/run/every.stream", "seen")).length === expected.length,
    "all has come",
  );
  expect(JSON.parse(await ask("/run/every.stream", "seen")).sort()).toEqual(expected);

  // the FIFO and the queue are systemd's: what comes while nobody runs is there for the next
  await systemctl("stop", "every.service");
  using fifo = openFifo("/run/every.fifo", "write");
  await fifo.write("later\n");
  await queue.send("later, too", { priority: 1 });
  await systemctl("start", "every.service");
  await eventually(
    async () => JSON.parse(await ask("/run/every.stream", "seen")).length === 3,
    "what was left has come",
  );
  expect(JSON.parse(await ask("/run/every.stream", "seen")).sort()).toEqual([
    "fifo: later",
    "queue: later, too at 1",
    "special: a terminal",
  ]);
});

const ONE = `
import { adoptSocket, inheritedFds } from "@/src/index.ts";
const [entry] = inheritedFds();
using socket = adoptSocket(entry.fd, { expect: "stream" });
using message = await socket.receive();
await socket.send([entry.name, message.text(), socket.peer().pid, process.pid].join(" "));
`;

test("Accept=yes: a service for each connection, which knows its caller", async () => {
  await using _units = await units({
    "each.socket": "[Socket]\nListenStream=/run/each.sock\nAccept=yes\n",
    "each@.service": `[Service]\nExecStart=${process.execPath} ${program("each.ts", ONE)}\n`,
  });
  await systemctl("start", "each.socket");
  const answers = await Promise.all(["one", "two"].map((text) => ask("/run/each.sock", text)));
  const words = answers.map((answer) => answer.split(" "));
  expect(words.map(([name, text, caller]) => [name, text, Number(caller)])).toEqual([
    ["connection", "one", process.pid],
    ["connection", "two", process.pid],
  ]);
  expect(words[0]?.[3]).not.toBe(words[1]?.[3]);
  expect(await property("each.socket", "NAccepted")).toBe("2");
});

// bunix ls: columns that line up, what it leaves out, and JSON.

import { expect, test } from "bun:test";
import { fstatSync } from "node:fs";
import { connect, listen, openDatagram } from "../../src/index.ts";
import { run } from "../support/child.ts";
import { tempDir } from "../support/tmp.ts";
import { noSockDiag, testUnless } from "../support/unless.ts";
import { bunix, ownCommand } from "./tools.ts";

const head = /^TYPE +STATE +RECV-Q +SEND-Q +INODE +ADDRESS +PEER +UID +PROCESSES$/;

testUnless(noSockDiag(), "a line per socket: queues, address, peer, process", async () => {
  using dir = tempDir();
  using listener = listen(dir.file("s"), { backlog: 3 });
  using client = await connect(dir.file("s"));
  using accepted = await listener.accept();
  const { stdout, stderr, code } = await bunix(["ls", dir.path]);
  expect([stderr, code]).toEqual(["", 0]);
  const [first, ...lines] = stdout.trimEnd().split("\n");
  expect(first).toMatch(head);
  const [listens, inode, peer] = [listener, accepted, client].map(({ fd }) => fstatSync(fd).ino);
  const uid = process.geteuid?.();
  const me = (fd: number): string => `${ownCommand}[${process.pid}]:${fd}`;
  expect(lines.map((line) => line.split(/ +/))).toEqual([
    ["stream", "listening", "0", "3", `${listens}`, dir.file("s"), "-", `${uid}`, me(listener.fd)],
    [
      "stream",
      "connected",
      "0",
      "0",
      `${inode}`,
      dir.file("s"),
      `${peer}`,
      `${uid}`,
      me(accepted.fd),
    ],
    [
      "stream",
      "connected",
      "0",
      "0",
      `${peer}`,
      "-",
      dir.file("s"),
      `${inode}`,
      `${uid}`,
      me(client.fd),
    ],
  ]);
});

test("columns line up", async () => {
  using dir = tempDir();
  using _a = listen(dir.file("a"));
  using _b = listen(dir.file("a-longer-name"), { type: "seqpacket" });
  using _c = openDatagram(dir.file("c"));
  const [first = "", ...lines] = (await bunix(["ls", dir.path])).stdout.trimEnd().split("\n");
  expect(lines).toHaveLength(3);
  for (const column of ["STATE", "ADDRESS", "PEER", "PROCESSES"]) {
    const at = first.indexOf(column);
    for (const line of lines) expect(line.slice(at - 2, at + 1)).toMatch(/^ {2}\S$/);
  }
  const states = lines.map((line) => line.split(/ +/)[1]);
  expect(states).toEqual(["listening", "listening", "unconnected"]);
});

test("--listening, --type, --no-holders", async () => {
  using dir = tempDir();
  using _a = listen(dir.file("a"));
  using _b = listen(dir.file("b"), { type: "seqpacket" });
  using _c = openDatagram(dir.file("c"));
  const addresses = async (...args: string[]): Promise<string[]> => {
    const { stdout } = await bunix(["ls", dir.path, "--json", ...args]);
    return JSON.parse(stdout).map((one: { address: string }) => one.address.slice(-1));
  };
  expect(await addresses()).toEqual(["a", "b", "c"]);
  expect(await addresses("--listening")).toEqual(["a", "b"]);
  expect(await addresses("--type", "datagram")).toEqual(["c"]);
  const { stdout } = await bunix(["ls", dir.path, "--no-holders"]);
  expect(stdout.match(/ -$/gm)).toHaveLength(3);
});

testUnless(noSockDiag(), "--json: addresses as text, all that the library tells", async () => {
  using dir = tempDir();
  using listener = listen(dir.file("s"));
  using client = await connect(dir.file("s"));
  using accepted = await listener.accept();
  const all = JSON.parse((await bunix(["ls", "--json"])).stdout);
  const mine = all.find((one: { inode: number }) => one.inode === fstatSync(client.fd).ino);
  expect(mine).toEqual({
    type: "stream",
    state: "connected",
    inode: fstatSync(client.fd).ino,
    address: null,
    file: null,
    peer: { inode: fstatSync(accepted.fd).ino, address: dir.file("s") },
    receiveQueue: 0,
    sendQueue: 0,
    shutdown: "none",
    uid: process.geteuid?.(),
    holders: [{ pid: process.pid, command: ownCommand, fd: client.fd }],
  });
});

test("nothing found is no error; a reader that leaves is none either", async () => {
  const none = await bunix(["ls", "/no/such/place"]);
  expect([none.code, none.stdout.trimEnd().split("\n").length]).toEqual([0, 1]);
  expect(none.stdout.trimEnd()).toMatch(head);
  const script = `"${process.execPath}" src/cli/main.ts ls --json | head -c 1`;
  const left = await run(["sh", "-c", script]);
  expect([left.stdout, left.stderr]).toEqual(["[", ""]);
});

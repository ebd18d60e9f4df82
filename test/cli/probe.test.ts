// bunix probe: what it prints, and its exit codes.

import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { listen, openDatagram } from "../../src/index.ts";
import { tempDir } from "../support/tmp.ts";
import { noSockDiag } from "../support/unless.ts";
import { Scope } from "../syscalls/sockets.ts";
import { bunix, ownCommand } from "./tools.ts";

const source = noSockDiag() === null ? "sock_diag" : "proc";

test("0: listening, with the process and its descriptor", async () => {
  using dir = tempDir();
  using listener = listen(dir.file("s"), { mode: 0o600 });
  const { stdout, stderr, code } = await bunix(["probe", dir.file("s")]);
  expect([stderr, code]).toEqual(["", 0]);
  const lines = stdout.trimEnd().split("\n");
  expect(lines[0]).toBe(`${dir.file("s")}: listening (a process listens here)`);
  expect(lines[1]).toBe(`  held by   ${process.pid} ${ownCommand}, descriptor ${listener.fd}`);
  expect(stdout).toMatch(/^ {2}mode {6}0600$/m);
  expect(stdout).toMatch(/^ {2}since {5}\d{4}-\d\d-\d\dT/m);
  expect(stdout).toContain(source);
});

test("0: bound, by an abstract name", async () => {
  using scope = new Scope();
  using dir = tempDir();
  scope.bound(dir.file("s"), 1);
  const bound = await bunix(["probe", dir.file("s")]);
  expect([bound.code, bound.stdout.split(" ")[1]]).toEqual([0, "bound"]);
  using _datagram = openDatagram(`@bx-cli-${process.pid}`);
  const named = await bunix(["probe", `@bx-cli-${process.pid}`]);
  expect([named.code, named.stdout.split(" ")[1]]).toEqual([0, "listening"]);
});

test("1: stale. 2: free. 3: another type, not a socket", async () => {
  using dir = tempDir();
  listen(dir.file("stale"), { unlinkOnClose: false }).close();
  using _listener = listen(dir.file("live"));
  writeFileSync(dir.file("file"), "");
  const cases: [string[], number, string][] = [
    [[dir.file("stale")], 1, "stale"],
    [[dir.file("nothing")], 2, "free"],
    [[dir.file("file")], 3, "not-a-socket"],
    [[dir.file("live"), "--type", "datagram"], 3, "wrong-type"],
    [["--type=stream", dir.file("live")], 0, "listening"],
  ];
  for (const [args, code, state] of cases) {
    const said = await bunix(["probe", ...args]);
    expect([said.code, said.stdout.split(" ")[1], said.stderr]).toEqual([code, state, ""]);
    const json = await bunix(["probe", "--json", ...args]);
    expect([json.code, JSON.parse(json.stdout).state]).toEqual([code, state]);
  }
});

test("--json: the address as text, the rest as the library has it", async () => {
  using dir = tempDir();
  using listener = listen(dir.file("s"));
  const { stdout } = await bunix(["probe", dir.file("s"), "--json"]);
  expect(JSON.parse(stdout)).toMatchObject({
    address: dir.file("s"),
    state: "listening",
    type: "stream",
    source,
    holders: [{ pid: process.pid, command: ownCommand, fd: listener.fd }],
    since: expect.stringMatching(/Z$/),
  });
});

test("a name that does not print is escaped, and can be given so", async () => {
  using dir = tempDir();
  const path = dir.file("a\x1b[31mb");
  using _listener = listen({ path });
  const { stdout, code } = await bunix(["probe", dir.file("a\\x1b[31mb")]);
  expect(code).toBe(0);
  expect(stdout).toStartWith(`${dir.file("a\\x1b[31mb")}: listening`);
  expect(stdout).not.toContain("\x1b");
});

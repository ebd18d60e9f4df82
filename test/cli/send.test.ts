// bunix send, with socat, netcat and Python at the other end.

import { describe, expect, test } from "bun:test";
import { existsSync, writeFileSync } from "node:fs";
import { receiveFds } from "../../src/index.ts";
import { eventually } from "../api/tools.ts";
import { run, start } from "../support/child.ts";
import { debianPython, peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { noPidfds, testUnless } from "../support/unless.ts";
import { event, listening, startBunix } from "./talks.ts";
import { bunix } from "./tools.ts";

/** Something listens at a path: its file may be there a moment before. */
const listens = (path: string): Promise<void> =>
  eventually(async () => existsSync(path) && (await bunix(["probe", path])).code === 0, path);

const SERVER = `
import os, socket, sys, array
kind = getattr(socket, sys.argv[2])
s = socket.socket(socket.AF_UNIX, kind)
s.bind(sys.argv[1])
if kind != socket.SOCK_DGRAM: s.listen()
print("ready", flush=True)
c = s if kind == socket.SOCK_DGRAM else s.accept()[0]
while True:
    data, control, flags, sender = c.recvmsg(100000, 4096)
    if not data and not control: break
    fds = array.array("i")
    for level, type, rights in control: fds.frombytes(rights)
    contents = [os.pread(fd, 5, 0).decode() for fd in fds]
    print(repr(data), contents, flush=True)
    if kind == socket.SOCK_DGRAM: c.sendto(b"an answer", sender); break
    c.send(b"to " + data)
print("ended", flush=True)
`;

describe("text, a file's descriptor, the answer", () => {
  for (const [kind, options, sent, answer] of [
    ["SOCK_STREAM", [], "b'two words\\n'", "answer: to two words\\n"],
    ["SOCK_SEQPACKET", ["--seqpacket"], "b'two words'", "answer: to two words"],
    ["SOCK_DGRAM", ["--datagram"], "b'two words'", "answer: an answer"],
  ] as const) {
    peerTest(kind, ["python3"], async () => {
      using dir = tempDir();
      writeFileSync(dir.file("f"), "inside it");
      await using server = start([debianPython, "-c", SERVER, dir.file("s"), kind]);
      await server.lineWith("ready");
      const words = ["send", dir.file("s"), "two", "words", "--fd", dir.file("f"), "--wait"];
      const { stdout, stderr, code } = await bunix([...words, ...options, "--timeout", "20"]);
      expect([stderr, code]).toEqual(["", 0]);
      expect(await server.line()).toBe(`${sent} ['insid']`);
      expect(await server.line()).toBe("ended");
      const [first = "", ...rest] = stdout.trimEnd().split("\n");
      if (kind === "SOCK_DGRAM") expect(first).toBe(answer);
      else expect([first.startsWith(`to pid=${server.pid} uid=`), rest]).toEqual([true, [answer]]);
    });
  }
});

peerTest("a number is a descriptor that bunix was started with", ["python3"], async () => {
  using dir = tempDir();
  writeFileSync(dir.file("f"), "inside it");
  await using server = start([debianPython, "-c", SERVER, dir.file("s"), "SOCK_SEQPACKET"]);
  await server.lineWith("ready");
  const command = 'exec "$0" src/cli/main.ts send "$1" --seqpacket x --fd 7 7<"$2"';
  const outcome = await run(["sh", "-c", command, process.execPath, dir.file("s"), dir.file("f")]);
  expect([outcome.stderr, outcome.code]).toEqual(["", 0]);
  expect(await server.line()).toBe("b'x' ['insid']");
});

peerTest("standard input, byte for byte, and --raw answers alike", ["socat"], async () => {
  using dir = tempDir();
  const path = dir.file("s");
  await using _cat = start(["socat", "-t", "30", `UNIX-LISTEN:${path}`, "SYSTEM:cat"]);
  await listens(path);
  const bytes = Uint8Array.from({ length: 200_000 }, (_, i) => (i * 11) % 256);
  const child = Bun.spawn([process.execPath, "src/cli/main.ts", "send", path, "--raw", "--wait"], {
    stdin: "pipe", // not `bytes`: for those Bun 1.3 leaves a descriptor open here
    stdout: "pipe",
    stderr: "pipe",
  });
  child.stdin.write(bytes);
  child.stdin.end();
  expect(new Uint8Array(await new Response(child.stdout).arrayBuffer())).toEqual(bytes);
  expect(await child.exited).toBe(0);
  expect(await new Response(child.stderr).text()).toStartWith("bunix: to pid=");
});

peerTest("netcat listens: text goes out with an end of line", ["nc"], async () => {
  using dir = tempDir();
  await using nc = start(["nc", "-lU", dir.file("s")]);
  await eventually(() => existsSync(dir.file("s")), "nc listens");
  const sent = async (): Promise<boolean> =>
    (await bunix(["send", dir.file("s"), "to", "netcat"])).code === 0;
  await eventually(sent, "nc takes it"); // bound, and a moment later listening
  expect(await nc.line()).toBe("to netcat");
});

test("messages: one for each line; with --raw one in all; --json and --abstract", async () => {
  const name = `bunix-send-${process.pid}-${Date.now()}`;
  await using server = await listening([`@${name}`, "--seqpacket", "--json"]);
  const to = ["send", name, "--abstract", "--seqpacket"];
  const texts = async (): Promise<unknown[]> => {
    const found: unknown[] = [];
    for (let one = await event(server); one["event"] !== "ended"; one = await event(server)) {
      if (one["event"] === "message") found.push(one["text"]);
    }
    return found;
  };
  expect(await bunix(to, { input: "one\ntwo\nthree" })).toMatchObject({ code: 0, stderr: "" });
  expect(await texts()).toEqual(["one", "two", "three"]);
  expect(await bunix([...to, "--raw"], { input: "one\ntwo\n" })).toMatchObject({ code: 0 });
  expect(await texts()).toEqual(["one\ntwo\n"]);
  const { stdout } = await bunix([...to, "text", "--json"]);
  expect(JSON.parse(stdout)).toMatchObject({ event: "connected", peer: { pid: server.pid } });
  expect(await texts()).toEqual(["text"]);
});

describe("ends", () => {
  test("1: the peer ends without an answer, or time does", async () => {
    using dir = tempDir();
    await using server = await listening([dir.file("s")]);
    expect((await bunix(["send", dir.file("s"), "x", "--wait"])).code).toBe(1);
    await using silent = await listening([dir.file("d"), "--datagram"]);
    const words = ["send", dir.file("d"), "x", "--datagram", "--wait", "--timeout", "0.2"];
    const { code, stderr } = await bunix(words);
    expect([code, stderr.includes("timed out")]).toEqual([1, true]);
    expect([server.pid, silent.pid].every(Boolean)).toBe(true);
  });

  test("71: nobody there, no such file or descriptor; with a hint", async () => {
    using dir = tempDir();
    const { stdout, stderr, code } = await bunix(["send", dir.file("s"), "x"]);
    expect([stdout, code]).toEqual(["", 71]);
    expect(stderr).toContain("connect ENOENT");
    expect(stderr).toContain("is the server running?");
    const file = await bunix(["send", dir.file("s"), "x", "--fd", dir.file("none")]);
    expect([file.code, file.stderr.includes("open ENOENT")]).toEqual([71, true]);
    await using _server = await listening([dir.file("s")]);
    const bad = await bunix(["send", dir.file("s"), "x", "--fd", "999"]);
    expect([bad.code, bad.stderr.includes("EBADF")]).toEqual([71, true]);
  });

  test("130: interrupted while it waits", async () => {
    using dir = tempDir();
    await using server = await listening([dir.file("s"), "--seqpacket"]);
    await using child = startBunix(["send", dir.file("s"), "x", "--seqpacket", "--wait"]);
    await server.lineWith("#1: x");
    child.kill("SIGINT");
    expect(await child.exited).toMatchObject({ code: 130, signal: null, stderr: "" });
  });
});

testUnless(noPidfds(), "--pid: a process gets a descriptor, announced by a signal", async () => {
  using dir = tempDir();
  writeFileSync(dir.file("f"), "inside it");
  const realtimeSignal = "SIGRTMIN+5";
  using watcher = receiveFds({ realtimeSignal });
  const words = ["send", "--pid", String(process.pid), "--fd", dir.file("f")];
  const sending = bunix([...words, "--signal", realtimeSignal]);
  for await (const received of watcher) {
    using fd = received.fd;
    expect(await Bun.file(fd.fd).text()).toBe("inside it");
    break;
  }
  const { stdout, stderr, code } = await sending;
  expect([stderr, code]).toEqual(["", 0]);
  expect(stdout).toBe(`process ${process.pid} has taken it\n`);
  const nobody = await bunix([...words, "--signal", "SIGRTMIN+6"]);
  expect([nobody.code, nobody.stderr.includes("ECONNREFUSED")]).toEqual([71, true]);
});

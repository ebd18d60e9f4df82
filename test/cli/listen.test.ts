// bunix listen, with socat, netcat and Python at the other end.

import { describe, expect, test } from "bun:test";
import { existsSync, readlinkSync } from "node:fs";
import { run, start, succeeded } from "../support/child.ts";
import { debianPython, peerTest } from "../support/peers.ts";
import { tempDir } from "../support/tmp.ts";
import { event, listening, startBunix } from "./talks.ts";
import { bunix } from "./tools.ts";

const own = { uid: process.getuid?.(), gid: process.getgid?.() };

peerTest("socat connects: who it is, what it says, escaped, and its end", ["socat"], async () => {
  using dir = tempDir();
  const address = dir.file("s");
  await using child = await listening([address]);
  const input = 'a\\b\x1b[31m "ü"\n';
  await using socat = start(["socat", "-", `UNIX-CONNECT:${address}`]);
  socat.write(input);
  const connected = await child.line();
  expect(connected).toStartWith(`#1 connected: pid=${socat.pid} uid=${own.uid} gid=${own.gid} `);
  expect(connected).toContain(`executable=${readlinkSync(`/proc/${socat.pid}/exe`)} (`);
  expect(connected).toContain("decide by uid");
  expect(await child.line()).toBe('#1: a\\\\b\\x1b[31m "ü"\\n');
  socat.endInput();
  expect(await child.line()).toBe("#1 ended");
  child.kill("SIGINT");
  expect(await child.exited).toMatchObject({ code: 0, signal: null, stderr: "" });
  expect(existsSync(address)).toBe(false);
});

peerTest("netcat: standard input goes to all who are there; --json", ["nc"], async () => {
  using dir = tempDir();
  const address = dir.file("s");
  await using child = await listening([address, "--json"]);
  await using one = start(["nc", "-U", address]);
  expect(await event(child)).toMatchObject({
    event: "connected",
    connection: 1,
    peer: { pid: one.pid, ...own },
  });
  await using two = start(["nc", "-U", address]);
  expect(await event(child)).toMatchObject({ event: "connected", connection: 2 });
  child.write("to both\n");
  expect([await one.line(), await two.line()]).toEqual(["to both", "to both"]);
  two.write("from the second\n");
  expect(await event(child)).toEqual({
    event: "message",
    connection: 2,
    text: "from the second\n",
    fds: [],
    truncated: false,
  });
  child.endInput(); // the end of its input is not its end
  one.kill();
  expect(await event(child)).toEqual({ event: "ended", connection: 1 });
  child.kill("SIGTERM");
  expect((await child.exited).code).toBe(0);
});

/** Sends two descriptors and bytes that are no text. */
const FDS = `
import array, os, socket, sys
kind = getattr(socket, sys.argv[2])
s = socket.socket(socket.AF_UNIX, kind)
s.connect(sys.argv[1] if sys.argv[1][0] == "/" else "\\0" + sys.argv[1])
r, w = os.pipe()
l = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
l.bind(""); l.listen()
fds = array.array("i", [r, l.fileno()])
s.sendmsg([b"\\xff\\0\\xfe"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
s.shutdown(socket.SHUT_WR) if kind != socket.SOCK_DGRAM else None
print(s.recv(100) if kind != socket.SOCK_DGRAM else b"")
`;

const sendFds = (address: string, kind: string) =>
  run([debianPython, "-c", FDS, address, kind]).then(succeeded);

describe("descriptors that come are described, and closed", () => {
  for (const [kind, options] of [
    ["SOCK_STREAM", []],
    ["SOCK_SEQPACKET", ["--seqpacket"]],
    ["SOCK_DGRAM", ["--datagram"]],
  ] as const) {
    peerTest(kind, ["python3"], async () => {
      using dir = tempDir();
      await using child = await listening([dir.file("s"), ...options, "--once"]);
      await sendFds(dir.file("s"), kind);
      const { stdout, code, stderr } = await child.exited;
      expect([code, stderr]).toEqual([0, ""]);
      expect(stdout).toMatch(/: with pipe, read: pipe:\[\d+\]$/m);
      expect(stdout).toMatch(/: with socket \(unix seqpacket, listening\), read-write: socket:/m);
      expect(stdout).toMatch(/: \\xff\\x00\\xfe$/m);
      if (kind === "SOCK_DGRAM") expect(stdout).toMatch(/^pid=\d+ uid=\d+ gid=\d+: /m);
    });
  }

  peerTest("--json has them too, and the bytes", ["python3"], async () => {
    using dir = tempDir();
    await using child = await listening([dir.file("s"), "--json", "--once"]);
    await sendFds(dir.file("s"), "SOCK_STREAM");
    const { stdout } = await child.exited;
    const [, , message] = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(Buffer.from(message.base64, "base64")).toEqual(Buffer.from([255, 0, 254]));
    const kinds = message.fds.map(({ kind }: { kind: string }) => kind);
    expect([message.text, kinds]).toEqual([undefined, ["pipe", "socket"]]);
  });
});

peerTest("--raw: the bytes as they are, all else on standard error", ["socat"], async () => {
  using dir = tempDir();
  const address = dir.file("s");
  const child = Bun.spawn(
    [process.execPath, "src/cli/main.ts", "listen", address, "--raw", "--once"],
    {
      stdout: "pipe",
      stderr: "pipe",
      stdin: "pipe",
    },
  );
  const first = await child.stderr.getReader().read();
  expect(new TextDecoder().decode(first.value)).toStartWith("bunix: listening on ");
  const bytes = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7) % 256);
  succeeded(await run(["socat", "-u", "-", `UNIX-CONNECT:${address}`], { input: bytes }));
  expect(new Uint8Array(await new Response(child.stdout).arrayBuffer())).toEqual(bytes);
  expect(await child.exited).toBe(0);
});

peerTest("an abstract name; a datagram is answered by what is typed", ["python3"], async () => {
  using dir = tempDir();
  const name = `bunix-listen-${process.pid}-${Date.now()}`;
  await using child = await listening([name, "--abstract", "--datagram", "--json"]);
  const from = dir.file("from");
  await using sender = start([
    debianPython,
    "-c",
    `import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[2]); s.connect("\\0" + sys.argv[1])
s.send(b"a question"); print(s.recv(100).decode())`,
    name,
    from,
  ]);
  expect(await event(child)).toMatchObject({
    event: "message",
    peer: { pid: sender.pid, ...own },
    address: from,
    text: "a question",
  });
  child.write("the answer\n");
  expect(await sender.line()).toBe("the answer");
});

test("an address that somebody has: 71, and who has it", async () => {
  using dir = tempDir();
  await using child = await listening([dir.file("s")]);
  const { stdout, stderr, code } = await bunix(["listen", dir.file("s")]);
  expect([stdout, code]).toEqual(["", 71]);
  expect(stderr).toContain("EADDRINUSE");
  expect(stderr).toContain(String(child.pid));
});

test("whoever reads its output has gone: it ends", async () => {
  using dir = tempDir();
  const address = dir.file("s");
  await using child = start([
    "sh",
    "-c",
    `"$0" src/cli/main.ts listen "$1" | head -1`,
    process.execPath,
    address,
  ]);
  await child.lineWith("listening");
  await using client = startBunix(["send", address]);
  client.write("one\ntwo\n");
  expect((await child.exited).code).toBe(0);
});

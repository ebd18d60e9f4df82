// A server and two clients, one in Python and one in Bun, over a real Unix socket: who is calling,
// an open file, a listening TCP socket and a memfd change hands, and no descriptor is left behind.
// Then a post box, to which a shell, socat, kill and a C program write.
//
//   bun examples/demo.ts        (npm run demo)

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  capabilities,
  type Fd,
  formatAddress,
  type Listener,
  listen,
  type SeqpacketSocket,
  SharedMemory,
} from "bunix";
import { listOpen, waitUntilClosed, warmUp } from "./demo/descriptors.ts";
import { serveOne } from "./demo/http.ts";
import { postBox } from "./demo/post-box.ts";
import { dim, fact, fail, heading, quote, success } from "./demo/print.ts";

const LIMIT_MS = 60_000;
const folder = join(import.meta.dir, "demo");
const begin = performance.now();
const { promise: late, reject } = Promise.withResolvers<never>();
const children: Bun.Subprocess[] = [];

/** What the demo promises. The first thing that is otherwise ends it with exit code 1. */
function insist(condition: boolean, promise: string): asserts condition {
  if (!condition) throw new Error(`this should hold, and does not: ${promise}`);
}

/** A client that can do "file" in Python; where there is none, a second Bun does it. */
function fileClient(): { name: string; command: string[] } {
  const bun = { name: "Bun", command: [process.execPath, join(folder, "client.ts"), "file"] };
  const python = Bun.which("python3");
  if (python === null) {
    console.log(dim("  python3 is not here: a second Bun client takes its part\n"));
    return bun;
  }
  const probe = [python, "-c", "import socket; socket.send_fds"];
  if (Bun.spawnSync(probe, { stderr: "ignore" }).success) {
    return { name: "Python", command: [python, join(folder, "client.py")] };
  }
  console.log(dim("  python3 is older than 3.9: a second Bun client takes its part\n"));
  return bun;
}

/** Start a client, and say who the kernel says it is. */
async function meet(address: string, { name, command }: ReturnType<typeof fileClient>) {
  const child = Bun.spawn([...command, address], { stdio: ["ignore", "ignore", "inherit"] });
  children.push(child);
  const socket = await listener.accept();
  using peer = socket.peer();
  heading(name, "connects");
  fact("who it is", `pid ${peer.pid}   uid ${peer.uid}   gid ${peer.gid}   ${peer.executable}`);
  insist(peer.uid === process.getuid?.(), "the client runs as the same user");
  return { child, socket, pid: peer.pid };
}

/** One message that says `expected` and brings one descriptor. */
async function receiveFd(socket: SeqpacketSocket, expected: string): Promise<Fd> {
  using message = await socket.receive();
  insist(message?.text() === expected, `a message that says "${expected}"`);
  const [fd, ...more] = message.takeFds();
  insist(fd !== undefined && more.length === 0, "one descriptor comes with it");
  return fd;
}

async function receiveText(socket: SeqpacketSocket): Promise<string> {
  using message = await socket.receive();
  return message?.text() ?? "(the client has gone)";
}

/** An open file comes; its digest goes back in a memfd. */
async function takeFile(address: string): Promise<void> {
  const { child, socket, pid } = await meet(address, fileClient());
  using file = await receiveFd(socket, `file from ${pid}`);
  const { kind, target = "" } = file.describe();
  const text = readFileSync(file.fd, "utf8");
  const deleted = target.endsWith("(deleted)") ? ", which has no name any more" : "";
  fact("brings", `an open ${kind}${deleted}, ${Buffer.byteLength(text)} bytes:`);
  quote(text);

  const digest = new Bun.CryptoHasher("sha256").update(text).digest("hex");
  using memfd = SharedMemory.create(digest, { name: "digest" });
  await socket.send("memfd", { fds: [memfd] });
  fact("gets", `a memfd with the digest ${digest.slice(0, 16)}…`);
  const answer = await receiveText(socket);
  fact("says", `"${answer}"`);
  insist(answer === "it matches", "the client finds the right digest in the memfd");
  await end(child, socket);
}

/** A listening TCP socket comes, and is served here. */
async function takeListener(address: string): Promise<void> {
  const command = [process.execPath, join(folder, "client.ts"), "listener"];
  const { child, socket, pid } = await meet(address, { name: "Bun", command });
  using received = await receiveFd(socket, `listener from ${pid}`);
  const { socket: tcp } = received.describe();
  insist(tcp?.family === "inet" && tcp.listening, "the descriptor is a listening TCP socket");
  const port = await receiveText(socket);
  fact("brings", `a listening TCP socket, 127.0.0.1:${port}, and closes its own`);

  const greeting = `Hello from pid ${process.pid}, on your socket.`;
  const served = serveOne(received, greeting);
  await socket.send("serving");
  fact("asks", await served);
  const answer = await receiveText(socket);
  fact("gets", answer);
  insist(answer === `200 ${greeting}`, "the client gets this process's answer");
  await end(child, socket);
}

async function end(child: Bun.Subprocess, socket: SeqpacketSocket): Promise<void> {
  insist((await socket.receive()) === null, "the client closes its end");
  insist((await child.exited) === 0, "the client ends well");
  socket.close();
  console.log();
}

async function demo(directory: string): Promise<void> {
  const before = listOpen();
  const path = join(directory, "demo.sock");
  const allow = ({ uid }: { uid: number | null }): boolean => uid === process.getuid?.();
  listener = listen(path, { type: "seqpacket", mode: 0o600, allow });
  heading("Server", `is pid ${process.pid}`);
  fact("listens on", `${formatAddress(listener.address)}, mode 0600`);
  console.log();
  await takeFile(path);
  await takeListener(path);
  listener.close();
  const left = await waitUntilClosed(before);
  heading("Descriptors", `${before.length} open before, ${listOpen().length} after`);
  for (const entry of left) fact("left", entry);
  insist(left.length === 0, "no descriptor is left");
  console.log();
  await postBox(join(directory, "post-box"), { insist, children });
}

let listener: Listener<SeqpacketSocket>;
const { waiting, waker, libc, arch } = capabilities();
if (!waiting.available) fail(`the demo needs Bun's event loop: ${waiting.reason}`);
console.log(
  dim(`\n  Bun ${Bun.version}, ${process.platform} ${arch}, ${libc}, waker ${waker?.kind}\n`),
);
await warmUp();
const directory = mkdtempSync(join(tmpdir(), "bunix-demo-"));
const timer = setTimeout(() => reject(`not done after ${LIMIT_MS / 1_000} s`), LIMIT_MS);
const problem = await Promise.race([demo(directory), late]).then(
  () => null,
  (error: unknown) => error,
);
clearTimeout(timer);
for (const child of children) child.kill(); // those that have ended do not mind
rmSync(directory, { recursive: true });
if (problem !== null) fail(problem);
const seconds = ((performance.now() - begin) / 1_000).toFixed(2);
success(`Everything changed hands and nothing was left behind, in ${seconds} s.`);

// Tests of what an older Bun or an emulator lacks: skipped with a reason that was found by trying.
// In CI only the rigs of test/platforms may lack anything; there BUNIX_RIG is set.

import { test } from "bun:test";
import { closeSync, openSync, readFileSync } from "node:fs";
import { file } from "../../native/file.ts";
import { arch } from "../../native/platform.ts";
import { socket } from "../../native/socket.ts";
import { capabilities } from "../../src/capabilities.ts";
import { socketPair } from "../../src/index.ts";
import { encodeControl } from "../../src/structs/cmsg.ts";
import { Envelope } from "../../src/syscalls/envelope.ts";
import { close, descriptorFlags } from "../../src/syscalls/fd.ts";
import { cells } from "../../src/syscalls/memory.ts";
import { recvmsg, sendmsg } from "../../src/syscalls/message.ts";
import { socketpair } from "../../src/syscalls/socket.ts";
import { runSource, slower, succeeded } from "./child.ts";
import { missing, peer } from "./peers.ts";

/** A test; where there is a reason why it cannot hold here it is skipped, and says so. */
export function testUnless(
  reason: string | null,
  name: string,
  fn: () => void | Promise<void>,
  timeoutMs?: number,
): void {
  if (reason === null) {
    test(name, fn, timeoutMs && timeoutMs * slower);
  } else if (process.env["CI"] === "true" && process.env["BUNIX_RIG"] === undefined) {
    test(name, () => {
      throw new Error(`CI must not skip: ${reason}`);
    });
  } else {
    console.log(`skip: ${name} (${reason})`);
    test.skip(name, fn);
  }
}

/** peerTest for what compares this Bun's numbers with those of the compiler's headers. */
export function headerTest(name: string, fn: () => void): void {
  testUnless(foreignCompiler() ?? missing(["cc"]), name, fn, 30_000);
}

/** Why a child's numbers may leave no gaps; null where they may. */
export function noSpawnGaps(): string | null {
  const { spawnGaps } = capabilities();
  return spawnGaps.available ? null : spawnGaps.reason;
}

/** Why Bun.listen does not take descriptors; null where it does. */
export function noListeningOnFds(): string | null {
  const [socket, other] = socketPair("stream"); // not listening: refused, too, but otherwise
  try {
    Bun.listen({ ...{ fd: socket.fd }, unix: "", socket: { data() {} } }).stop(true);
  } catch (error) {
    const said = error instanceof Error ? error.message : "";
    if (said.includes("does not support")) return said;
  } finally {
    socket.close();
    other.close();
  }
  return null;
}

/** Why what Bun opens for itself passes for inherited; null where it is close-on-exec. */
export function opensInheritable(): string | null {
  const fd = openSync("/dev/null", "r");
  const inheritable = (descriptorFlags(fd) & file.FD_CLOEXEC) === 0;
  closeSync(fd);
  return inheritable ? `Bun ${Bun.version} opens files without close-on-exec` : null;
}

/** Why messages bring no pidfd; null where they do. */
export function noPidfds(): string | null {
  const { passPidfd } = capabilities();
  return passPidfd.available ? null : `SO_PASSPIDFD: ${passPidfd.reason}`;
}

/** Why a message without any data does not come through; null where it does. */
export function noEmptyMessages(): string | null {
  const empty = Envelope.single(1);
  empty.parts = 0;
  let came = 0;
  const sent = sendThrough(empty, (fd) => {
    came = recvmsg(fd, Envelope.single(1), false);
  });
  return sent === 0 && came < 0 ? "sendmsg loses messages of no parts, and says 0" : null;
}

/** Why the kernel does not get to see wrong control data; null where it does. */
export function noWrongControl(): string | null {
  const message = Envelope.single(1);
  message.controlBytes = encodeControl(message.control, { fds: [0] });
  message.control.setUint32(0, message.controlBytes * 2, true);
  return sendThrough(message) >= 0
    ? "sendmsg puts control data right on its way to the kernel"
    : null;
}

/** The result of sending a message; what comes is dropped with its socket. */
function sendThrough(message: Envelope, receive = (_fd: number): void => {}): number {
  if (socketpair(socket.SOCK_SEQPACKET) < 0) throw new Error("no pair of sockets");
  const [a, b] = [cells.words[0]!, cells.words[1]!];
  const sent = sendmsg(a, message);
  receive(b);
  close(a);
  close(b);
  return sent;
}

/** Why what `cc` makes says nothing about this Bun's machine; null where it does. */
export function foreignCompiler(): string | null {
  if (!peer("cc").available) return null; // peerTest has something to say about that
  const made = Bun.spawnSync(["cc", "-dumpmachine"]).stdout.toString().trim();
  const own = arch === "arm64" ? /^(?:aarch64|arm64)/ : /^(?:x86_64|amd64)/;
  return own.test(made) ? null : `cc makes programs for ${made}, this Bun is for ${arch}`;
}

/** Why programs made by `bun build --compile` cannot be started; null where they can. */
export function noCompiledPrograms(): string | null {
  const start = readFileSync(process.execPath).subarray(0, 2).toString();
  return start === "#!" ? "this Bun is run by an emulator, and so would be what it compiles" : null;
}

/** Bun 1.3 keeps what it opened itself for a Worker that is terminated: nothing to count then. */
export async function keptOfWorkers(): Promise<string | null> {
  const program = `
    import { Worker } from "node:worker_threads";
    import { readdirSync } from "node:fs";
    const open = () => readdirSync("/proc/self/fd").length;
    const round = async () => {
      const worker = new Worker("postMessage(1); setInterval(() => {}, 1000)", { eval: true });
      await new Promise((resolve) => worker.once("message", resolve));
      await worker.terminate();
    };
    await round();
    const before = open();
    for (let i = 0; i < 5; i++) await round();
    for (let i = 0; i < 100 && open() > before; i++) await Bun.sleep(10);
    console.log(open() - before);
    process.exit(0);`;
  const kept = Number(succeeded(await runSource(program)));
  return kept < 5 ? null : `Bun ${Bun.version} keeps ${kept} descriptors of 5 terminated Workers`;
}

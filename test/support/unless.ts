// Tests of what an older Bun or an emulator lacks: skipped with a reason that was found by trying.
// In CI only the rigs of test/platforms may lack anything; there BUNIX_RIG is set.

import { test } from "bun:test";
import { closeSync, openSync, readFileSync } from "node:fs";
import { release } from "node:os";
import { join } from "node:path";
import { file } from "../../native/file.ts";
import { nr } from "../../native/numbers.ts";
import { arch, system } from "../../native/platform.ts";
import { message, option, socket } from "../../native/socket.ts";
import { errnoName, UnixError, UnsupportedError } from "../../src/base/errors.ts";
import { type KernelVersion, kernelIsAtLeast } from "../../src/base/kernel.ts";
import { type Capability, capabilities } from "../../src/capabilities/capabilities.ts";
import type { requirements } from "../../src/capabilities/table.ts";
import { MessageQueue, ProcessHandle, peerPidfd, socketPair } from "../../src/index.ts";
import { encodeControl } from "../../src/structs/cmsg.ts";
import { close, descriptorFlags } from "../../src/syscalls/fd.ts";
import { MessageHeader } from "../../src/syscalls/header.ts";
import { libc } from "../../src/syscalls/libc.ts";
import { Memory } from "../../src/syscalls/memory.ts";
import { sendmsg } from "../../src/syscalls/message.ts";
import { result } from "../../src/syscalls/result.ts";
import { getOption, getOptionBytes, setOption, socketpair } from "../../src/syscalls/socket.ts";
import { root, runSource, slower, start, succeeded } from "./child.ts";
import { missing, peer, peerTest } from "./peers.ts";

/** A test; where there is a reason why it cannot hold here it is skipped, and says so. */
export function testUnless(
  reason: string | null,
  name: string,
  fn: () => void | Promise<void>,
  timeoutMs?: number,
): void {
  if (reason === null) {
    test(name, fn, timeoutMs && timeoutMs * slower);
  } else if (mustHaveAll()) {
    test(name, () => {
      throw new Error(`CI must not skip: ${reason}`);
    });
  } else {
    console.log(`skip: ${name} (${reason})`);
    // biome-ignore lint/suspicious/noSkippedTests: the reason has been printed
    test.skip(name, fn);
  }
}

/** test and peerTest of a file in which nothing holds where there is such a reason. */
export function testsUnless(reason: string | null) {
  return {
    test: (name: string, fn: () => void | Promise<void>, timeoutMs?: number): void =>
      testUnless(reason, name, fn, timeoutMs),
    peerTest: (name: string, needs: readonly string[], ...rest: PeerTestRest): void => {
      if (reason === null) peerTest(name, needs, ...rest);
      else testUnless(reason, name, ...rest);
    },
  };
}

type PeerTestRest = [fn: () => void | Promise<void>, timeoutMs?: number];

const mustHaveAll = (): boolean =>
  process.env["CI"] === "true" && process.env["BUNIX_RIG"] === undefined;

/**
 * Both of the ways to wait, for BUNIX_WAKER of a program; or the one that test/run.ts was asked for
 * (`--waker`). Where one is not to be had, that is said.
 */
export function wakersHere(): ("aio" | "thread")[] {
  const asked = process.env["BUNIX_WAKER_OF_PROGRAMS"];
  return asked === undefined ? bothWakers() : bothWakers().filter((waker) => waker === asked);
}

function bothWakers(): ("aio" | "thread")[] {
  const context = new Memory(8);
  const setUp = nr.SYS_io_setup ?? -1;
  const made = result(libc.syscall(setUp, 1, context.address, 0, 0, 0, 0));
  if (made < 0) {
    const lacking = `the AIO waker is left out (io_setup: ${errnoName(-made)})`;
    if (mustHaveAll()) throw new Error(`CI must not skip: ${lacking}`);
    console.log(`note: ${lacking}`);
    return ["thread"];
  }
  const id = Number(context.view.getBigUint64(0, true));
  libc.syscall(nr.SYS_io_destroy ?? -1, id, 0, 0, 0, 0, 0);
  return ["aio", "thread"];
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

/** Why Bun.spawn keeps quiet where the child could not start; null where it throws. */
export async function noSpawnErrors(): Promise<string | null> {
  try {
    const stdio = ["ignore", "ignore", "ignore"] as const; // of pipes something would be left
    await Bun.spawn(["true"], { cwd: "/dev/null/no-directory", stdio: [...stdio] }).exited;
    return "Bun.spawn does not hear from its child that it could not start (vfork that is fork)";
  } catch {
    return null;
  }
}

/** Why what Bun opens for itself passes for inherited; null where it is close-on-exec. */
export function opensInheritable(): string | null {
  const fd = openSync("/dev/null", "r");
  const inheritable = (descriptorFlags(fd) & file.FD_CLOEXEC) === 0;
  closeSync(fd);
  return inheritable ? `Bun ${Bun.version} opens files without close-on-exec` : null;
}

/** Why an entry of `capabilities()` is not available; null where it is. */
export function lacking(name: keyof typeof requirements): string | null {
  const found: Capability = capabilities()[name];
  return found.available ? null : `${name}: ${found.reason}`;
}

/** Why a test says nothing of macOS, as that; null on Linux. */
export const asOnMac = (why: string): string | null => (system === "darwin" ? why : null);

/** Why messages bring no pidfd; null where they do. */
export function noPidfds(): string | null {
  const { passPidfd } = capabilities();
  return passPidfd.available ? null : `SO_PASSPIDFD: ${passPidfd.reason}`;
}

/** Why the kernel gives no pidfd of a peer; null where it does. */
export function noPeerPidfd(): string | null {
  using pair = socketPair("stream"); // by trying: emulators know this option and not the other
  try {
    peerPidfd(pair[0]).close();
    return null;
  } catch (error) {
    if (error instanceof UnsupportedError) return error.message;
    throw error;
  }
}

/** Why a test of what came with that kernel is left out; null from then on. */
export const olderThan = (version: KernelVersion, what: string): string | null =>
  kernelIsAtLeast(version) ? null : `${what} came with Linux ${version}, this is ${release()}`;

/** Why no socket has a send buffer of so many bytes, as one asks for them; null where it has. */
export function smallBuffers(bytes: number): string | null {
  const made = socketpair(socket.SOCK_STREAM);
  if (typeof made === "number") return `socketpair: ${errnoName(-made)}`;
  setOption(made[0], option.SO_SNDBUF, bytes);
  const given = getOption(made[0], option.SO_SNDBUF) / 2; // which the kernel doubles
  for (const fd of made) close(fd);
  const has = `a send buffer has at most ${given} bytes (net.core.wmem_max)`;
  return given >= bytes ? null : `${has}: less than ${bytes}`;
}

/** So many messages of a byte fill the usual send buffer of 212,992 bytes, and no queue does. */
const FULL_AT = 200;

/** Why a sender's buffer is full before a receiver's queue is; null where it is not. */
export function longQueues(): string | null {
  const most = Number(readFileSync("/proc/sys/net/unix/max_dgram_qlen", "latin1"));
  if (most < FULL_AT) return null;
  const why = "send buffers are full before such a queue is";
  return `max_dgram_qlen is ${most} (systemd sets 512): ${why}`;
}

/** Why sockets are looked up in /proc, which knows less of them; null where the kernel is asked. */
export function noSockDiag(): string | null {
  const { sockDiag } = capabilities();
  return sockDiag.available ? null : sockDiag.reason;
}

/** Why message queues send no signals; null where they do. */
export function noQueueSignals(): string | null {
  const name = `/bunix-unless-${process.pid}`;
  using queue = MessageQueue.open(name, { create: true, unlinkOnOpen: true });
  return refusal("mq_notify", () => queue.notify(null));
}

/**
 * Why real-time signals do not reach other processes as they are sent; null where they do.
 * qemu-user has other numbers for them, and the kernel compares the number with the siginfo's.
 */
export async function translatedSignals(): Promise<string | null> {
  const child = Bun.spawn(["sleep", "60"]);
  try {
    using handle = ProcessHandle.open(child.pid);
    const send = (): void => handle.signal("SIGRTMIN+1", { value: 1 });
    return refusal("a real-time signal by pidfd_send_signal", send);
  } finally {
    child.kill();
    await child.exited;
  }
}

/**
 * The number of a real-time signal as other processes have it. python3 tells; without it they are
 * taken to have the same.
 */
export async function foreignNumber(signal: number): Promise<number> {
  if (!peer("python3").available) return signal;
  const program = `import signal
all = range(signal.SIGRTMIN, signal.SIGRTMAX + 1)
signal.pthread_sigmask(signal.SIG_BLOCK, all)
print("ready", flush=True)
print(int(signal.sigwait(all)))`;
  await using other = start(["python3", "-c", program]);
  await other.lineWith("ready");
  process.kill(other.pid, signal);
  return Number(await other.line());
}

/** Why node:http does not serve connections that it did not accept; null where it does. */
export function noServeHttp(): string | null {
  const { serveHttp } = capabilities();
  return serveHttp.available ? null : serveHttp.reason;
}

/** What programs use that may be lacking, and why it is. */
const used: readonly (readonly [RegExp, () => string | null | Promise<string | null>])[] = [
  [/passPidfd: true/, noPidfds],
  [/emit\("connection"/, noServeHttp],
  [/\bsendFd\(/, translatedSignals],
  [/queue\.notify\(/, noQueueSignals],
  [/\bserveHttp\(/, noServeHttp],
];

/** Why a program, by its text, cannot run to its end here; null where it can. */
export async function lackingFor(program: string): Promise<string | null> {
  const text = readFileSync(program, "utf8");
  for (const [use, why] of used) {
    const reason = use.test(text) ? await why() : null;
    if (reason !== null) return reason;
  }
  return null;
}

/** What a call is refused with, in words; null where it is not. */
function refusal(call: string, attempt: () => void): string | null {
  try {
    attempt();
    return null;
  } catch (error) {
    return `${call}: ${error instanceof UnixError ? error.code : error}`;
  }
}

/** SO_MEMINFO, a socket option whose value is nine numbers; on every architecture. */
const SO_MEMINFO = 55;

/** Why socket options come without most of their value; null where they come whole. */
export function noLongOptions(): string | null {
  const [socket, other] = socketPair("stream");
  const room = new Memory(64);
  const bytes = getOptionBytes(socket.fd, { which: SO_MEMINFO, room });
  socket.close();
  other.close();
  return bytes === 4 ? "getsockopt passes on no more than 4 bytes of a value" : null;
}

/** Kernels before 5.15, and those that were built without it. */
export function noOutOfBand(): string | null {
  const made = socketpair(socket.SOCK_STREAM);
  if (typeof made === "number") throw new UnixError("socketpair", made);
  const MSG_OOB = 1;
  const sent = result(libc.send(made[0], new Memory(1).address, 1, MSG_OOB | message.MSG_NOSIGNAL));
  for (const fd of made) close(fd);
  return sent === 1 ? null : `MSG_OOB on a Unix socket: ${errnoName(-sent)}`;
}

/** Why the kernel does not get to see wrong control data; null where it does. */
export function noWrongControl(): string | null {
  const message = MessageHeader.single(1);
  message.controlBytes = encodeControl(message.control, { fds: [0] });
  message.control.setUint32(0, message.controlBytes * 2, true);
  return sendThrough(message) >= 0
    ? "sendmsg puts control data right on its way to the kernel"
    : null;
}

/** The result of sending a message; what comes is dropped with its socket. */
function sendThrough(message: MessageHeader): number {
  const made = socketpair(socket.SOCK_SEQPACKET);
  if (typeof made === "number") throw new Error("no pair of sockets");
  const [a, b] = made;
  const sent = sendmsg(a, message);
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

/** Why tsc cannot be run by this Bun; null where it can. */
export function noTypeChecker(): string | null {
  const tsc = join(root, "node_modules/.bin/tsc");
  const { success } = Bun.spawnSync([process.execPath, tsc, "--version"]);
  return success ? null : `npm ci brought no tsc for ${arch}`;
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

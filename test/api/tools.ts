// Small things that many tests need.

import { fstatSync, openSync, readdirSync, readlinkSync, readSync, writeSync } from "node:fs";
import { file, memfd } from "../../native/file.ts";
import { fdNumber } from "../../src/fd/fd.ts";
import {
  Fd,
  type FdLike,
  type Message,
  openDatagram,
  type SeqpacketSocket,
  type StreamSocket,
  socketPair,
  UnixError,
} from "../../src/index.ts";
import { memfdCreate } from "../../src/syscalls/fd.ts";
import { type Libc, libc } from "../../src/syscalls/libc.ts";
import { slower } from "../support/child.ts";
import { tempDir } from "../support/tmp.ts";
import type { AnySocket } from "./pairs.ts";

const linkOf = (fd: string): string | null => {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    return null; // the one that lists them
  }
};

/**
 * Open descriptors, with what they are. Eventfds are left out: Bun duplicates the one that it reads
 * for our loop, and closes the duplicate some time after that read was cancelled.
 */
function listing(): string[] {
  const all = readdirSync("/proc/self/fd").map((fd) => [fd, linkOf(fd)] as const);
  const kept = all.filter(([, link]) => link !== null && !link.includes("eventfd"));
  return kept.map(([fd, link]) => `${fd} ${link}`);
}

/** How many descriptors are open in this process, eventfds left out. */
export const openFds = (): number => listing().length;

/** Have the event loop's own descriptors made now, so that counts before and after compare. */
export async function startLoop(): Promise<void> {
  const [near, far] = socketPair("stream");
  const coming = far.receive();
  await near.send("warm");
  (await coming)?.close();
  near.close();
  far.close();
}

/** A few turns of the loop: time enough for whatever could happen by itself. */
export async function turns(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Wait until `condition` holds; fails with `what` when it never does. */
export async function eventually(
  condition: () => boolean | Promise<boolean>,
  what: string,
  deadlineMs = 20_000,
): Promise<void> {
  const end = performance.now() + deadlineMs * slower;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`never happened: ${what}`);
    await Bun.sleep(2);
  }
}

/**
 * Wait until at most `more` descriptors than `before` are open: Bun's own threads open some for a
 * moment, whenever they like.
 */
export const openAtMost = (before: number, more = 0): Promise<void> =>
  eventually(() => openFds() <= before + more, `at most ${before + more} descriptors are open`);

/** Run `body` and check that as many descriptors are open after it as before. */
export async function leakFree(body: () => void | Promise<void>): Promise<void> {
  await startLoop();
  const before = openFds();
  await body();
  await eventually(() => openFds() <= before, "no more open than before", 3_000).catch(() => {
    const end = listing().slice(-20).join(", ");
    throw new Error(`${before} descriptors before, ${openFds()} after: … ${end}`);
  });
}

/** The UnixError that `call` throws or rejects with. */
export async function failure(call: () => unknown): Promise<UnixError> {
  try {
    await call();
  } catch (error) {
    if (error instanceof UnixError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

/** Whatever `call` throws or rejects with. */
export async function thrown(call: () => unknown): Promise<unknown> {
  try {
    await call();
  } catch (error) {
    return error;
  }
  throw new Error("nothing was thrown");
}

/** The code of the UnixError that `call` throws or rejects with. */
export const codeOf = async (call: () => unknown): Promise<string> => (await failure(call)).code;

/** A file without a name, where memory is none. */
function unnamed(): number {
  using dir = tempDir();
  return openSync(dir.file("marked"), "wx+");
}

/** A descriptor whose content says which one it is. */
export function marked(text: string): Fd {
  const made = memfd.MFD_CLOEXEC === null ? unnamed() : memfdCreate("marked", memfd.MFD_CLOEXEC);
  const fd = Fd.adopt(made, "test");
  writeSync(fd.fd, text);
  return fd;
}

const MANY = 64;

/** Bun's own threads close what they have opened, once they get a processor. */
const PATIENCE_MS = 10_000;

/**
 * What `make` makes once it gets the number that was just closed: Bun's own threads may hold it, or
 * leave lower ones, at that moment. What came before it is closed.
 */
export function withNumber<T>(
  number: number,
  make: () => T,
  { fds, close }: { fds: (made: T) => number[]; close: (made: T) => void },
): T {
  const deadline = performance.now() + PATIENCE_MS;
  do {
    const others: T[] = [];
    try {
      for (let i = 0; i < MANY; i++) {
        const made = make();
        if (fds(made).includes(number)) return made;
        others.push(made);
      }
    } finally {
      for (const other of others) close(other);
    }
    Bun.sleepSync(1);
  } while (performance.now() < deadline);
  throw new Error(`the number ${number} is not used again`);
}

/** `marked`, under a number that was just closed. */
export function markedAs(number: number, text: string): Fd {
  return withNumber(number, () => marked(text), {
    fds: ({ fd }) => [fd],
    close: (fd) => fd.close(),
  });
}

/** A pair, one of it under a number that was just closed: that one first. */
export function pairWith(number: number): [StreamSocket, StreamSocket];
export function pairWith(number: number, type: "seqpacket"): [SeqpacketSocket, SeqpacketSocket];
export function pairWith(number: number, type = "stream") {
  const make = () => (type === "stream" ? socketPair("stream") : socketPair("seqpacket"));
  const [a, b] = withNumber<AnySocket[]>(number, make, {
    fds: (pair) => pair.map(({ fd }) => fd),
    close: closeAll,
  });
  return a!.fd === number ? [a, b] : [b, a];
}

/** `count` descriptors marked with their index. */
export const markedMany = (count: number): Fd[] =>
  Array.from({ length: count }, (_, i) => marked(`fd ${i}`));

/** The mark of a descriptor made by `marked`. */
export function markOf(fd: FdLike): string {
  const bytes = Buffer.alloc(64);
  return bytes.toString("utf8", 0, readSync(fdNumber(fd), bytes, 0, bytes.length, 0));
}

export function closeAll(fds: Iterable<{ close(): void }>): void {
  for (const fd of fds) fd.close();
}

/** What Bun's own threads open at any moment, under whatever number is free. */
const isBuns = (link: string | null): boolean =>
  /^anon_inode:\[(?:eventfd|eventpoll|timerfd)\]$/.test(link ?? "");

/** Whether a number of a test's own (which makes no eventfds) is still open. */
export function isOpen(fd: number): boolean {
  try {
    fstatSync(fd);
    return !isBuns(linkOf(String(fd)));
  } catch {
    return false;
  }
}

export function isCloseOnExec(fd: number): boolean {
  return (libc.fcntl(fd, file.F_GETFD, 0) & file.FD_CLOEXEC) !== 0;
}

/** Exactly `count` bytes from a stream, and the messages they came in. */
export async function readExactly(socket: AnySocket, count: number): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  let have = 0;
  while (have < count) {
    const message = await socket.receive({ maxBytes: count - have });
    if (message === null) throw new Error(`ended after ${have} of ${count} bytes`);
    message.close();
    parts.push(message.data);
    have += message.data.length;
  }
  return Buffer.concat(parts);
}

/** A message that must be there now. */
export function must(message: Message | null | undefined): Message {
  if (!message) throw new Error(message === null ? "the end instead" : "nothing is here");
  return message;
}

/** Bytes that differ from place to place, so that a shift or a swap shows. */
export function pattern(bytes: number, seed = 1): Buffer {
  const words = new Uint32Array(Math.ceil(bytes / 4));
  let state = seed >>> 0 || 1;
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
  return Buffer.from(words.buffer, 0, bytes);
}

/** Fill `socket` until it would block; how many sends it took. */
export function fill(socket: AnySocket, data: string | Uint8Array): number {
  for (let count = 0; ; count++) if (socket.trySend(data) === null) return count;
}

/**
 * Send "x" until the receiver's queue has no room for anybody; how many it took. Where the queue
 * holds more than a sender's buffer does (systemd's max_dgram_qlen is 512), several send.
 */
export function fillReceiver(to: string): number {
  for (let sent = 0; ; ) {
    using sender = openDatagram();
    const before = sent;
    while (sender.trySend("x", { to }) !== null) sent++;
    if (sent === before) return sent;
  }
}

/** Run `body` with some of libc's functions replaced, and put them back. */
export async function withLibc<T>(
  fakes: Partial<Libc>,
  body: () => T | Promise<T>,
): Promise<Awaited<T>> {
  const real = { ...libc };
  Object.assign(libc, fakes);
  try {
    return await body();
  } finally {
    Object.assign(libc, real);
  }
}

/** The names of the libc functions that `body` called. */
export async function callsOf(body: () => unknown): Promise<string[]> {
  const seen: string[] = [];
  const fakes: Record<string, unknown> = {};
  for (const [name, call] of Object.entries(libc)) {
    if (name.startsWith("__")) continue;
    fakes[name] = (...args: never[]) => {
      seen.push(name);
      return (call as (...args: never[]) => number)(...args);
    };
  }
  await withLibc(fakes as Partial<Libc>, body);
  return seen;
}

// The post box: one process receives from a FIFO, sockets, a message queue and signals.

import { createHash } from "node:crypto";
import {
  fchmodSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  realpathSync,
  rmdirSync,
  type Stats,
  statSync,
  unlinkSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { errno } from "../../../native/errno.ts";
import { fileCall, UnixError } from "../../base/errors.ts";
import { AddressInUseError } from "../../bind/in-use.ts";
import { capabilities } from "../../capabilities/capabilities.ts";
import { makeFifo } from "../../fifo/file.ts";
import { LineBuffer } from "../../fifo/lines.ts";
import { openFifo } from "../../fifo/open.ts";
import type { FifoReader } from "../../fifo/reader.ts";
import { type Listener, listen } from "../../listener/listener.ts";
import { MessageQueue } from "../../message-queue/queue.ts";
import { type SignalName, signalNumber } from "../../signals/names.ts";
import { type SignalWatcher, watchSignals } from "../../signals/watcher.ts";
import type { DatagramSocket } from "../../socket/datagram.ts";
import { openDatagram } from "../../socket/open-datagram.ts";
import type { StreamSocket } from "../../socket/stream.ts";
import { isOwnUid } from "../../users/known-ids.ts";
import {
  datagramLetter,
  isTooLong,
  type Letter,
  linesOf,
  MAX_LINE_BYTES,
  piecesOf,
  queueLetter,
  senderOf,
  signalLetter,
} from "./letters.ts";

/** Called with each message. A promise makes the channel wait for it. */
export type Take = (letter: Letter) => Promise<void> | undefined;

/** How the box is reached. */
export interface Places {
  readonly pid: number;
  readonly directory: string;
  readonly fifo: string;
  readonly socket: string;
  readonly datagram: string;
  readonly queue: string;
  /** Real-time signals have other numbers in other libcs: programs agree by the number. */
  readonly signals: readonly { readonly name: SignalName; readonly number: number }[];
}

const PRIVATE_DIRECTORY = 0o700;
const PRIVATE = 0o600;
/** Bytes of the digest that makes the queue's name out of the directory's. */
const DIGEST_CHARACTERS = 12;

/** Messages of a channel that are received after the box was told to stop. */
const MAX_AT_THE_END = 10_000;

/** A standard signal, which merges, and a real-time one, which queues up. */
const wanted: readonly SignalName[] = ["SIGUSR1", "SIGRTMIN+1"];

/** An open post box. Closing it leaves nothing behind. */
export class PostBox implements Disposable {
  readonly places: Places;
  /** Directories that this box has made, the innermost first. */
  readonly #made: readonly string[];
  readonly #connections = new Set<StreamSocket>();
  #listener: Listener<StreamSocket> | null = null;
  #datagram: DatagramSocket | null = null;
  #fifo: FifoReader | null = null;
  #queue: MessageQueue | null = null;
  #signals: SignalWatcher | null = null;
  #closed = false;

  private constructor(path: string) {
    const { directory, made } = makeDirectory(path);
    this.#made = made;
    const digest = createHash("sha256").update(directory).digest("hex");
    this.places = {
      pid: process.pid,
      directory,
      fifo: join(directory, "fifo"),
      socket: join(directory, "socket"),
      datagram: join(directory, "datagram"),
      queue: `/bunix-postbox-${digest.slice(0, DIGEST_CHARACTERS)}`,
      signals: (capabilities().signalSenders.available ? wanted : wanted.slice(0, 1)).map(
        (name) => ({ name, number: signalNumber(name) }),
      ),
    };
  }

  /**
   * Open the box in `directory`, which is made if it is missing. What a box that crashed has left
   * there is taken over, with the messages in it.
   *
   * @throws UnixError EADDRINUSE if a box is open already, EPERM in another user's directory, …
   */
  static open(directory: string): PostBox {
    const box = new PostBox(directory);
    try {
      box.#open();
      return box;
    } catch (error) {
      box.close();
      throw error;
    }
  }

  /** The socket comes first: its address is in use while a box is open. */
  #open(): void {
    const { directory, socket, datagram, fifo, queue, signals } = this.places;
    requireOwn(directory, () => statSync(directory), [0]);
    const options = { mode: PRIVATE, acceptFds: 0 } as const;
    this.#listener = listenAlone(socket, directory, options);
    this.#datagram = openDatagram(datagram, { ...options, passCredentials: true });
    this.#fifo = openOwnFifo(fifo);
    this.#queue = openOwnQueue(queue);
    this.#signals = watchSignals(signals.map(({ number }) => number));
  }

  /** How many signals came faster than they could be received. */
  get lost(): number {
    return this.#signals?.lost ?? 0;
  }

  /** Take messages until the box is closed. Rejects with what went wrong on any channel. */
  async run(take: Take): Promise<void> {
    const channels = [
      this.#readFifo(take),
      this.#acceptAll(take),
      this.#receiveDatagrams(take),
      this.#receiveQueued(take),
      this.#receiveSignals(take),
    ];
    await Promise.all(channels.map((channel) => this.#untilClosed(channel)));
  }

  async #untilClosed(channel: Promise<void>): Promise<void> {
    try {
      await channel;
    } catch (error) {
      if (!this.#closed) throw error;
    }
  }

  async #readFifo(take: Take): Promise<void> {
    const fifo = this.#fifo!;
    for (;;) {
      try {
        const lines = fifo.lines({ maxLineBytes: MAX_LINE_BYTES });
        for await (const text of lines) await take({ channel: "fifo", text });
        return;
      } catch (error) {
        if (!isTooLong(error)) throw error;
        for (const text of piecesOf(fifo.tryRead())) await take({ channel: "fifo", text });
      }
    }
  }

  async #acceptAll(take: Take): Promise<void> {
    for await (const socket of this.#listener!) {
      this.#connections.add(socket);
      this.#readLines(socket, take).catch((error: unknown) => {
        if (!(error instanceof UnixError)) throw error; // a connection's error does not end the box
      });
    }
  }

  async #readLines(socket: StreamSocket, take: Take): Promise<void> {
    try {
      const from = senderOf(socket.peerCredentials());
      const buffer = new LineBuffer();
      const give = (text: string): Promise<void> | undefined =>
        take({ channel: "socket", ...from, text });
      for await (const { data } of socket) {
        buffer.push(data);
        for (const text of linesOf(buffer)) await give(text);
      }
      if (buffer.bytes > 0) await give(buffer.lastLine());
    } finally {
      socket.close();
      this.#connections.delete(socket);
    }
  }

  async #receiveDatagrams(take: Take): Promise<void> {
    for await (const message of this.#datagram!) await take(datagramLetter(message));
  }

  async #receiveQueued(take: Take): Promise<void> {
    for await (const message of this.#queue!) await take(queueLetter(message));
  }

  async #receiveSignals(take: Take): Promise<void> {
    for await (const event of this.#signals!) await take(signalLetter(event));
  }

  /** What the kernel has queued for us, not read yet. */
  async takeRest(take: Take): Promise<void> {
    for (const text of piecesOf(this.#fifo?.tryRead())) await take({ channel: "fifo", text });
    for (const message of rest(() => this.#datagram?.tryReceive())) {
      await take(datagramLetter(message));
    }
    for (const message of rest(() => this.#queue?.tryReceive())) await take(queueLetter(message));
    for (const event of rest(() => this.#signals?.tryReceive())) await take(signalLetter(event));
  }

  /** Close everything and remove what has a name. Never throws. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const socket of this.#connections) socket.close();
    this.#signals?.close();
    if (this.#queue !== null) quietly(() => this.#queue?.unlink());
    this.#queue?.close();
    if (this.#fifo !== null) removeSame(this.#fifo);
    this.#fifo?.close();
    this.#datagram?.close();
    this.#listener?.close();
    quietly(() => this.#made.forEach((directory) => void rmdirSync(directory)));
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** The directory, without links in its path, and what had to be made of it. */
function makeDirectory(path: string): { directory: string; made: string[] } {
  const detail = { address: path };
  const options = { recursive: true, mode: PRIVATE_DIRECTORY } as const;
  const first = fileCall(() => mkdirSync(path, options), detail);
  const directory = fileCall(() => realpathSync(path), detail);
  const made: string[] = [];
  const outermost = first === undefined ? null : fileCall(() => realpathSync(first), detail);
  for (let at = directory; outermost !== null && at !== dirname(outermost); at = dirname(at)) {
    made.push(at);
  }
  return { directory, made };
}

/** The owner of the directory, or of a file in it, could read the messages. */
function requireOwn(address: string, look: () => Stats, others: readonly number[] = []): void {
  const { uid } = fileCall(look, { address });
  if (isOwnUid(uid) || others.includes(uid)) return;
  const hint = `it belongs to uid ${uid}`;
  throw new UnixError("postbox", -errno.EPERM, { address, hint });
}

function listenAlone(
  socket: string,
  directory: string,
  options: { mode: number; acceptFds: number },
): Listener<StreamSocket> {
  try {
    return listen(socket, options);
  } catch (error) {
    if (!(error instanceof AddressInUseError) || error.found.state !== "listening") throw error;
    const who = error.holders.map(({ pid }) => `process ${pid}`).join(", ") || "another process";
    const hint = `${who} has a post box open here; give another directory`;
    throw new UnixError("postbox", error.errno, { address: directory, hint });
  }
}

/** Use a FIFO that a crashed box has left: a writer may wait in it. */
function openOwnFifo(path: string): FifoReader {
  makeFifo(path, { mode: PRIVATE, exclusive: false });
  const fifo = openFifo(path, "read");
  return orClose(fifo, () => {
    requireOwn(path, () => fstatSync(fifo.fd));
    fileCall(() => fchmodSync(fifo.fd, PRIVATE), { address: path });
  });
}

/** Use a queue that a crashed box has left: there may be messages in it. */
function openOwnQueue(name: string): MessageQueue {
  const options = { create: true, exclusive: "lifetime", access: "read", mode: PRIVATE } as const;
  const queue = MessageQueue.open(name, options);
  return orClose(queue, () => requireOwn(name, () => fstatSync(queue.fd)));
}

function orClose<T extends { close(): void }>(opened: T, look: () => void): T {
  try {
    look();
    return opened;
  } catch (error) {
    opened.close();
    throw error;
  }
}

/** Remove the FIFO's file, unless another one has its name by now. */
function removeSame({ fd, path }: FifoReader): void {
  quietly(() => {
    const [ours, theirs] = [fstatSync(fd), lstatSync(path)];
    if (ours.ino === theirs.ino && ours.dev === theirs.dev) unlinkSync(path);
  });
}

function quietly(remove: () => void): void {
  try {
    remove();
  } catch {
    // removed already, or not empty
  }
}

/** At most so many messages, as a sender may send without end. */
function* rest<T>(next: () => T | null | undefined): Generator<T> {
  for (let i = 0; i < MAX_AT_THE_END; i++) {
    const one = next();
    if (one === null || one === undefined) return;
    yield one;
  }
}

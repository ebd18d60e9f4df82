// The reading end of a FIFO.

import { errno } from "../../native/errno.ts";
import { file } from "../../native/file.ts";
import { system } from "../../native/platform.ts";
import { epoll, poll as events } from "../../native/poll.ts";
import { integer } from "../base/checks.ts";
import type { SyncOptions } from "../base/deadline.ts";
import { check } from "../base/errors.ts";
import { iterate } from "../base/iterate.ts";
import { Fd, type FdLike } from "../fd/fd.ts";
import { attempt } from "../loop/attempt.ts";
import { rejected } from "../loop/gate.ts";
import { remaining } from "../syscalls/clock.ts";
import { EpollEvents, epollCreate, epollCtl } from "../syscalls/epoll.ts";
import { poll, read } from "../syscalls/fd.ts";
import { Memory } from "../syscalls/memory.ts";
import { AGAIN } from "../syscalls/result.ts";
import { isReady } from "../syscalls/select.ts";
import { adoptEnd } from "./adopt.ts";
import { FifoEnd, type FifoWaitOptions } from "./end.ts";
import { FifoFile, type FifoPath } from "./file.ts";
import { LineBuffer } from "./lines.ts";

/** How a FIFO is read. */
export interface FifoReaderOptions {
  /**
   * What it means that the last writer has left. Default false: nothing, more may come, and reads
   * go on waiting for them. true: the end, null. Before the first writer has come there is no end.
   */
  readonly endWhenWritersLeave?: boolean | undefined;
}

/** How lines are read. */
export interface LinesOptions extends FifoWaitOptions {
  /** The longest line, in bytes without its newline; a longer one is EMSGSIZE. Default 1 MiB. */
  readonly maxLineBytes?: number | undefined;
}

/** The default size of a pipe; one copy out of it per read. */
const CHUNK = 65_536;
const LINE_BYTES = 2 ** 20;
const room = new Memory(CHUNK);

/** Bytes; "left": empty, and the last writer has gone; undefined: nothing now. */
type Taken = Uint8Array | "left" | undefined;

/**
 * select(2), of which XNU's FIFOs need to be asked: it is ready for bytes, and once when the last
 * writer has left, until a read has been 0. read() is 0 before the first writer, too
 * (facts: #kqueue-and-fifos).
 */
const ASKS_FIRST = system === "darwin";

function takeReady(fd: number, maxBytes: number): Taken {
  if (!isReady(fd, "read")) return undefined;
  const bytes = read(fd, room.address, Math.min(maxBytes, CHUNK));
  if (bytes > 0) return room.bytes.slice(0, bytes);
  if (bytes === AGAIN) return undefined;
  check(bytes, "read");
  return "left";
}

/**
 * read() is 0 both before the first writer and after the last; only poll knows the difference: it
 * says nothing before, and POLLHUP after: fs/pipe.c of Linux (facts: #fifo-ends).
 */
function readChunk(fd: number, maxBytes: number): Taken {
  if (ASKS_FIRST) return takeReady(fd, maxBytes);
  for (;;) {
    const bytes = read(fd, room.address, Math.min(maxBytes, CHUNK));
    if (bytes > 0) return room.bytes.slice(0, bytes);
    if (bytes === AGAIN) return undefined;
    check(bytes, "read");
    const now = poll(fd, events.POLLIN, 0);
    if ((now & events.POLLIN) !== 0) continue; // one came, wrote and left in between
    return (now & events.POLLHUP) === 0 ? undefined : "left";
  }
}

/**
 * The reading end of a FIFO, made by `openFifo(path, "read")`, or of any pipe, by `adopt`. Writers
 * come and go; what they write arrives in the order in which the kernel took it, without anything
 * to tell whose it is.
 *
 * @see fifo(7), pipe(7)
 */
export class FifoReader extends FifoEnd {
  readonly #ends: boolean;
  readonly #buffer = new LineBuffer();
  /** A read has said so, and nothing was read since. */
  #left = false;

  private constructor(end: Fd, path: string, ends: boolean) {
    super(path);
    this.own(end);
    this.#ends = ends;
  }

  /** @internal */
  static open(where: FifoPath, options: FifoReaderOptions = {}): FifoReader {
    using found = FifoFile.look(where, "openFifo");
    const fd = check(found.open(file.O_RDONLY), "open", { address: where.text });
    return new FifoReader(
      Fd.of(fd, "openFifo", "ours"),
      where.text,
      options.endWhenWritersLeave ?? false,
    );
  }

  /**
   * Adopt a descriptor that reads from a pipe, named or not, and that other code opened: inherited
   * (`ListenFIFO=`), or received over a socket. A number or an Fd is owned by the result from then
   * on, of an object with an `fd` a duplicate is used; on failure it is still yours. The open file
   * no longer blocks, for all who share it. `path` is what /proc says it is.
   *
   * A descriptor that is open for writing too, as systemd's are, counts as a writer: then no writer
   * is ever the last, and `endWhenWritersLeave` never comes true.
   *
   * @throws TypeError, RangeError before any call; UnixError EBADF (no descriptor, or not open for
   *   reading)
   * @throws NotAFifoError for anything but a pipe
   * @see fifo(7), systemd.socket(5)
   */
  static adopt(from: FdLike, options: FifoReaderOptions = {}): FifoReader {
    const { end, path } = adoptEnd(from, "read", "FifoReader.adopt");
    return new FifoReader(end, path, options.endWhenWritersLeave ?? false);
  }

  /**
   * True after the last writer has closed, until a new one opens; there may still be data to read.
   * False while there is a writer, and before the first. macOS tells it once all has been read, and
   * then it is true until another has written.
   */
  get writersLeft(): boolean {
    this.open("poll");
    if (ASKS_FIRST) return this.#left || (isReady(this.fd, "read") && !this.#hasBytes());
    return (check(poll(this.fd, events.POLLIN, 0), "poll") & events.POLLHUP) !== 0;
  }

  /**
   * What is there, as soon as something is: at least one byte, at most `maxBytes` or 65,536. null
   * if `endWhenWritersLeave` says that this is the end; asked again, it is null again until the
   * next writer comes (on macOS: until it has written). Reads are served in the order they were
   * asked for.
   *
   * @throws UnixError ERR_CLOSED; the signal's reason
   * @see read(2)
   */
  read(
    options: FifoWaitOptions & { readonly maxBytes?: number | undefined } = {},
  ): Promise<Uint8Array | null> {
    const max = this.#maxBytes(options.maxBytes);
    return this.#wait(options.signal, () => this.#chunk(max));
  }

  /** What is there now; undefined: nothing; null: the end, as for `read`. */
  tryRead(options: { readonly maxBytes?: number | undefined } = {}): Uint8Array | null | undefined {
    this.open("read");
    return this.#chunk(this.#maxBytes(options.maxBytes));
  }

  /** `read`, blocking the thread. @throws UnixError ETIMEDOUT */
  readSync(
    options: SyncOptions & { readonly maxBytes?: number | undefined } = {},
  ): Uint8Array | null {
    const max = this.#maxBytes(options.maxBytes);
    const left = remaining(options.timeoutMs);
    this.open("read");
    const found = this.#chunk(max);
    return found === undefined ? this.#readLater(max, left) : found;
  }

  #readLater(max: number, left: () => number): Uint8Array | null {
    if (ASKS_FIRST) return this.#readReady(max, left);
    using edge = new Edge(this.fd);
    for (;;) {
      edge.clear();
      const found = this.#chunk(max);
      if (found !== undefined) return found;
      const wait = left();
      if (wait === 0) throw this.failed("read", -errno.ETIMEDOUT);
      edge.wait(wait);
    }
  }

  #readReady(max: number, left: () => number): Uint8Array | null {
    for (;;) {
      const wait = left();
      if (wait === 0) throw this.failed("read", -errno.ETIMEDOUT);
      isReady(this.fd, "read", wait);
      const found = this.#chunk(max);
      if (found !== undefined) return found;
    }
  }

  /** Chunks as they come; ends if `read` gives null. Leaving the loop does not close. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Uint8Array> {
    return iterate(() => this.read());
  }

  /**
   * Lines of UTF-8 without their "\n" (a "\r" before it stays; what is no UTF-8 becomes U+FFFD).
   * What the last writer left behind without a newline is a line too. What was read beyond the last
   * line that you took is not lost: `read` or another `lines` begins with it.
   *
   * @throws UnixError EMSGSIZE for a line of more than `maxLineBytes`, ERR_CLOSED; the signal's
   *   reason
   */
  lines(options: LinesOptions = {}): AsyncIterableIterator<string> {
    const max = integer("maxLineBytes", options.maxLineBytes ?? LINE_BYTES, { min: 1 });
    return iterate(() => this.#wait(options.signal, () => this.#line(max)));
  }

  #wait<T>(signal: AbortSignal | undefined, tryOnce: () => T | undefined): Promise<T> {
    try {
      this.open("read");
      return attempt({ watch: this.watch, direction: "read", signal }, { tryOnce });
    } catch (error) {
      return rejected(error);
    }
  }

  #maxBytes(maxBytes: number | undefined): number {
    return maxBytes === undefined ? CHUNK : integer("maxBytes", maxBytes, { min: 1 });
  }

  #hasBytes(): boolean {
    return (poll(this.fd, events.POLLIN, 0) & events.POLLIN) !== 0;
  }

  #take(max: number): Taken {
    const taken = readChunk(this.fd, max);
    // select tells of the end once; it stays the end for who asks again
    if (taken === undefined) return ASKS_FIRST && this.#left ? "left" : undefined;
    this.#left = taken === "left";
    return taken;
  }

  #chunk(max: number): Uint8Array | null | undefined {
    if (this.#buffer.bytes > 0) return this.#buffer.take(max);
    const taken = this.#take(max);
    if (taken === "left") return this.#ends ? null : undefined;
    return taken;
  }

  #line(max: number): string | null | undefined {
    for (;;) {
      const line = this.#buffer.line(max);
      if (line !== undefined) return line;
      const taken = this.#take(CHUNK);
      if (taken === undefined) return undefined;
      if (taken !== "left") this.#buffer.push(taken);
      else if (this.#buffer.bytes > 0) return this.#buffer.lastLine();
      else return this.#ends ? null : undefined;
    }
  }
}

/**
 * Waits, blocking the thread, for something to *change*: poll on the FIFO itself would return at
 * once for as long as the last writer has left, poll on an edge-triggered epoll does not.
 */
class Edge implements Disposable {
  readonly #epfd: number;
  readonly #handle: Fd;
  readonly #events = new EpollEvents(1);

  constructor(fd: number) {
    this.#epfd = check(epollCreate(), "epoll_create1");
    this.#handle = Fd.of(this.#epfd, "readSync", "ours");
    const asked = (epoll.EPOLLIN ?? 0) | (epoll.EPOLLET ?? 0);
    const added = epollCtl(this.#epfd, epoll.EPOLL_CTL_ADD ?? 0, { fd, events: asked });
    if (added < 0) this.#handle.close();
    check(added, "epoll_ctl");
  }

  /** Forget earlier events. */
  clear(): void {
    check(this.#events.wait(this.#epfd), "epoll_wait");
  }

  wait(timeoutMs: number): void {
    poll(this.#epfd, events.POLLIN, timeoutMs);
  }

  [Symbol.dispose](): void {
    this.#handle.close();
  }
}

// The writing end of a FIFO.

import { errno } from "../../native/errno.ts";
import { pipe } from "../../native/fifo.ts";
import { file } from "../../native/file.ts";
import { system } from "../../native/platform.ts";
import { poll as events } from "../../native/poll.ts";
import { Backoff } from "../base/backoff.ts";
import { integer } from "../base/checks.ts";
import type { Payload } from "../base/data.ts";
import type { SyncOptions } from "../base/deadline.ts";
import { check } from "../base/errors.ts";
import { MAX_QUEUED_BYTES } from "../base/limits.ts";
import { Fd, type FdLike } from "../fd/fd.ts";
import { rejected, settled } from "../loop/gate.ts";
import { onePiece } from "../socket/send.ts";
import { remaining } from "../syscalls/clock.ts";
import { close, poll } from "../syscalls/fd.ts";
import type { Piece } from "../syscalls/piece.ts";
import { writePipe } from "../syscalls/pipe-write.ts";
import { AGAIN } from "../syscalls/result.ts";
import { isReady } from "../syscalls/select.ts";
import { adoptEnd } from "./adopt.ts";
import { FifoEnd, type FifoWaitOptions } from "./end.ts";
import { FifoFile, type FifoPath } from "./file.ts";
import { noReader, RETRY, WriteQueue, type Written } from "./write-queue.ts";

/** PIPE_BUF in bytes: a write of at most this many is never mixed with another's. @see pipe(7) */
export const pipeBuf: number = pipe.PIPE_BUF;

/** How a FIFO is written. */
export interface FifoWriterOptions {
  /**
   * Whether `write` and `writeSync` wait for a reader if there is none, and for the next if the
   * last has left. Default true. false: ENXIO at once.
   */
  readonly waitForReader?: boolean | undefined;
  /** Bytes that may wait in this process before `write` fails with ENOBUFS. Default 64 MiB. */
  readonly maxQueuedBytes?: number | undefined;
}

/** What is promised of one write. */
export interface FifoWriteOptions {
  /**
   * All or nothing, and in one piece, even if others write: the kernel's promise for at most
   * `pipeBuf` bytes, so that more are a RangeError. Without it a longer write may be taken in
   * parts, with parts of other writers' between them.
   */
  readonly atomic?: boolean | undefined;
}

function checkOptions({ maxQueuedBytes = MAX_QUEUED_BYTES }: FifoWriterOptions): void {
  integer("maxQueuedBytes", maxQueuedBytes, { max: Number.MAX_SAFE_INTEGER });
}

/**
 * The writing end of a FIFO, made by `openFifo(path, "write")`. There need not be a reader yet: the
 * descriptor for writing is opened by the first write that finds one, and then kept, so that what
 * one reader leaves unread the next one gets.
 *
 * @see fifo(7), pipe(7)
 */
export class FifoWriter extends FifoEnd implements AsyncDisposable {
  /** To open it anew; null if the end came from elsewhere. */
  readonly #file: FifoFile | null;
  readonly #waits: boolean;
  readonly #maxQueuedBytes: number;
  readonly #queue: WriteQueue;

  private constructor(found: FifoFile | null, path: string, options: FifoWriterOptions) {
    super(path);
    this.#file = found;
    const { waitForReader = true, maxQueuedBytes = MAX_QUEUED_BYTES } = options;
    this.#waits = waitForReader;
    this.#maxQueuedBytes = maxQueuedBytes;
    this.#queue = new WriteQueue({
      path,
      waitsForReader: waitForReader,
      watch: () => this.watch,
      write: (data, done) => this.#now(data, done),
    });
  }

  /** @internal */
  static open(where: FifoPath, options: FifoWriterOptions = {}): FifoWriter {
    checkOptions(options);
    const writer = new FifoWriter(FifoFile.look(where, "openFifo"), where.text, options);
    try {
      writer.#connect();
      return writer;
    } catch (error) {
      writer.close();
      throw error;
    }
  }

  /**
   * Take over a descriptor that writes to a pipe, named or not: as {@link FifoReader.adopt}.
   * @throws TypeError, RangeError before any call; UnixError EBADF (no descriptor, or not open for
   *   writing)
   * @throws NotAFifoError for anything but a pipe
   */
  static adopt(from: FdLike, options: FifoWriterOptions = {}): FifoWriter {
    checkOptions(options);
    const { end, path } = adoptEnd(from, "write", "FifoWriter.adopt");
    const writer = new FifoWriter(null, path, options);
    writer.own(end);
    return writer;
  }

  /** Whether a process has the FIFO open for reading at this moment. */
  get hasReader(): boolean {
    this.open("open");
    if (!this.#connect()) return false;
    if (system === "darwin" && this.#file !== null) return this.#opensAgain(this.#file);
    return (check(poll(this.fd, events.POLLOUT, 0), "poll") & events.POLLERR) === 0;
  }

  /** macOS's poll says nothing of a FIFO's reader that has gone; an open does. */
  #opensAgain(found: FifoFile): boolean {
    const end = found.open(file.O_WRONLY);
    if (end === -errno.ENXIO) return false;
    close(check(end, "open", { address: this.path }));
    return true;
  }

  /** False: no reader has come yet. */
  #connect(): boolean {
    if (this.fd >= 0 || this.#file === null) return true;
    const end = this.#file.open(file.O_WRONLY);
    if (end === -errno.ENXIO) return false;
    if (end < 0) throw this.failed("open", end);
    this.own(Fd.of(end, "openFifo", "ours"));
    return true;
  }

  #now(data: Piece, done: number): Written {
    if (!this.#connect()) return "no-reader";
    const written = writePipe(this.fd, data.address(done), data.bytes - done);
    if (written >= 0) return written;
    if (written === AGAIN) return null;
    if (written === -errno.EPIPE) return "no-reader";
    throw this.failed("write", written);
  }

  #prepare(data: Payload, { atomic = false }: FifoWriteOptions): Piece {
    const piece = onePiece(data);
    const { bytes } = piece;
    if (!atomic || bytes <= pipeBuf) return piece;
    throw new RangeError(`at most ${pipeBuf} bytes are written atomically, not ${bytes}`);
  }

  /**
   * Write all of it; resolves when the kernel has taken it, not when it has been read. Waits for a
   * reader (asking again every few milliseconds: nothing tells that one has come) and for room.
   * Writes are taken in the order they were asked for; the data must not be changed meanwhile.
   *
   * @throws TypeError, RangeError at once; UnixError EPIPE if the reader left in the middle of a
   *   long write, ENXIO (`waitForReader: false`), ENOBUFS, ERR_CLOSED; the signal's reason
   * @see write(2)
   */
  write(data: Payload, options: FifoWriteOptions & FifoWaitOptions = {}): Promise<void> {
    const piece = this.#prepare(data, options);
    const { bytes } = piece;
    if (options.signal?.aborted === true) return rejected(options.signal.reason);
    try {
      this.open("write");
      let done = 0;
      if (this.#queue.idle) {
        const written = bytes === 0 ? 0 : this.#now(piece, 0);
        if (written === bytes) return settled(undefined);
        if (typeof written === "number") done = written;
      }
      this.#checkRoom(bytes - done);
      return this.#queue.add(piece, done, options.signal);
    } catch (error) {
      return rejected(error);
    }
  }

  #checkRoom(bytes: number): void {
    const queued = this.#queue.bytes;
    if (queued === 0 || queued + bytes <= this.#maxQueuedBytes) return;
    const hint = `${queued} bytes wait already: await write() before writing more`;
    throw this.failed("write", -errno.ENOBUFS, hint);
  }

  /** Bytes that wait in this process to be written. */
  get queuedBytes(): number {
    return this.#queue.bytes;
  }

  /**
   * Write what fits now. The bytes taken: all of them, or for more than `pipeBuf` perhaps only the
   * first; null: no room (or other writes wait already); "no-reader": no process has it open for
   * reading.
   */
  tryWrite(data: Payload, options: FifoWriteOptions = {}): number | null | "no-reader" {
    const piece = this.#prepare(data, options);
    this.open("write");
    if (piece.bytes === 0) return 0;
    return this.#queue.idle ? this.#now(piece, 0) : null;
  }

  /**
   * `write`, blocking the thread.
   * @throws UnixError as `write`, and ETIMEDOUT, EBUSY (writes are queued)
   */
  writeSync(data: Payload, options: FifoWriteOptions & SyncOptions = {}): void {
    const piece = this.#prepare(data, options);
    const { bytes } = piece;
    const left = remaining(options.timeoutMs);
    this.open("write");
    if (!this.#queue.idle)
      throw this.failed("write", -errno.EBUSY, "writes are queued: await them first");
    const pauses = new Backoff(RETRY);
    for (let done = 0; done < bytes; ) {
      const written = this.#now(piece, done);
      if (typeof written === "number") {
        done += written;
        continue;
      }
      if (written === "no-reader" && !(this.#waits && done === 0)) {
        throw noReader(this.path, { done, total: bytes });
      }
      const wait = left();
      if (wait === 0) throw this.failed("write", -errno.ETIMEDOUT);
      this.#pause(written, wait, pauses);
    }
  }

  #pause(why: null | "no-reader", wait: number, pauses: Backoff): void {
    if (why !== null) Bun.sleepSync(pauses.next(wait));
    else if (system === "darwin") isReady(this.fd, "write", wait);
    else poll(this.fd, events.POLLOUT, wait);
  }

  /** @internal */
  protected override reference(on: boolean): void {
    super.reference(on);
    this.#queue.reference(on);
  }

  /** @internal */
  protected override beforeClose(): void {
    this.#queue.fail();
    this.#file?.close();
  }

  /** Close once the queued writes are out: waits for the reader that they wait for. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#queue.drained();
    this.close();
  }
}

// Writes that wait: for room, on Bun's event loop; for a reader, by asking again, because the
// kernel does not tell a writing end when a reader comes: fs/pipe.c wakes only who opens (facts:
// #fifo-writer-is-not-told).

import { errno } from "../../native/errno.ts";
import { Backoff } from "../base/backoff.ts";
import { closedError, UnixError } from "../base/errors.ts";
import { clearTimeout, setTimeout } from "../base/timers.ts";
import { inOrder } from "../loop/gate.ts";
import type { Waiter, Watch } from "../loop/poller.ts";
import type { Piece } from "../syscalls/piece.ts";

/** Pause between looks for a reader: there is nothing to wait on. */
export const RETRY = { first: 1, max: 64 } as const;

/** One try to write. null: no room now. */
export type Written = number | null | "no-reader";

/** What the queue needs of the writer that it belongs to. */
export interface Sink {
  readonly path: string;
  /** Whether no reader is something to wait for. */
  readonly waitsForReader: boolean;
  /** The writing end's, asked for only after a try has said that there is no room. */
  readonly watch: () => Watch;
  /** What follows the first `done` bytes. */
  write(data: Piece, done: number): Written;
}

interface Job {
  readonly data: Piece;
  done: number;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
  /** Stop listening to its signal. */
  readonly forget: () => void;
}

/** No reader, if that is not waited for, or in the middle of something. */
export function noReader(
  path: string,
  { done, total }: { done: number; total: number },
): UnixError {
  if (done === 0) {
    return new UnixError("write", -errno.ENXIO, { address: path, hint: "no process reads it" });
  }
  const hint = `the reader left after ${done} of ${total} bytes had been taken`;
  return new UnixError("write", -errno.EPIPE, { address: path, hint });
}

export class WriteQueue {
  readonly #sink: Sink;
  readonly #jobs: Job[] = [];
  readonly #pauses = new Backoff(RETRY);
  #timer: ReturnType<typeof setTimeout> | null = null;
  #roomWaiter: Waiter | null = null;
  #bytes = 0;
  #referenced = true;
  readonly #onDrained: (() => void)[] = [];

  constructor(sink: Sink) {
    this.#sink = sink;
  }

  get idle(): boolean {
    return this.#jobs.length === 0;
  }

  /** Resolves when nothing waits any more, whether written or cancelled. */
  drained(): Promise<void> {
    if (this.idle) return Promise.resolve();
    return new Promise((resolve) => this.#onDrained.push(resolve));
  }

  /** Bytes that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  add(data: Piece, done: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => this.#abort(job, signal?.reason);
      const forget = (): void => signal?.removeEventListener("abort", onAbort);
      const job: Job = { data, done, resolve, reject, forget };
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#bytes += data.bytes - done;
      if (this.#jobs.push(job) === 1) this.#advance();
    });
  }

  /** Write what can be written, and wait for what the rest needs. */
  #advance(): void {
    for (let job = this.#jobs[0]; job !== undefined; job = this.#jobs[0]) {
      try {
        const needs = this.#try(job);
        if (needs === "room") this.#awaitRoom();
        if (needs === "reader") this.#awaitReader();
        if (needs !== null) return;
      } catch (error) {
        inOrder(this.#end(job).reject, error);
      }
    }
  }

  /** One try at `job`; what it takes to go on. */
  #try(job: Job): "room" | "reader" | null {
    const written = this.#sink.write(job.data, job.done);
    if (written === null) return "room";
    if (written === "no-reader") {
      // the rest of what one reader has begun to read is not for the next
      if (this.#sink.waitsForReader && job.done === 0) return "reader";
      throw noReader(this.#sink.path, { done: job.done, total: job.data.bytes });
    }
    this.#pauses.reset();
    this.#bytes -= written;
    job.done += written;
    if (job.done === job.data.bytes) inOrder(this.#end(job).resolve, undefined);
    return null;
  }

  #awaitRoom(): void {
    const waiter: Waiter = {
      next: null,
      run: () => {
        this.#roomWaiter = null;
        this.#advance();
        return "finished";
      },
      stop: (reason) => this.fail(reason),
    };
    this.#sink.watch().wait("write", waiter);
    this.#roomWaiter = waiter;
  }

  #awaitReader(): void {
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#advance();
    }, this.#pauses.next());
    if (!this.#referenced) this.#timer.unref();
  }

  reference(on: boolean): void {
    this.#referenced = on;
    if (on) this.#timer?.ref();
    else this.#timer?.unref();
  }

  /** A write that is partly out goes on, although its caller has been told. */
  #abort(job: Job, reason: unknown): void {
    inOrder(job.reject, reason);
    if (job.done > 0) return;
    const first = this.#jobs[0] === job;
    this.#end(job);
    if (!first) return;
    this.#rest();
    this.#advance();
  }

  #end(job: Job): Job {
    job.forget();
    this.#jobs.splice(this.#jobs.indexOf(job), 1);
    this.#bytes -= job.data.bytes - job.done;
    if (this.idle) for (const tell of this.#onDrained.splice(0)) inOrder(tell, undefined);
    return job;
  }

  /** Wait for nothing. */
  #rest(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const waiter = this.#roomWaiter;
    this.#roomWaiter = null;
    if (waiter !== null) this.#sink.watch().cancel("write", waiter);
    this.#pauses.reset();
  }

  /** Drop all that waits. */
  fail(reason: unknown = closedError("write")): void {
    this.#roomWaiter = null; // the caller has ended the watch, or is about to
    this.#rest();
    for (const job of [...this.#jobs]) inOrder(this.#end(job).reject, reason);
  }
}

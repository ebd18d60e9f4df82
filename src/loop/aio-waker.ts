// The waker without a thread: one AIO poll request watches the epoll descriptor and counts in an
// eventfd, which Bun itself reads as a stream (facts: #aio-poll-wakes-bun).

import { eventfd as flags } from "../../native/poll.ts";
import { errnoName } from "../base/errors.ts";
import { whyFailed } from "../syscalls/asked-calls.ts";
import { AioPoll, eventfd } from "../syscalls/epoll.ts";
import { close, duplicate } from "../syscalls/fd.ts";
import { atThreadEnd } from "../syscalls/thread-teardown.ts";
import type { Waker } from "./waker.ts";

interface Reader {
  read(): Promise<{ readonly done: boolean }>;
  cancel(): Promise<void>;
}

export class AioWaker implements Waker {
  readonly kind = "aio";
  readonly #request: AioPoll;
  readonly #counter: number;
  readonly #onWake: () => void;
  /** Keeps what frees the context and the eventfd when the thread goes. */
  readonly atEnd: readonly unknown[];
  #reader: Reader | null = null;
  #reading = false;

  private constructor(request: AioPoll, counter: number, onWake: () => void) {
    this.#request = request;
    this.#counter = counter;
    this.#onWake = onWake;
    this.atEnd = [request.destroyWithThread(), atThreadEnd("close", counter)];
  }

  /** The waker, or the reason why there is none here. */
  static create(epfd: number, onWake: () => void): AioWaker | string {
    const counter = counterAboveStdio();
    if (counter < 0) return `eventfd: ${errnoName(-counter)}`;
    const request = AioPoll.create({ watched: epfd, counter });
    if (typeof request !== "number") return new AioWaker(request, counter, onWake);
    close(counter);
    return whyFailed("io_setup", request) ?? `io_setup: ${errnoName(-request)}`;
  }

  arm(): void {
    const taken = this.#request.submit();
    if (taken < 0) throw new Error(`io_submit: ${errnoName(-taken)}`);
    if (!this.#reading) this.#read();
  }

  #read(): void {
    this.#reading = true;
    const reader = (this.#reader ??= Bun.file(this.#counter).stream().getReader());
    reader.read().then(
      ({ done }) => this.#woken(reader, done),
      () => this.#woken(reader, true),
    );
  }

  #woken(reader: Reader, ended: boolean): void {
    if (reader !== this.#reader) return; // released while its read was under way
    this.#reading = false;
    if (ended) this.#reader = null;
    this.#onWake();
  }

  /**
   * Bun reads ahead, and that keeps the process alive; cancelling leaves the eventfd open
   * (facts: #pending-read-keeps-alive, #cancel-leaves-the-eventfd).
   */
  release(): void {
    const reader = this.#reader;
    if (reader === null) return;
    this.#reader = null;
    this.#reading = false;
    reader.cancel().catch(() => {});
  }
}

/**
 * An eventfd that is none of 0–2, which mean the standard streams to Bun
 * (facts: #low-numbers-mean-stdio).
 */
function counterAboveStdio(): number {
  const fd = eventfd(flags.EFD_NONBLOCK ?? 0);
  if (fd < 0 || fd > 2) return fd;
  const moved = duplicate(fd);
  close(fd);
  return moved;
}

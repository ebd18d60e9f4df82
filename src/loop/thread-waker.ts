// The waker with a thread, for when the kernel has no AIO poll, as under qemu-user, gVisor or
// seccomp (facts: #aio-may-be-missing) and on macOS: one Worker per JS thread sleeps in poll(2) on
// the selector's descriptor.
//
// The thread's module is imported as text: so it is inside whatever `bun build` makes. As a file it
// would be an asset beside the bundle, which then needs an output directory and a path at run time.

import type { Worker } from "node:worker_threads";
import { eventfd as flags, poll } from "../../native/poll.ts";
import { check } from "../base/errors.ts";
import { eventfd, signalEventfd } from "../syscalls/epoll.ts";
import { type FdPair, pipe, writeZero } from "../syscalls/fd.ts";
import { libcName } from "../syscalls/libc.ts";
import type { Asked } from "../syscalls/select.ts";
import { atThreadEnd } from "../syscalls/thread-teardown.ts";
import type { Selector } from "./selector.ts";
import type { Waker } from "./waker.ts";
import threadSource from "./waker-thread.ts" with { type: "text" };

/** Descriptors beside the selector's, in 32-bit words: their count, then each and its events. */
const FIRST_WORDS = 1024;
const WORDS_EACH = 2;
const MAX_WORDS = 1 << 20;
const NONE: readonly Asked[] = [];

const isSame = (some: readonly Asked[], others: readonly Asked[]): boolean =>
  some.length === others.length &&
  some.every(({ fd, read, write }, i) => {
    const other = others[i]!;
    return fd === other.fd && read === other.read && write === other.write;
  });

/** What the thread reads requests from, and what they are written to: the same, an eventfd. */
function openCommand(): FdPair {
  if (flags.EFD_NONBLOCK === null) {
    const made = pipe(true);
    return typeof made === "number" ? [check(made, "pipe"), -1] : made;
  }
  const made = check(eventfd(flags.EFD_NONBLOCK), "eventfd");
  return [made, made];
}

export class ThreadWaker implements Waker {
  readonly kind = "thread";
  readonly #selector: Selector;
  /** Null if the selector never has anything beside it. */
  readonly #beside: Int32Array | null;
  readonly #shared: SharedArrayBuffer | null;
  #words = FIRST_WORDS;
  /** What the thread was told of. */
  #told: readonly Asked[] = [];
  readonly #command: FdPair;
  readonly #onWake: () => void;
  readonly atEnd: readonly unknown[];
  #worker: Worker | null = null;
  #armed = false;
  #keepsAlive = true;

  constructor(selector: Selector, onWake: () => void) {
    this.#selector = selector;
    const room = { maxByteLength: MAX_WORDS * 4 };
    this.#shared = selector.beside && new SharedArrayBuffer(FIRST_WORDS * 4, room);
    this.#beside = this.#shared && new Int32Array(this.#shared);
    this.#onWake = onWake;
    this.#command = openCommand();
    this.atEnd = [...new Set(this.#command)].map((fd) => atThreadEnd("close", fd));
  }

  arm(keepAlive: boolean): void {
    const worker = (this.#worker ??= this.#start());
    if (keepAlive !== this.#keepsAlive) {
      this.#keepsAlive = keepAlive;
      if (keepAlive) worker.ref();
      else worker.unref();
    }
    const asked = this.#selector.beside?.asked() ?? NONE;
    if (this.#armed && isSame(asked, this.#told)) return;
    if (this.#beside !== null) {
      const known = asked.slice(0, this.#grown(asked.length));
      const words = known.flatMap(({ fd, read, write }) => [
        fd,
        (read ? poll.POLLIN : 0) | (write ? poll.POLLOUT : 0),
      ]);
      this.#beside.set([known.length, ...words]);
      this.#told = asked;
    }
    this.#armed = true;
    const [reader, writer] = this.#command;
    if (reader === writer) check(signalEventfd(writer, 1), "write");
    else check(writeZero(writer), "write");
  }

  /** Room for `count` numbers, or for as many as there can be. */
  #grown(count: number): number {
    const words = Math.min(WORDS_EACH * count + 1, MAX_WORDS);
    if (words > this.#words) {
      this.#words = Math.min(2 * words, MAX_WORDS);
      this.#shared?.grow(this.#words * 4);
    }
    return Math.floor((words - 1) / WORDS_EACH);
  }

  #start(): Worker {
    const workerData = {
      libc: libcName,
      selector: this.#selector.fd,
      command: this.#command[0],
      beside: this.#beside,
    };
    const { Worker: Thread } = process.getBuiltinModule("node:worker_threads");
    const worker = new Thread(threadSource, { eval: true, workerData });
    worker.on("message", () => {
      this.#armed = false;
      this.#onWake();
    });
    return worker;
  }

  release(): void {
    if (!this.#keepsAlive || this.#worker === null) return;
    this.#keepsAlive = false;
    this.#worker.unref();
  }
}

// The waker with a thread, for where the kernel has no AIO poll, as under qemu-user, gVisor or
// seccomp (facts: #aio-may-be-missing): one Worker per JS thread sleeps in poll(2) on the epoll
// descriptor.
//
// The thread's module is imported as text: so it is inside whatever `bun build` makes. As a file it
// would be an asset beside the bundle, which then needs an output directory and a path at run time.

import type { Worker } from "node:worker_threads";
import { eventfd as flags } from "../../native/poll.ts";
import { check } from "../base/errors.ts";
import { eventfd, signalEventfd } from "../syscalls/epoll.ts";
import { libcName } from "../syscalls/libc.ts";
import { atThreadEnd } from "../syscalls/thread-teardown.ts";
import type { Waker } from "./waker.ts";
import threadSource from "./waker-thread.ts" with { type: "text" };

export class ThreadWaker implements Waker {
  readonly kind = "thread";
  readonly #epfd: number;
  readonly #command: number;
  readonly #onWake: () => void;
  readonly atEnd: readonly unknown[];
  #worker: Worker | null = null;
  #armed = false;
  #keepsAlive = true;

  constructor(epfd: number, onWake: () => void) {
    this.#epfd = epfd;
    this.#onWake = onWake;
    this.#command = check(eventfd(flags.EFD_NONBLOCK ?? 0), "eventfd");
    this.atEnd = [atThreadEnd("close", this.#command)];
  }

  arm(keepAlive: boolean): void {
    const worker = (this.#worker ??= this.#start());
    if (keepAlive !== this.#keepsAlive) {
      this.#keepsAlive = keepAlive;
      if (keepAlive) worker.ref();
      else worker.unref();
    }
    if (this.#armed) return;
    this.#armed = true;
    check(signalEventfd(this.#command, 1), "write");
  }

  #start(): Worker {
    const workerData = { libc: libcName, epfd: this.#epfd, command: this.#command };
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

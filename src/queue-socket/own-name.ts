// The name of a listener or a datagram socket, for as long as that lives.

import { type Cleanup, cleanUpAtExit, forgetCleanup } from "../fd/exit-cleanup.ts";
import { kernelName, type ReceiveQueue, unlinkQuietly } from "./receive-queue.ts";

/** Removed with its owner, or with the process. */
export class OwnName implements Cleanup {
  readonly name: string;
  readonly #own: ReceiveQueue;

  constructor(name: string, own: ReceiveQueue) {
    this.name = name;
    this.#own = own;
    cleanUpAtExit(this);
  }

  /** While the lock is held: no other process removes it, and a later owner's is left alone. */
  remove(): void {
    forgetCleanup(this);
    unlinkQuietly(kernelName(this.name), this.#own.handle.fd);
  }
}

// The name of a listener or a datagram socket, for as long as that lives.

import { type Removable, removeAtEnd, removed } from "../fd/exit-cleanup.ts";
import { kernelName, type OwnQueue, unlinkQuietly } from "./receive-queue.ts";

/** Removed with its owner, or with the process. */
export class OwnName implements Removable {
  readonly name: string;
  readonly #own: OwnQueue;

  constructor(name: string, own: OwnQueue) {
    this.name = name;
    this.#own = own;
    removeAtEnd(this);
  }

  /** While the lock is held: nobody else removes it, and a successor's is left alone. */
  remove(): void {
    removed(this);
    unlinkQuietly(kernelName(this.name), this.#own.handle.fd);
  }
}

// The queues that a datagram socket has sent to lately, kept open.

import type { QueueOwner } from "../message-queue/owner.ts";
import type { QueueIdentity } from "../structs/queue-frame.ts";
import { QueueDirection } from "./direction.ts";
import { MIN_MESSAGE_BYTES } from "./receive-queue.ts";
import { connectionRefused, SendQueue, wrongKind } from "./send-queue.ts";

/** This many stay open, and all to which something waits. */
const MAX_TARGETS = 64;

export interface SendTarget {
  readonly peer: SendQueue;
  readonly side: QueueDirection;
  /** For people to read. */
  readonly address: string;
}

const keyOf = (to: string | QueueIdentity): string =>
  typeof to === "string" ? to : `${to.pid}:${to.fd}:${to.inode}:${to.tagLow}:${to.tagHigh}`;

export class QueueTargets {
  readonly #device: number;
  readonly #owner: QueueOwner;
  /** The one that was used last is last. */
  readonly #targets = new Map<string, SendTarget>();
  #referenced = true;

  constructor(device: number, owner: QueueOwner) {
    this.#device = device;
    this.#owner = owner;
  }

  /**
   * Where to send: a process reads from it at this moment, or something waits for it already.
   * @throws UnixError ENOENT, ECONNREFUSED, EACCES, EMFILE
   */
  find(to: string | QueueIdentity): SendTarget {
    const key = keyOf(to);
    const known = this.#targets.get(key);
    if (known !== undefined) {
      this.#targets.delete(key);
      if (!known.side.idle || known.peer.holder.alive()) {
        this.#targets.set(key, known);
        return known;
      }
      known.peer.close(); // a successor may have the name
    }
    this.#makeRoom();
    const target = this.#reach(to);
    this.#targets.set(key, target);
    return target;
  }

  #reach(to: string | QueueIdentity): SendTarget {
    const named = typeof to === "string";
    const owner = this.#owner;
    const where = { device: this.#device, fresh: false, owner };
    const peer = named ? SendQueue.named(to, owner) : SendQueue.of(to, where);
    const address = named ? to : `process ${to.pid}`;
    if (!peer.holder.alive()) {
      peer.close();
      throw connectionRefused("no process reads from it; a crash leaves a name behind", {
        address,
      });
    }
    if (peer.messageBytes < MIN_MESSAGE_BYTES) {
      peer.close();
      throw wrongKind(address, "listener");
    }
    const side = new QueueDirection(peer.handle, "write", peer.holder);
    side.referenced = this.#referenced;
    peer.holder.referenced = this.#referenced;
    return { peer, side, address };
  }

  #makeRoom(): void {
    for (const [key, { peer, side }] of this.#targets) {
      if (this.#targets.size < MAX_TARGETS) return;
      if (!side.idle) continue;
      peer.close();
      this.#targets.delete(key);
    }
  }

  set referenced(on: boolean) {
    this.#referenced = on;
    for (const { peer, side } of this.#targets.values()) {
      side.referenced = on;
      peer.holder.referenced = on;
    }
  }

  close(): void {
    for (const { peer } of this.#targets.values()) peer.close();
    this.#targets.clear();
  }
}

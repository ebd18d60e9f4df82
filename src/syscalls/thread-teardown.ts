// What happens when a JS thread is torn down from outside: Worker.terminate() runs no JavaScript.

import { toArrayBuffer } from "bun:ffi";
import { system } from "../../native/platform.ts";
import { treeNode } from "../../native/search.ts";
import { libc, symbol, whyNoCalls } from "./libc.ts";
import { asPointer, managedBuffer } from "./memory.ts";

/** Why nothing of a terminated Worker is closed here; null: it is. */
export function whyNoTeardown(): string | null {
  if (system !== "linux") return "only Linux has it";
  if (process.env["BUNIX_NO_TEARDOWN"] === "1") return "BUNIX_NO_TEARDOWN=1";
  const why = whyNoCalls();
  if (why !== null) return why;
  return symbol("tdestroy") === 0 ? "this libc has no tdestroy" : null;
}

/**
 * Have libc's `name(first, second)` called when this JS thread's heap is torn down, which
 * Worker.terminate() does without running a line of JavaScript: an ArrayBuffer's deallocator is
 * called with its address and its context, and neither has to be what it says (facts:
 * #deallocator-is-any-function). Hold on to the result; the call is made when it is collected. If
 * that is switched off it is nothing, and no call is made.
 */
export function atThreadEnd(name: string, first: number, second = 1): unknown {
  if (whyNoTeardown() !== null) return null;
  return managedBuffer(first, 1, { context: second, deallocator: symbol(name) });
}

/** In words of 32 bits. */
const KEY = treeNode.key / 4;
const RIGHT = treeNode.right / 4;
const NODES = 64;
const EMPTY = -1; // close(−1) does nothing

/**
 * Descriptors that are to be closed when this JS thread is torn down from outside, which runs no
 * JavaScript: libc's tdestroy(root, close) calls close for the key of every node of a tree. The
 * nodes are ours: a slot each, which can be filled and emptied meanwhile.
 */
export class EndSlots {
  readonly #free: Int32Array[] = [];
  readonly #used = new Map<number, Int32Array>();
  /** Holds what calls tdestroy. */
  readonly atEnd: unknown[] = [];

  add(fd: number): void {
    if (this.#used.has(fd)) return;
    if (this.#free.length === 0) this.#grow();
    const slot = this.#free.pop()!;
    slot[KEY] = fd;
    slot[KEY + 1] = 0;
    this.#used.set(fd, slot);
  }

  remove(fd: number): void {
    const slot = this.#used.get(fd);
    if (slot === undefined) return;
    slot.fill(EMPTY, KEY, KEY + 2);
    this.#used.delete(fd);
    this.#free.push(slot);
  }

  /** One more tree, each node the right child of the one before. */
  #grow(): void {
    let next = 0;
    for (let i = 0; i < NODES; i++) {
      const address = libc.malloc(treeNode.bytes);
      const node = new Int32Array(toArrayBuffer(asPointer(address), 0, treeNode.bytes));
      node.fill(0).fill(EMPTY, KEY, KEY + 2);
      node[RIGHT] = next;
      node[RIGHT + 1] = next / 2 ** 32;
      this.#free.push(node);
      next = address;
    }
    this.atEnd.push(atThreadEnd("tdestroy", next, symbol("close")));
  }
}

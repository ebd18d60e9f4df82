// kqueue(2), macOS's. A filter for each direction. Nothing here was run on a Mac.

import { fstatSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { check } from "../base/errors.ts";
import { descriptorFlags } from "../syscalls/fd.ts";
import { KqueueEvents, keventChange, kq, kqueueCreate } from "../syscalls/kqueue.ts";
import { type Asked, select } from "../syscalls/select.ts";
import { BATCH, eventFlag, type Selected, type Selector, type SelectSet } from "./selector.ts";

/** EV_CLEAR: told once, and again when something happens. */
const ASK = kq.add | kq.clear;

/** Of what is beside the kqueue: who is ready, and for what. */
interface Found {
  readonly fd: number;
  readonly tag: number;
  readonly events: number;
}

/**
 * FIFOs and pipes. A kqueue says nothing when the last writer of a FIFO has gone, or the last
 * reader if there is no room; select(2) does (facts: #kqueue-and-fifos). select is level-triggered,
 * so it is asked only about descriptors that have a waiter.
 */
class Fifos implements SelectSet {
  readonly #all = new Map<number, Selected>();
  /** Of the last look. */
  found: readonly Found[] = [];

  add(watch: Selected): void {
    this.#all.set(watch.fd, watch);
  }

  remove(watch: Selected): void {
    if (this.#all.get(watch.fd) === watch) this.#all.delete(watch.fd);
  }

  asked(): Asked[] {
    const all: Asked[] = [];
    for (const watch of this.#all.values()) {
      const [read, write] = [watch.hasWaiters("read"), watch.hasWaiters("write")];
      if (read || write) all.push({ fd: watch.fd, read, write });
    }
    return all;
  }

  look(): number {
    const asked = this.asked();
    const ready = asked.length === 0 ? [] : select(asked, 0);
    const events = ({ read, write }: Asked): number =>
      (read ? eventFlag.in : 0) | (write ? eventFlag.out : 0);
    this.found =
      typeof ready === "number"
        ? this.#closed(asked)
        : ready.map((one) => ({ ...this.#named(one.fd), events: events(one) }));
    return this.found.length;
  }

  /** Numbers that were closed behind our back: select refuses all for one of them. */
  #closed(asked: readonly Asked[]): Found[] {
    return asked
      .filter(({ fd }) => descriptorFlags(fd) < 0)
      .map(({ fd }) => ({ ...this.#named(fd), events: eventFlag.gone }));
  }

  #named(fd: number): { fd: number; tag: number } {
    return { fd, tag: this.#all.get(fd)!.tag };
  }
}

export class KqueueSelector implements Selector {
  readonly fd: number;
  readonly beside = new Fifos();
  readonly #events = new KqueueEvents(BATCH);
  /** Of the last take: events of the kqueue itself; those behind them are FIFOs'. */
  #count = 0;

  /** @throws UnixError EMFILE */
  constructor() {
    this.fd = check(kqueueCreate(), "kqueue");
  }

  change(watch: Selected, events: number): number {
    if (isFifo(watch.fd)) {
      this.beside.add(watch);
      watch.registered = events;
      return 0;
    }
    this.beside.remove(watch);
    const reading = this.#filter(watch, kq.read, ASK);
    if (reading < 0) return reading;
    const out = (events & eventFlag.out) !== 0;
    const writing = out ? this.#filter(watch, kq.write, ASK) : this.#leaveWriting(watch);
    // the reader has gone: the next write says so
    if (writing < 0 && writing !== -errno.EPIPE) return writing;
    watch.registered = events;
    return 0;
  }

  #filter({ fd, tag }: Selected, filter: number, flags: number): number {
    return keventChange(this.fd, { ident: fd, filter, flags, tag });
  }

  #leaveWriting(watch: Selected): number {
    if ((watch.registered & eventFlag.out) !== 0) this.#filter(watch, kq.write, kq.delete);
    return 0;
  }

  remove(watch: Selected): void {
    this.beside.remove(watch);
    if (watch.registered === 0) return;
    // ENOENT or EBADF: the number was closed behind our back, and the kernel has let go of it
    this.#filter(watch, kq.read, kq.delete);
    this.#leaveWriting(watch);
    watch.registered = 0;
  }

  take(): number {
    return this.takeWithin(0);
  }

  takeWithin(nanoseconds: number): number {
    this.#count = Math.max(0, this.#events.wait(this.fd, nanoseconds));
    return this.#count + this.beside.look();
  }

  fdOf(index: number): number {
    if (index < this.#count) return this.#events.ident(index);
    return this.beside.found[index - this.#count]!.fd;
  }

  tagOf(index: number): number {
    if (index < this.#count) return this.#events.tag(index);
    return this.beside.found[index - this.#count]!.tag;
  }

  eventsOf(index: number): number {
    if (index >= this.#count) return this.beside.found[index - this.#count]!.events;
    const flags = this.#events.flags(index);
    if ((flags & kq.error) !== 0) return eventFlag.gone;
    const end = (flags & kq.end) !== 0;
    if (this.#events.filter(index) === kq.write) {
      return end ? eventFlag.out | eventFlag.gone : eventFlag.out;
    }
    // with data pending, too: what is there is read first, and then the end
    return end ? eventFlag.in | eventFlag.readHangUp : eventFlag.in;
  }
}

/** Pipes are FIFOs, too; and so is a kqueue, to XNU's fstat. */
function isFifo(fd: number): boolean {
  try {
    return fstatSync(fd).isFIFO();
  } catch {
    return false; // not open: the change says so
  }
}

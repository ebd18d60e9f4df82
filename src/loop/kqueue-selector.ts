// kqueue(2), macOS's. A filter for each direction. Nothing here was run on a Mac.

import { fstatSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { check } from "../base/errors.ts";
import { pollNow } from "../syscalls/fd.ts";
import { KqueueEvents, keventChange, kq, kqueueCreate } from "../syscalls/kqueue.ts";
import { BATCH, type Beside, eventFlag, type Selected, type Selector } from "./selector.ts";

/** EV_CLEAR: told once, and again when something happens. */
const ASK = kq.add | kq.clear;

/**
 * FIFOs by number, each with its tag: a kqueue says nothing when the last writer has gone, poll(2)
 * FIFOs by number, each with its tag: a kqueue says nothing when the last writer has gone, poll(2)
 * does (facts: #kqueue-and-fifos). It goes on saying so until another writer comes: who has been
 * told is not asked about any more, until a read finds something.
 * more, until a read finds something.
 */
class HangUps implements Beside {
  readonly fds = new Map<number, number>();
  version = 0;
  readonly #fifos = new Map<number, number>();
  /** Told by the last look. */
  readonly found: { readonly fd: number; readonly tag: number }[] = [];

  add(fd: number, tag: number): void {
    this.#fifos.set(fd, tag);
    this.fds.set(fd, tag);
    this.version += 1;
  }

  remove(fd: number): void {
    if (!this.#fifos.delete(fd)) return;
    this.fds.delete(fd);
    this.version += 1;
  }

  /** Something is to be read: its end is news again. */
  revive(fd: number): void {
    const tag = this.#fifos.get(fd);
    if (tag !== undefined && !this.fds.has(fd)) this.add(fd, tag);
  }

  look(): number {
    const { found } = this;
    if (found.length > 0) found.length = 0;
    for (const [fd, tag] of this.fds) {
      if (pollNow(fd, 0) === 0) continue;
      found.push({ fd, tag });
      this.fds.delete(fd);
      this.version += 1;
    }
    return found.length;
  }
}

export class KqueueSelector implements Selector {
  readonly fd: number;
  readonly beside = new HangUps();
  readonly #events = new KqueueEvents(BATCH);
  /** Of the last take: events of the kqueue itself; those behind them are hang-ups. */
  #count = 0;

  /** @throws UnixError EMFILE */
  constructor() {
    this.fd = check(kqueueCreate(), "kqueue");
  }

  change(watch: Selected, events: number): number {
    const fifo = isFifo(watch.fd);
    const reading = this.#filter(watch, kq.read, ASK);
    // the end of a pipe that cannot be read
    if (reading < 0 && !(fifo && reading !== -errno.EBADF)) return reading;
    const out = (events & eventFlag.out) !== 0;
    const writing = out ? this.#filter(watch, kq.write, ASK) : this.#leaveWriting(watch);
    // the reader has gone: the next write says so
    if (writing < 0 && writing !== -errno.EPIPE) return writing;
    if (fifo) this.beside.add(watch.fd, watch.tag);
    else this.beside.remove(watch.fd);
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
    this.beside.remove(watch.fd);
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
    const hangUps = this.beside.look();
    for (let i = 0; i < this.#count; i++) this.beside.revive(this.#events.ident(i));
    return this.#count + hangUps;
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
    if (index >= this.#count) return eventFlag.gone;
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

/** Pipes are FIFOs, too, and are told of here and there. */
function isFifo(fd: number): boolean {
  try {
    return fstatSync(fd).isFIFO();
  } catch {
    return false; // not open: the change says so
  }
}

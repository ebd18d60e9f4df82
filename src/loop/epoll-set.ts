// One epoll instance and what is registered in it. Every registration is edge-triggered: what
// stays true with nobody to act on it (a listener at EMFILE, a FIFO without writers) wakes us once
// and not again (facts: #accept-at-emfile-stays-readable, #readable-for-ever).

import { errno } from "../../native/errno.ts";
import { epoll } from "../../native/poll.ts";
import { check, UnsupportedError } from "../base/errors.ts";
import { EpollEvents, epollCreate, epollCtl } from "../syscalls/epoll.ts";

/** The kernel's words for what happened. */
export const eventFlag = {
  in: epoll.EPOLLIN ?? 0,
  out: epoll.EPOLLOUT ?? 0,
  readHangUp: epoll.EPOLLRDHUP ?? 0,
  urgent: epoll.EPOLLPRI ?? 0,
  gone: (epoll.EPOLLERR ?? 0) | (epoll.EPOLLHUP ?? 0),
  edge: epoll.EPOLLET ?? 0,
} as const;

/** What is asked for as long as anybody waits. */
const READING = eventFlag.edge | eventFlag.in | eventFlag.readHangUp | eventFlag.urgent;

/** Events taken from the kernel at once. */
const BATCH = 256;

/** A descriptor in the set. */
interface Registered {
  readonly fd: number;
  /** Somebody closes it here before the number is closed. */
  owned: boolean;
  /** Events that epoll was asked for. */
  registered: number;
  /** Tells its events from those of an earlier file with its number. */
  readonly tag: number;
  /** The kernel said `events`: what came of it. */
  notify(events: number): Served;
}

/**
 * Who got what it waited for, of those that were asked: nobody, or last a promise, whose owner runs
 * in a microtask of its own, or last a callback, which has run by now.
 */
export type Served = "nobody" | "promise" | "callback";

export class EpollSet<W extends Registered> {
  readonly epfd: number;
  readonly #events = new EpollEvents(BATCH);
  /** By descriptor: small numbers, used anew. */
  readonly #watches: (W | undefined)[] = [];
  #tag = 0;

  /** @throws UnsupportedError; UnixError EMFILE */
  constructor() {
    if (epoll.EPOLL_CTL_ADD === null) {
      throw new UnsupportedError("waiting", "the event loop needs epoll, which is Linux's");
    }
    this.epfd = check(epollCreate(), "epoll_create1");
  }

  find(fd: number): W | undefined {
    return this.#watches[fd];
  }

  /** Know `watch` by its number: its tag. */
  add(watch: W): number {
    this.#watches[watch.fd] = watch;
    return ++this.#tag;
  }

  register(watch: W, direction: "read" | "write"): void {
    const asked = READING | (direction === "write" ? eventFlag.out : 0);
    const events = asked | watch.registered;
    // a borrowed number may have been closed and given to another file since: ask again each time
    if (events !== watch.registered || !watch.owned) this.#control(watch, events);
  }

  /** Ask for the same events again, of the file that has the number now. */
  renew(watch: W): void {
    this.#control(watch, watch.registered);
  }

  /** Nobody waits for room any more: each read by the peer would wake us for nothing. */
  registerReadOnly(watch: W): void {
    this.#try(watch, watch.registered & ~eventFlag.out); // nobody is there to be told of a failure
  }

  #control(watch: W, events: number): void {
    check(this.#try(watch, events), "epoll_ctl");
  }

  #try(watch: W, events: number): number {
    const change = { fd: watch.fd, events, tag: watch.tag };
    let done = -errno.ENOENT;
    if (watch.registered !== 0) done = epollCtl(this.epfd, epoll.EPOLL_CTL_MOD ?? 0, change);
    if (done === -errno.ENOENT) done = epollCtl(this.epfd, epoll.EPOLL_CTL_ADD ?? 0, change);
    if (done >= 0) watch.registered = events;
    return done;
  }

  remove(watch: W): void {
    if (this.#watches[watch.fd] === watch) this.#watches[watch.fd] = undefined;
    // ENOENT or EBADF: the number was closed behind our back, and the kernel has let go of it
    if (watch.registered !== 0) epollCtl(this.epfd, epoll.EPOLL_CTL_DEL ?? 0, { fd: watch.fd });
    watch.registered = 0;
  }

  take(): number {
    return this.#events.wait(this.epfd);
  }

  takeWithin(nanoseconds: number): number {
    return this.#events.waitFor(this.epfd, nanoseconds);
  }

  /** The watch that event `index` is about; null: it is closed, or another file's by now. */
  watchOf(index: number): W | null {
    const watch = this.#watches[this.#events.fd(index)];
    return watch?.tag === this.#events.tag(index) ? watch : null;
  }

  serve(watch: W, index: number): Served {
    return watch.notify(this.#events.events(index));
  }
}

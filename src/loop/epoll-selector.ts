// epoll(7), Linux's.

import { errno } from "../../native/errno.ts";
import { epoll } from "../../native/poll.ts";
import { check } from "../base/errors.ts";
import { EpollEvents, epollCreate, epollCtl } from "../syscalls/epoll.ts";
import { BATCH, type Selected, type Selector } from "./selector.ts";

const EDGE = epoll.EPOLLET ?? 0;

export class EpollSelector implements Selector {
  readonly fd: number;
  readonly beside = null;
  readonly #events = new EpollEvents(BATCH);

  /** @throws UnixError EMFILE */
  constructor() {
    this.fd = check(epollCreate(), "epoll_create1");
  }

  change(watch: Selected, events: number): number {
    const change = { fd: watch.fd, events: events | EDGE, tag: watch.tag };
    let done = -errno.ENOENT;
    if (watch.registered !== 0) done = epollCtl(this.fd, epoll.EPOLL_CTL_MOD ?? 0, change);
    if (done === -errno.ENOENT) done = epollCtl(this.fd, epoll.EPOLL_CTL_ADD ?? 0, change);
    if (done >= 0) watch.registered = events;
    return done;
  }

  remove(watch: Selected): void {
    // ENOENT or EBADF: the number was closed behind our back, and the kernel has let go of it
    if (watch.registered !== 0) epollCtl(this.fd, epoll.EPOLL_CTL_DEL ?? 0, { fd: watch.fd });
    watch.registered = 0;
  }

  take(): number {
    return this.#events.wait(this.fd);
  }

  takeWithin(nanoseconds: number): number {
    return this.#events.waitFor(this.fd, nanoseconds);
  }

  fdOf(index: number): number {
    return this.#events.fd(index);
  }
  tagOf(index: number): number {
    return this.#events.tag(index);
  }
  eventsOf(index: number): number {
    return this.#events.events(index);
  }
}

// What waits, by descriptor, and what the kernel was asked for each of them.

import { check, UnsupportedError } from "../base/errors.ts";
import { hasEpoll } from "../syscalls/epoll.ts";
import { hasKqueue } from "../syscalls/kqueue.ts";
import { EpollSelector } from "./epoll-selector.ts";
import { KqueueSelector } from "./kqueue-selector.ts";
import { eventFlag, READING, type Selected, type Selector } from "./selector.ts";

/** @throws UnsupportedError; UnixError EMFILE */
function openSelector(): Selector {
  if (hasEpoll) return new EpollSelector();
  if (hasKqueue) return new KqueueSelector();
  throw new UnsupportedError("waiting", "the event loop needs epoll or kqueue");
}

/** The call that takes a registration, for errors. */
const waitCall = hasEpoll ? "epoll_ctl" : "kevent";

/** A descriptor in the set. */
interface Registered extends Selected {
  /** Its owner closes the watch before the number is closed. */
  owned: boolean;
  /** The kernel said `events`: what came of it. */
  notify(events: number): Served;
}

/**
 * Which of the waiters finished: none; the last was a promise, whose owner runs in a microtask of
 * its own; or the last was a callback, which has run by now.
 */
export type Served = "none" | "promise" | "callback";

export class WatchSet<W extends Registered> {
  readonly selector: Selector = openSelector();
  /** By descriptor: small numbers, used anew. */
  readonly #watches: (W | undefined)[] = [];
  #tag = 0;

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

  /** No waiter for room is left: each read by the peer would wake us for nothing. */
  registerReadOnly(watch: W): void {
    // no caller is there to be told of a failure
    this.selector.change(watch, watch.registered & ~eventFlag.out);
  }

  #control(watch: W, events: number): void {
    check(this.selector.change(watch, events), waitCall);
  }

  remove(watch: W): void {
    if (this.#watches[watch.fd] === watch) this.#watches[watch.fd] = undefined;
    this.selector.remove(watch);
  }

  take(): number {
    return this.selector.take();
  }

  takeWithin(nanoseconds: number): number {
    return this.selector.takeWithin(nanoseconds);
  }

  /** The watch that event `index` is about; null: it is closed, or another file's by now. */
  watchOf(index: number): W | null {
    const watch = this.#watches[this.selector.fdOf(index)];
    return watch?.tag === this.selector.tagOf(index) ? watch : null;
  }

  serve(watch: W, index: number): Served {
    return watch.notify(this.selector.eventsOf(index));
  }
}

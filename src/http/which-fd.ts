// Which descriptor a stream of Bun's has that was accepted just now. Bun does not say; it is
// guessed cheaply, and then proven: while another socket lies under the number, the stream has that
// one's address (facts: #http-tells-of-each-accept).

import type { Socket } from "node:net";
import { errno } from "../../native/errno.ts";
import { socket as c } from "../../native/socket.ts";
import { check } from "../base/errors.ts";
import { Fd } from "../fd/fd.ts";
import { EpollView, isRegistered } from "../serve/epoll-entry.ts";
import { duplicate, duplicateOnto } from "../syscalls/fd.ts";
import { rawName, socketOf } from "../syscalls/socket.ts";

/** Numbers that are tried before all are looked at. */
const TRIES = 4;
/** Connections that may have ended without having said so. */
const RECENT = 8;

/** What a stream says of itself that it asks the kernel. */
export type Accepted = Pick<Socket, "localFamily" | "localAddress" | "localPort" | "destroyed">;

/** Of the connections that one listener accepts. Owns two descriptors. */
export class WhichFd {
  readonly #epoll: number;
  /** What the listener, and so each connection, is called. */
  readonly #name: Buffer;
  /** A socket of the Internet that is nowhere: it has the address 0.0.0.0, port 0. */
  readonly #nowhere: Fd;
  /** A number of ours: the connection is kept there while it is not under its own. */
  readonly #aside: Fd;
  /** Connections that are open, and those that have ended and have not said so yet. */
  readonly #open = new Map<number, Accepted>();
  readonly #recent: number[] = [];
  /** Numbers that are something else, or were when they were tried. */
  readonly #others = new Set<number>();
  /** The kernel gives out the smallest number that is free: from here on it is looked for. */
  #least = 0;

  /** @throws UnixError EMFILE, …; EAFNOSUPPORT where this process may have no such socket */
  constructor({ epoll, name }: { readonly epoll: number; readonly name: Uint8Array }) {
    this.#epoll = epoll;
    this.#name = Buffer.from(name);
    const [family, or] = [c.AF_INET, c.AF_INET6];
    let made = socketOf(family, c.SOCK_DGRAM);
    if (made === -errno.EAFNOSUPPORT) made = socketOf(or, c.SOCK_DGRAM);
    this.#nowhere = Fd.adopt(check(made, "socket"), "serveHttp");
    try {
      this.#aside = Fd.adopt(check(duplicate(made), "fcntl"), "serveHttp");
    } catch (error) {
      this.#nowhere.close();
      throw error;
    }
  }

  /** What nobody can be accepted from. */
  get nowhere(): number {
    return this.#nowhere.fd;
  }

  /** The number; -1: it is not known. To be called in the moment in which it was accepted. */
  of(stream: Accepted): number {
    const found = this.#guess(stream) ?? this.#search(stream);
    if (found === undefined) return -1;
    hide(stream);
    this.#open.set(found, stream);
    this.#others.delete(found);
    this.#least = found + 1;
    if (this.#recent.push(found) > RECENT) this.#recent.shift();
    return found;
  }

  /** That connection has ended. */
  ended(fd: number, stream: Accepted): void {
    if (this.#open.get(fd) !== stream) return; // the number is another's by now
    this.#open.delete(fd);
    this.#least = Math.min(this.#least, fd);
  }

  #guess(stream: Accepted): number | undefined {
    for (const fd of this.#recent) {
      const open = this.#open.get(fd);
      if (open?.destroyed === true) this.ended(fd, open);
    }
    let left = TRIES;
    for (let fd = this.#least; left > 0; fd++) {
      if (this.#open.has(fd) || this.#others.has(fd)) continue;
      if (this.#is(fd, stream)) return fd;
      this.#others.add(fd);
      left -= 1;
    }
    return undefined;
  }

  /** Among all that Bun watches. */
  #search(stream: Accepted): number | undefined {
    let view: EpollView;
    try {
      view = new EpollView(this.#epoll);
    } catch {
      return undefined; // no descriptor is free
    }
    try {
      view.look();
      this.#others.clear(); // some of them are free by now
      return view.all().find(({ fd }) => this.#is(fd, stream))?.fd;
    } finally {
      view.close();
    }
  }

  #is(fd: number, stream: Accepted): boolean {
    const name = rawName(fd);
    if (typeof name === "number" || Buffer.compare(this.#name, name) !== 0) return false;
    return isRegistered(this.#epoll, fd) && this.#proven(fd, stream);
  }

  /** Only this thread of Bun uses the number: it stands in its epoll. */
  #proven(fd: number, stream: Accepted): boolean {
    const [nowhere, aside] = [this.#nowhere.fd, this.#aside.fd];
    if (duplicateOnto(fd, aside) < 0) return false;
    const there = duplicateOnto(nowhere, fd) === fd && stream.localFamily !== undefined;
    const back = duplicateOnto(aside, fd) === fd;
    duplicateOnto(nowhere, aside); // no second descriptor of the connection stays
    return there && back;
  }

  close(): void {
    this.#nowhere.close();
    this.#aside.close();
  }
}

const nothing = { value: undefined, configurable: true, writable: true };
const names = { localFamily: nothing, localAddress: nothing, localPort: nothing };

/** The stream remembers what it has said; a Unix socket says nothing there. */
const hide = (stream: Accepted): unknown => Object.defineProperties(stream, names);

// Which descriptor a stream of Bun's has that was accepted just now. Bun does not say; it is
// guessed cheaply, and then proven: while another socket lies under the number, the stream has that
// one's address (facts: #http-tells-of-each-accept).

import { errno } from "../../native/errno.ts";
import { socket as c } from "../../native/socket.ts";
import { check } from "../base/errors.ts";
import { Fd } from "../fd/fd.ts";
import { EpollView, isRegistered } from "../serve/epoll-entry.ts";
import { duplicate, duplicateOnto } from "../syscalls/fd.ts";
import { rawName, socketOf } from "../syscalls/socket.ts";
import { type BunHandle, handleOf } from "./bun-handle.ts";
import type { BunStream } from "./shadow.ts";

/** Numbers that are tried before all are looked at. */
const TRIES = 4;
/** Connections that may have ended without having said so. */
const RECENT = 8;

/** Of the connections that one listener accepts. Owns two descriptors. */
export class WhichFd {
  readonly #epoll: number;
  /** What the listener, and so each connection, is called. */
  readonly #name: Buffer;
  /** A socket of the Internet that is nowhere: it has the address 0.0.0.0 or ::, port 0. */
  readonly #nowhere: Fd;
  /** How Bun calls its family. */
  readonly #family: "IPv4" | "IPv6";
  /** A number of ours: the connection is kept there while it is not under its own. */
  readonly #aside: Fd;
  /** Connections that are open, and those that have ended and have not said so yet. */
  readonly #open = new Map<number, BunStream>();
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
    this.#family = made === -errno.EAFNOSUPPORT ? "IPv6" : "IPv4";
    if (this.#family === "IPv6") made = socketOf(or, c.SOCK_DGRAM);
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
  of(stream: BunStream): number {
    const handle = handleOf(stream);
    if (handle === null) return -1;
    const found = this.#guess(handle) ?? this.#search(handle);
    if (found === undefined) return -1;
    hide(handle);
    this.#open.set(found, stream);
    this.#others.delete(found);
    this.#least = found + 1;
    if (this.#recent.push(found) > RECENT) this.#recent.shift();
    return found;
  }

  /** That connection has ended, or will in this moment. */
  ended(fd: number, stream: BunStream): void {
    if (this.#open.get(fd) !== stream) return; // the number is another's by now
    this.#open.delete(fd);
    this.#least = Math.min(this.#least, fd);
  }

  #guess(handle: BunHandle): number | undefined {
    for (const fd of this.#recent) {
      const open = this.#open.get(fd);
      if (open?.destroyed === true) this.ended(fd, open);
    }
    let left = TRIES;
    for (let fd = this.#least; left > 0; fd++) {
      if (this.#open.has(fd) || this.#others.has(fd)) continue;
      if (this.#is(fd, handle)) return fd;
      this.#others.add(fd);
      left -= 1;
    }
    return undefined;
  }

  /** Among all that Bun watches. */
  #search(handle: BunHandle): number | undefined {
    let view: EpollView;
    try {
      view = new EpollView(this.#epoll);
    } catch {
      return undefined; // no descriptor is free
    }
    try {
      view.look();
      this.#others.clear(); // some of them are free by now
      return view.all().find(({ fd }) => this.#is(fd, handle))?.fd;
    } finally {
      view.close();
    }
  }

  #is(fd: number, handle: BunHandle): boolean {
    const name = rawName(fd);
    if (typeof name === "number" || Buffer.compare(this.#name, name) !== 0) return false;
    return isRegistered(this.#epoll, fd) && this.#proven(fd, handle);
  }

  /**
   * Only this thread of Bun uses the number: it stands in its epoll. A Unix socket never says that
   * it is of the Internet; whatever else a stream says proves nothing.
   */
  #proven(fd: number, handle: BunHandle): boolean {
    const [nowhere, aside] = [this.#nowhere.fd, this.#aside.fd];
    if (duplicateOnto(fd, aside) < 0) return false;
    const there = duplicateOnto(nowhere, fd) === fd && this.#saysNowhere(handle);
    const back = duplicateOnto(aside, fd) === fd;
    duplicateOnto(nowhere, aside); // no second descriptor of the connection stays
    return there && back;
  }

  #saysNowhere({ localAddress }: BunHandle): boolean {
    return localAddress?.family === this.#family;
  }

  close(): void {
    this.#nowhere.close();
    this.#aside.close();
  }
}

const nothing = { value: null, configurable: true };

/** It remembers what it has said; of a Unix socket it says nothing. */
const hide = (handle: BunHandle): unknown => Object.defineProperty(handle, "localAddress", nothing);

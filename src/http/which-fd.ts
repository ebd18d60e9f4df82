// The descriptor of a connection that Bun has just accepted. Bun does not say it; it is guessed
// cheaply, and then proven: while another socket is under the number, the stream shows that one's
// address (facts: #http-tells-of-each-accept).

import { errno } from "../../native/errno.ts";
import { socket as c } from "../../native/socket.ts";
import { check } from "../base/errors.ts";
import { Fd } from "../fd/fd.ts";
import { EpollView, isRegistered } from "../serve/epoll-entry.ts";
import { duplicate, duplicateOnto } from "../syscalls/fd.ts";
import { rawName, socketOf } from "../syscalls/socket.ts";
import { type BunHandle, handleOf } from "./bun-handle.ts";
import type { BunStream } from "./delegate-server.ts";

/** Numbers that are tried before all of Bun's are. */
const MAX_TRIES = 4;
/** The last connections, which may have ended and not said so yet. */
const MAX_RECENT = 8;

/** Finds them for one listener's connections. Owns two descriptors. */
export class WhichFd {
  readonly #epoll: number;
  /** The name of the listener, and so of each of its connections. */
  readonly #name: Buffer;
  /** An unbound UDP socket: its address is 0.0.0.0 or ::, port 0. */
  readonly #inet: Fd;
  /** Bun's word for its family. */
  readonly #family: "IPv4" | "IPv6";
  /** A number of ours: holds the connection while the UDP socket is under its number. */
  readonly #saved: Fd;
  /** Connections that are open, and those that have ended and have not said so yet. */
  readonly #open = new Map<number, BunStream>();
  readonly #recent: number[] = [];
  /** Numbers that were something else when they were tried. */
  readonly #ruledOut = new Set<number>();
  /** Where the guess starts: the kernel gives out the smallest free number. */
  #smallest = 0;

  /** @throws UnixError EMFILE, …; EAFNOSUPPORT if this process may have no such socket */
  constructor({ epoll, name }: { readonly epoll: number; readonly name: Uint8Array }) {
    this.#epoll = epoll;
    this.#name = Buffer.from(name);
    const [family, or] = [c.AF_INET, c.AF_INET6];
    let made = socketOf(family, c.SOCK_DGRAM);
    this.#family = made === -errno.EAFNOSUPPORT ? "IPv6" : "IPv4";
    if (this.#family === "IPv6") made = socketOf(or, c.SOCK_DGRAM);
    this.#inet = Fd.adopt(check(made, "socket"), "serveHttp");
    try {
      this.#saved = Fd.adopt(check(duplicate(made), "fcntl"), "serveHttp");
    } catch (error) {
      this.#inet.close();
      throw error;
    }
  }

  /** A socket from which nothing can be accepted. */
  get inetFd(): number {
    return this.#inet.fd;
  }

  /** The number; -1: it was not found. Call it as soon as Bun has accepted. */
  of(stream: BunStream): number {
    const handle = handleOf(stream);
    if (handle === null) return -1;
    const found = this.#guess(handle) ?? this.#search(handle);
    if (found === undefined) return -1;
    hideAddress(handle);
    this.#open.set(found, stream);
    this.#ruledOut.delete(found);
    this.#smallest = found + 1;
    if (this.#recent.push(found) > MAX_RECENT) this.#recent.shift();
    return found;
  }

  /** That connection has ended, or is about to. */
  ended(fd: number, stream: BunStream): void {
    if (this.#open.get(fd) !== stream) return; // the number is another connection's by now
    this.#open.delete(fd);
    this.#smallest = Math.min(this.#smallest, fd);
  }

  #guess(handle: BunHandle): number | undefined {
    for (const fd of this.#recent) {
      const open = this.#open.get(fd);
      if (open?.destroyed === true) this.ended(fd, open);
    }
    let left = MAX_TRIES;
    for (let fd = this.#smallest; left > 0; fd++) {
      if (this.#open.has(fd) || this.#ruledOut.has(fd)) continue;
      if (this.#matches(fd, handle)) return fd;
      this.#ruledOut.add(fd);
      left -= 1;
    }
    return undefined;
  }

  /** Among everything that Bun watches. */
  #search(handle: BunHandle): number | undefined {
    let view: EpollView;
    try {
      view = new EpollView(this.#epoll);
    } catch {
      return undefined; // no descriptor is free
    }
    try {
      view.look();
      this.#ruledOut.clear(); // some of them are free by now
      return view.all().find(({ fd }) => this.#matches(fd, handle))?.fd;
    } finally {
      view.close();
    }
  }

  #matches(fd: number, handle: BunHandle): boolean {
    const name = rawName(fd);
    if (typeof name === "number" || Buffer.compare(this.#name, name) !== 0) return false;
    return isRegistered(this.#epoll, fd) && this.#proven(fd, handle);
  }

  /**
   * Only this thread uses the number, as it is in its epoll. A Unix socket never shows an Internet
   * address; any other answer of a stream proves nothing.
   */
  #proven(fd: number, handle: BunHandle): boolean {
    const [inet, saved] = [this.#inet.fd, this.#saved.fd];
    if (duplicateOnto(fd, saved) < 0) return false;
    const shown = duplicateOnto(inet, fd) === fd && this.#hasInetAddress(handle);
    const back = duplicateOnto(saved, fd) === fd;
    duplicateOnto(inet, saved); // no second descriptor of the connection stays open
    return shown && back;
  }

  #hasInetAddress({ localAddress }: BunHandle): boolean {
    return localAddress?.family === this.#family;
  }

  close(): void {
    this.#inet.close();
    this.#saved.close();
  }
}

const noAddress = { value: null, configurable: true };

/** Bun remembers the address; a Unix socket has to show none. */
const hideAddress = (handle: BunHandle): unknown =>
  Object.defineProperty(handle, "localAddress", noAddress);

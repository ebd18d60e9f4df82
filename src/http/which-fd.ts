// The descriptor of a connection that Bun has just accepted. Bun does not say it; it is guessed
// cheaply, and then proven: while another socket is under the number, the stream shows that one's
// address (facts: #http-tells-of-each-accept).

import { socket as c } from "../../native/socket.ts";
import { check } from "../base/errors.ts";
import { Fd } from "../fd/fd.ts";
import { EpollView, isRegistered } from "../serve/epoll-entry.ts";
import { duplicate, duplicateOnto } from "../syscalls/fd.ts";
import { rawName, socketOf } from "../syscalls/socket.ts";
import type { BunHandle } from "./bun-handle.ts";

/** Numbers that are tried before all of Bun's are. */
const MAX_TRIES = 4;
/** The last connections, which may have ended and not said so yet. */
const MAX_RECENT = 8;

/** Which numbers to try first. */
interface Options {
  /** Bun's, which watches the listener. */
  readonly epoll: number;
  /** The name of the listener, and so of each of its connections. */
  readonly name: Uint8Array;
  /** What all of its connections have, as far as is known: asked instead of the name. */
  readonly trait?: (fd: number) => boolean;
}

/** Finds them for one listener's connections. Owns two descriptors. */
export class WhichFd {
  readonly #epoll: number;
  readonly #name: Uint8Array;
  readonly #trait: ((fd: number) => boolean) | null;
  /** An unbound UDP socket: its address is :: or 0.0.0.0, port 0. */
  readonly #inet: Fd;
  /** Bun's word for its family. */
  readonly #family: "IPv4" | "IPv6";
  /** A number of ours: holds the connection while the UDP socket is under its number. */
  readonly #saved: Fd;
  /** Connections by their numbers; closed ones until they have said so. */
  readonly #open = new Map<number, BunHandle>();
  readonly #recent: number[] = [];
  #count = 0;
  /** Numbers that were something else when they were tried. */
  readonly #ruledOut = new Set<number>();
  /** Where the guess starts: the kernel gives out the smallest free number. */
  #smallest = 0;
  /** Whether the one that was found last was seen to have the trait. */
  hasTrait = false;

  /** @throws UnixError EMFILE, …; EAFNOSUPPORT if this process may have no such socket */
  constructor({ epoll, name, trait }: Options) {
    this.#epoll = epoll;
    this.#name = name;
    this.#trait = trait ?? null;
    let made = socketOf(c.AF_INET6, c.SOCK_DGRAM); // of that one Bun writes the address faster
    this.#family = made < 0 ? "IPv4" : "IPv6";
    if (made < 0) made = socketOf(c.AF_INET, c.SOCK_DGRAM);
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
  of(handle: BunHandle): number {
    let found = this.#guess(handle);
    if (found < 0) {
      this.hasTrait = false;
      found = this.#search(handle);
    }
    if (found < 0) return -1;
    hideAddress(handle);
    this.#open.set(found, handle);
    this.#smallest = found + 1;
    this.#recent[this.#count++ % MAX_RECENT] = found;
    return found;
  }

  /** That connection has ended. */
  ended(fd: number, handle: BunHandle): void {
    if (this.#open.get(fd) !== handle) return; // the number is another connection's by now
    if (handle.closed) this.#open.delete(fd);
    this.#smallest = Math.min(this.#smallest, fd);
  }

  #guess(handle: BunHandle): number {
    const found = this.#tryNumbers(handle);
    return found < 0 && this.#lookAtRecent() ? this.#tryNumbers(handle) : found;
  }

  #tryNumbers(handle: BunHandle): number {
    let left = MAX_TRIES;
    for (let fd = this.#smallest; left > 0; fd++) {
      if (this.#open.get(fd)?.closed === false || this.#ruledOut.has(fd)) continue;
      this.hasTrait = this.#trait?.(fd) === true;
      const looksRight = this.hasTrait || (this.#trait === null && this.#isNamed(fd));
      if (looksRight && this.#matches(fd, handle)) return fd;
      this.#ruledOut.add(fd);
      left -= 1;
    }
    return -1;
  }

  /** Whether one of them has ended without saying so: its number is free, or was. */
  #lookAtRecent(): boolean {
    let found = false;
    for (const fd of this.#recent) {
      const handle = this.#open.get(fd);
      if (handle?.closed !== true) continue;
      this.ended(fd, handle);
      this.#ruledOut.delete(fd);
      found = true;
    }
    return found;
  }

  /** Among everything that Bun watches. */
  #search(handle: BunHandle): number {
    let view: EpollView;
    try {
      view = new EpollView(this.#epoll);
    } catch {
      return -1; // no descriptor is free
    }
    try {
      view.look();
      this.#ruledOut.clear(); // some of them are free by now
      for (const { fd } of view.all()) {
        if (this.#isNamed(fd) && this.#matches(fd, handle)) return fd;
      }
      return -1;
    } finally {
      view.close();
    }
  }

  #isNamed(fd: number): boolean {
    const name = rawName(fd);
    return typeof name !== "number" && Buffer.compare(this.#name, name) === 0;
  }

  #matches(fd: number, handle: BunHandle): boolean {
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

/** Bun keeps the address that it has told; a Unix socket has to show none. */
function hideAddress({ localAddress }: BunHandle): void {
  if (localAddress === null) return;
  try {
    localAddress.address = undefined;
    localAddress.family = undefined;
    localAddress.port = undefined;
  } catch {
    // a Bun whose addresses are fixed: tried before, in bun-probe.ts
  }
}

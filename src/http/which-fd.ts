// Which descriptor a stream of Bun's has that was accepted just now. Bun does not say; it is guessed
// cheaply, and then proven: while another socket lies under the number, the stream has that one's
// address (facts: #http-tells-of-each-accept).

import type { Socket } from "node:net";
import { errno } from "../../native/errno.ts";
import { socket as c } from "../../native/socket.ts";
import { check } from "../base/errors.ts";
import { Fd } from "../fd/fd.ts";
import { EpollView, isRegistered } from "../serve/epoll-entry.ts";
import { close, duplicate, duplicateOnto } from "../syscalls/fd.ts";
import { rawName, socketOf } from "../syscalls/socket.ts";

/** Numbers that are tried beside the last one. */
const NEAR = 4;

/** What a stream says of itself that it asks the kernel. */
export type Accepted = Pick<Socket, "localFamily" | "localAddress" | "localPort">;

/** Of the connections that one listener accepts. Owns two descriptors. */
export class WhichFd {
  readonly #epoll: number;
  /** What the listener, and so each connection, is called. */
  readonly #name: Buffer;
  /** A socket of the Internet that is nowhere: it has the address 0.0.0.0, port 0. */
  readonly #nowhere: Fd;
  /** A number of ours: the connection is kept there while it is not under its own. */
  readonly #aside: Fd;
  /** Numbers of connections that have ended; the kernel gives out the smallest that is free. */
  readonly #freed = new Set<number>();
  #last = 0;

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
    this.#freed.delete(found);
    this.#last = found;
    hide(stream);
    return found;
  }

  /** That connection has ended. */
  freed(fd: number): void {
    this.#freed.add(fd);
  }

  #guess(stream: Accepted): number | undefined {
    if (this.#freed.size > 0) {
      const least = Math.min(...[...this.#freed].slice(0, NEAR));
      if (this.#is(least, stream)) return least;
      this.#freed.delete(least);
    }
    for (let fd = this.#last + 1; fd <= this.#last + NEAR; fd++) {
      if (this.#is(fd, stream)) return fd;
    }
    const next = duplicate(this.#nowhere.fd); // the smallest that is free now
    if (next < 0) return undefined;
    close(next);
    for (let fd = next - 1; fd >= Math.max(next - NEAR, 0); fd--) {
      if (this.#is(fd, stream)) return fd;
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

// What Bun's event loop watches: the entries of this process's epolls, as /proc lists them
// (facts: #bun-watches-listeners-in-an-epoll).

import { readdirSync, readFileSync, readlinkSync, readSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { file } from "../../native/file.ts";
import { epoll } from "../../native/poll.ts";
import { option } from "../../native/socket.ts";
import { check, fileCall } from "../base/errors.ts";
import { Fd } from "../fd/fd.ts";
import { decodeEpollInfo, type EpollEntry, firstEpollEntry } from "../structs/epoll-info.ts";
import { decodeInet, isWildcard } from "../structs/sockaddr-in.ts";
import { epollAddAs, epollCtl } from "../syscalls/epoll.ts";
import { duplicateOnto, open } from "../syscalls/fd.ts";
import { kind, lookAt } from "../syscalls/file-kind.ts";
import { getOption, rawName } from "../syscalls/socket.ts";

/** A socket's entry in an epoll: its number, inode, events and data. */
export interface Registration extends EpollEntry {
  readonly epoll: number;
}

/**
 * Everything that the epolls of this process watch, those of its Workers included.
 * @throws UnixError if /proc cannot be read: EMFILE, …
 */
export function registrations(): Registration[] {
  return epolls().flatMap((fd) => watchedBy(fd));
}

function epolls(): number[] {
  const found: number[] = [];
  for (const name of fileCall(() => readdirSync("/proc/self/fd"))) {
    try {
      const link = readlinkSync(`/proc/self/fd/${name}`);
      if (link === "anon_inode:[eventpoll]") found.push(Number(name));
    } catch {
      // closed already: the descriptor that listed them
    }
  }
  return found;
}

function watchedBy(fd: number): Registration[] {
  try {
    const text = readFileSync(`/proc/self/fdinfo/${fd}`, "latin1");
    return decodeEpollInfo(text).map((entry) => ({ ...entry, epoll: fd }));
  } catch {
    return []; // closed in the meantime
  }
}

/** The width of a number as ep_show_fdinfo in fs/eventpoll.c writes it. */
const FD_COLUMNS = 8;
const ROOM = 16_384;

/** What one epoll watches, for repeated reading. Owns a descriptor of its file in /proc. */
export class EpollView {
  readonly #epoll: number;
  readonly #file: Fd;
  #room = Buffer.from(new ArrayBuffer(ROOM));
  #length = 0;

  /** @throws UnixError EMFILE, … */
  constructor(epfd: number) {
    this.#epoll = epfd;
    const opened = check(open(`/proc/self/fdinfo/${epfd}`, file.O_RDONLY), "open");
    this.#file = Fd.adopt(opened, "serveOn");
  }

  /** Read it: `find` and `all` answer from this reading; with nothing if it cannot be read. */
  look(): void {
    try {
      this.#read();
    } catch {
      this.#length = 0;
    }
  }

  #read(): void {
    for (this.#length = 0; ; ) {
      const free = this.#room.length - this.#length;
      const got = readSync(this.#file.fd, this.#room, this.#length, free, this.#length);
      this.#length += got;
      if (got < free) return;
      this.#room = Buffer.concat([this.#room], 2 * this.#room.length);
    }
  }

  all(): Registration[] {
    const text = this.#room.toString("latin1", 0, this.#length);
    return decodeEpollInfo(text).map((entry) => ({ ...entry, epoll: this.#epoll }));
  }

  /** The entry of that number. Only its line is parsed. */
  find(fd: number): Registration | undefined {
    const from = this.#room.indexOf(`tfd: ${String(fd).padStart(FD_COLUMNS)} `, 0, "latin1");
    if (from < 0 || from >= this.#length) return undefined;
    const end = this.#room.indexOf(NEW_LINE, from);
    const entry = firstEpollEntry(this.#room.toString("latin1", from, end));
    return entry === undefined ? undefined : { ...entry, epoll: this.#epoll };
  }

  close(): void {
    this.#file.close();
  }
}

const NEW_LINE = 10;

/** Whether the number is still the socket that was registered. */
export const isCurrent = ({ fd, inode }: Registration): boolean => isStill(fd, inode);

/** Whether a number is still the file with that inode; true if the kernel does not say. */
export function isStill(fd: number, inode: number): boolean {
  const type = lookAt(fd);
  return type < 0 ? type !== -errno.EBADF : Number(kind.inode) === inode;
}

/** Whether that epoll watches the file that the number is now. */
export function isRegistered(epfd: number, fd: number): boolean {
  const added = epollCtl(epfd, epoll.EPOLL_CTL_ADD ?? 0, { fd });
  if (added === 0) epollCtl(epfd, epoll.EPOLL_CTL_DEL ?? 0, { fd });
  return added === -errno.EEXIST;
}

export const isListening = (fd: number): boolean => getOption(fd, option.SO_ACCEPTCONN) === 1;

/** Remove it from its epoll: 0, or a negative errno. */
export const suspend = ({ epoll: epfd, fd }: Registration): number =>
  epollCtl(epfd, epoll.EPOLL_CTL_DEL ?? 0, { fd });

/** Add it again, with the same events and data. */
export const resume = (entry: Registration): number => epollAddAs(entry.epoll, entry.fd, entry);

/**
 * Replace a registered socket by another, under the same number and with the same entry. On failure
 * the old one stays, unless the last step failed: then the number is the new socket already. The
 * result: null, or which step failed and how.
 */
export function exchange(
  entry: Registration,
  socket: number,
): { readonly step: string; readonly result: number } | null {
  // Removed first: a child between fork and exec keeps the old file open, and with it its entry.
  const out = suspend(entry);
  if (out < 0) return { step: "epoll_ctl", result: out };
  const onto = duplicateOnto(socket, entry.fd);
  if (onto < 0) {
    resume(entry);
    return { step: "dup3", result: onto };
  }
  const again = resume(entry);
  return again < 0 ? { step: "epoll_ctl", result: again } : null;
}

/** How many sockets in that epoll were accepted from the listener named `listener`. */
export function connectionsOf(listener: Uint8Array, epfd: number): number {
  const isOurs = sameService(listener);
  let count = 0;
  for (const entry of watchedBy(epfd)) {
    const name = rawName(entry.fd);
    if (typeof name === "number" || !isOurs(name)) continue;
    if (isCurrent(entry) && !isListening(entry.fd)) count += 1;
  }
  return count;
}

/** An accepted socket has its listener's name; a wildcard is the address that was connected to. */
function sameService(listener: Uint8Array): (name: Uint8Array) => boolean {
  const inet = decodeInet(listener);
  if (inet === null) return (name) => Buffer.compare(name, listener) === 0;
  const everywhere = isWildcard(inet);
  return (name) => {
    const other = decodeInet(name);
    if (other === null || other.port !== inet.port || other.family !== inet.family) return false;
    return everywhere || Buffer.compare(other.host, inet.host) === 0;
  };
}

// Descriptors under names: what one process has and the next one gets.

import { errno } from "../../native/errno.ts";
import { socket as c, option } from "../../native/socket.ts";
import { absolute } from "../address/address.ts";
import { Directory } from "../address/directory.ts";
import { asLatin, fromLatin } from "../address/path-bytes.ts";
import { UnixError } from "../base/errors.ts";
import { Binding } from "../bind/binding.ts";
import { Fd, type FdLike } from "../fd/fd.ts";
import { Listener } from "../listener/listener.ts";
import { FD_NAME_RULE } from "../structs/fd-name.ts";
import {
  type HandoverEntry,
  type HandoverFile,
  isHandoverName,
} from "../structs/handover-frame.ts";
import type { Address } from "../structs/sockaddr-un.ts";
import { familyOf, getOption, listen } from "../syscalls/socket.ts";

/** A named descriptor, as `inheritedFds()` has it too. */
export interface NamedFd {
  /** The name under which it was handed over. */
  readonly name: string;
  /** The descriptor. Yours to close. */
  readonly fd: Fd;
}

/** A descriptor, and its socket's file as far as that is ours. */
export interface Entry {
  readonly fd: Fd;
  /** What removes the file; null if there is none, or not yet. */
  binding: Binding | null;
  /** The file of which the predecessor said that it goes with the socket. */
  readonly file: HandoverFile | null;
  /** Whether this process has asked for it. */
  claimed: boolean;
}

/** As many as one process hands to another. */
export const MAX_ENTRIES = 1_024;

/** A file that was the predecessor's to remove is ours from now on, if it is still that file. */
export function takeFile(file: HandoverFile): Binding | null {
  const path = fromLatin(asLatin(file.path));
  let place: Directory;
  try {
    place = Directory.of(path, "open", "Handover");
  } catch {
    return null; // its directory is gone
  }
  const now = place.stat();
  if (now?.isSocket() === true && now.dev === file.dev && now.ino === file.ino) {
    return new Binding({ kind: "path", path: textOf(file.path) }, { file: now, place });
  }
  place[Symbol.dispose]();
  return null;
}

function textOf(path: Uint8Array): string | Uint8Array {
  const text = Buffer.from(path).toString();
  return Buffer.compare(Buffer.from(text), path) === 0 ? text : path;
}

/** What the next process is told of a file; null if none goes with the socket. */
export function fileOf(binding: Binding | null): HandoverFile | null {
  const file = binding?.file ?? null;
  if (file === null || binding?.address.kind !== "path") return null;
  const { path } = absolute(binding.address) as Extract<Address, { kind: "path" }>;
  return { path: new Uint8Array(Buffer.from(path as string)), dev: file.dev, ino: file.ino };
}

/**
 * Clients of a Unix listener are told who called listen: from now on that is this process. What
 * waits in the backlog stays. (unix_listen in net/unix/af_unix.c sets the credentials each time.)
 */
export function renew(fd: number): void {
  const isUnix = familyOf(fd) === c.AF_UNIX;
  if (isUnix && getOption(fd, option.SO_ACCEPTCONN) === 1) listen(fd, c.SOMAXCONN);
}

/** All that one process keeps for the next. */
export class HandoverTable {
  readonly #kept = new Map<string, Entry>();

  /** What this process was started with; a name that came from the predecessor is closed. */
  inherit(all: Iterable<NamedFd>): void {
    const known = new Set(this.#kept.keys());
    for (const { name, fd } of all) {
      if (known.has(name)) fd.close();
      else
        this.put(isHandoverName(name) ? name : "unknown", {
          fd: entryOf(fd).fd,
          binding: null,
          file: null,
          claimed: false,
        });
    }
  }

  /** What came from elsewhere; a name that is there already gets a number: "web", "web.2". */
  put(name: string, kept: Entry): void {
    let free = name;
    for (let i = 2; this.#kept.has(free); i++) free = `${name}.${i}`;
    this.#kept.set(free, kept);
  }

  /** The descriptor of that name, or what `make` makes. */
  claim(name: string, make: () => FdLike | Listener): Fd {
    if (!isHandoverName(name)) {
      throw new TypeError(`a name is ${FD_NAME_RULE}`);
    }
    const known = this.#kept.get(name);
    if (known !== undefined) {
      known.claimed = true;
      return known.fd;
    }
    if (this.#kept.size >= MAX_ENTRIES) {
      const hint = `${MAX_ENTRIES} descriptors are the most`;
      throw new UnixError("handover", -errno.E2BIG, { hint });
    }
    const made = entryOf(make());
    this.#kept.set(name, made);
    return made.fd;
  }

  entries(): NamedFd[] {
    return this.list().map(({ entry: { name }, fd }) => ({ name, fd }));
  }

  /** What is sent: all that is still open. */
  list(): { readonly entry: HandoverEntry; readonly fd: Fd }[] {
    const open = [...this.#kept].filter(([, { fd }]) => !fd.closed);
    return open.map(([name, { fd, binding }]) => ({ entry: { name, file: fileOf(binding) }, fd }));
  }

  /** While a successor has them too, the files stay, whatever becomes of this process. */
  lend(on: boolean): void {
    for (const { binding } of this.#kept.values()) {
      if (on) binding?.suspendCleanup();
      else binding?.resumeCleanup();
    }
  }

  /** The files belong to the successor. */
  leave(): void {
    for (const kept of this.#kept.values()) {
      kept.binding?.release();
      kept.binding = null;
    }
  }

  /** The files are ours, and what was not asked for is closed. */
  takeOwnership(): void {
    for (const [name, kept] of this.#kept) {
      if (kept.file !== null) kept.binding = takeFile(kept.file);
      if (kept.claimed) {
        renew(kept.fd.fd);
        continue;
      }
      this.#kept.delete(name);
      drop(kept);
    }
  }

  /**
   * Close all; files that are ours are removed first, while no other can have their inodes
   * (facts: #inode-of-an-open-socket).
   */
  close(): void {
    for (const kept of this.#kept.values()) drop(kept);
    this.#kept.clear();
  }
}

function drop({ binding, fd }: Entry): void {
  binding?.remove();
  fd.close();
}

/** A factory's result: a Listener and an Fd are taken, of anything else a duplicate is kept. */
function entryOf(from: FdLike | Listener): Entry {
  const rest = { file: null, claimed: true };
  if (from instanceof Listener) {
    const { handle, binding } = from.surrender();
    return { fd: handle, binding, ...rest };
  }
  const fd = from instanceof Fd ? Fd.adopt(from.release(), "Handover") : Fd.duplicate(from);
  return { fd, binding: null, ...rest };
}

// The file of a FIFO: made with exactly the mode asked for, and opened by what it is, not by name.

import { fstatSync, type Stats, statSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { file } from "../../native/file.ts";
import { absolute, formatAddress } from "../address/address.ts";
import { Directory } from "../address/directory.ts";
import { integer } from "../base/checks.ts";
import { check, fileCall, UnixError } from "../base/errors.ts";
import { fileKind } from "../base/file-kind.ts";
import { MODE_BITS } from "../base/limits.ts";
import { Fd } from "../fd/fd.ts";
import { fromBytes, toBytes } from "../structs/sockaddr-un.ts";
import { chmod, close, fchmod, open } from "../syscalls/fd.ts";
import { mkfifo } from "../syscalls/fifo.ts";
import { copyOf, hasByteElements, isView } from "../syscalls/memory.ts";
import { isOwnUid } from "../users/known-ids.ts";
import { type NotAFifo, NotAFifoError } from "./not-a-fifo.ts";

/** How a FIFO is made. */
export interface MakeFifoOptions {
  /** Permissions, e.g. 0o620, whatever the umask. Default: 0o666 less the umask. */
  readonly mode?: number | undefined;
  /**
   * Fail with EEXIST if anything has the name. Default true. false: a FIFO that is there already
   * will do, with the mode that it has.
   */
  readonly exclusive?: boolean | undefined;
}

const kinds: ReadonlySet<string> = new Set<NotAFifo>([
  ...(["file", "directory", "socket", "character-device", "block-device", "symlink"] as const),
]);

/** What a descriptor stands for, as that error has it. */
export const notAFifo = (kind: string): NotAFifo =>
  kinds.has(kind) ? (kind as NotAFifo) : "other";

const SLASH = 0x2f;
const DEFAULT_MODE = 0o666;

/** A path in both forms: for the kernel, and for messages. */
export interface FifoPath {
  readonly bytes: Uint8Array;
  readonly text: string;
}

/** @throws TypeError for what is no path */
export function fifoPath(path: string | Uint8Array): FifoPath {
  if (typeof path !== "string" && !(isView(path) && hasByteElements(path))) {
    throw new TypeError(`the path of a FIFO is a string or a Uint8Array, not ${typeof path}`);
  }
  const bytes = typeof path === "string" ? toBytes(path) : copyOf(path);
  if (bytes.length === 0) throw new TypeError("the path of a FIFO is empty");
  if (bytes.includes(0)) throw new TypeError("the path of a FIFO has a NUL in it");
  if (bytes.at(-1) === SLASH) throw new TypeError('the path of a FIFO ends in "/", a directory\'s');
  return { bytes, text: formatAddress({ kind: "path", path: fromBytes(bytes) }) };
}

/**
 * Make a FIFO. It is never open to more people than `mode` says, not for a moment, and the umask of
 * the process is not touched.
 *
 * @returns true if it was made, false if it was there already (`exclusive: false`)
 * @throws TypeError, RangeError before any call; UnixError EEXIST, ENOENT, EACCES, EROFS
 * @throws NotAFifoError for something else of that name (`exclusive: false`)
 * @throws UnixError ESTALE if another file was put in its place meanwhile
 * @see mkfifo(3), fifo(7)
 */
export function makeFifo(path: string | Uint8Array, options: MakeFifoOptions = {}): boolean {
  const { exclusive = true, mode } = options;
  if (mode !== undefined) integer("mode", mode, { max: MODE_BITS });
  const where = fifoPath(path);
  using directory = Directory.of(absolutePath(where), "mkfifo", "makeFifo");
  const made = mkfifo(directory.at(), mode ?? DEFAULT_MODE);
  if (made === -errno.EEXIST && !exclusive) {
    requireFifo(where, directory);
    return false;
  }
  const hint = made === -errno.EEXIST ? "exclusive: false takes a FIFO that is there" : undefined;
  check(made, "mkfifo", { address: where.text, hint });
  if (mode !== undefined) setMode(where, directory, mode);
  return true;
}

function absolutePath({ bytes }: FifoPath): string | Uint8Array {
  const address = absolute({ kind: "path", path: bytes });
  return address.kind === "path" ? address.path : bytes;
}

/**
 * A look that does not open: by O_PATH, or without it by an open that does not wait for a writer.
 */
const LOOK = file.O_NOFOLLOW | (file.O_PATH ?? file.O_RDONLY | file.O_NONBLOCK);

function requireFifo(where: FifoPath, directory: Directory): void {
  if (file.O_PATH === null) {
    const stats = directory.look();
    if (stats === undefined) throw new UnixError("mkfifo", -errno.ENOENT, { address: where.text });
    checkFifo("mkfifo", where, stats);
    return;
  }
  const fd = check(open(directory.at(), LOOK), "open", { address: where.text });
  try {
    checkFifo("mkfifo", where, statOf(fd, where));
  } finally {
    close(fd);
  }
}

function checkFifo(syscall: string, where: FifoPath, stats: Stats): void {
  const found = fileKind(stats);
  if (found !== "fifo") throw new NotAFifoError(syscall, where.text, found);
}

const statOf = (fd: number, { text }: FifoPath): Stats =>
  fileCall(() => fstatSync(fd), { address: text });

/** Set the bits that the umask took away, on the file that was made and on no other. */
function setMode(where: FifoPath, directory: Directory, mode: number): void {
  const fd = check(open(directory.at(), LOOK), "open", { address: where.text });
  try {
    const stats = statOf(fd, where);
    const bits = stats.mode & MODE_BITS;
    const ours = stats.isFIFO() && isOwnUid(stats.uid) && stats.nlink === 1;
    if (!ours || (bits & ~mode) !== 0) {
      const hint = "another file has been put in its place";
      throw new UnixError("mkfifo", -errno.ESTALE, { address: where.text, hint });
    }
    if (bits === mode) return;
    const done = raise(fd, mode);
    if (done >= 0) return;
    removeQuietly(directory, stats);
    throw new UnixError("chmod", done, { address: where.text });
  } finally {
    close(fd);
  }
}

/** fchmod(2) refuses O_PATH descriptors (EBADF); their link in /proc is as good. */
const raise = (fd: number, mode: number): number =>
  file.O_PATH === null ? fchmod(fd, mode) : chmod(`/proc/self/fd/${fd}`, mode);

function removeQuietly(directory: Directory, made: Stats): void {
  try {
    directory.removeIf(made);
  } catch {
    // it stays, with fewer bits than were asked for
  }
}

/**
 * The FIFO that a path led to when it was looked at, to open ends of: whatever becomes of the name,
 * this stays that FIFO. With O_PATH it is a descriptor that neither reads nor writes. macOS has no
 * such thing: there each open goes by the path again, and what it opens must be the same file.
 */
export class FifoFile implements Disposable {
  readonly #where: FifoPath;
  readonly #handle: Fd | null;
  readonly #identity: Stats;

  private constructor(where: FifoPath, handle: Fd | null, identity: Stats) {
    this.#where = where;
    this.#handle = handle;
    this.#identity = identity;
  }

  /** @throws UnixError ENOENT, EACCES, EMFILE; NotAFifoError: it is not opened */
  static look(where: FifoPath, place: string): FifoFile {
    if (file.O_PATH === null) return FifoFile.#byName(where);
    const found = check(open(where.bytes, file.O_PATH), "open", { address: where.text });
    const handle = Fd.adopt(found, place);
    try {
      const stats = statOf(found, where);
      checkFifo("open", where, stats);
      return new FifoFile(where, handle, stats);
    } catch (error) {
      handle.close();
      throw error;
    }
  }

  static #byName(where: FifoPath): FifoFile {
    const path = Buffer.from(where.bytes);
    const stats = fileCall(() => statSync(path), { address: where.text });
    checkFifo("open", where, stats);
    return new FifoFile(where, null, stats);
  }

  /**
   * Open one end; never waits for the other. The number, or a negative errno.
   * @throws UnixError ESTALE: another file has the name by now, and there is no O_PATH
   */
  open(access: number): number {
    const flags = access | file.O_NONBLOCK;
    if (this.#handle !== null) return open(`/proc/self/fd/${this.#handle.fd}`, flags);
    const end = open(this.#where.bytes, flags);
    if (end < 0) return end;
    if (this.#is(end)) return end;
    close(end);
    const hint = "another file has been put in its place";
    throw new UnixError("open", -errno.ESTALE, { address: this.#where.text, hint });
  }

  #is(end: number): boolean {
    try {
      const found = fstatSync(end);
      const { dev, ino, birthtimeMs } = this.#identity;
      const same = found.dev === dev && found.ino === ino && found.birthtimeMs === birthtimeMs;
      return same && found.isFIFO(); // a number of a file is used again
    } catch {
      return false;
    }
  }

  close(): void {
    this.#handle?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

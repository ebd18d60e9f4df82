// Locking a file: now or not, waiting, or blocking the thread.

import { fstatSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { file } from "../../native/file.ts";
import { absolute, formatAddress, parseAddress } from "../address/address.ts";
import { Directory } from "../address/directory.ts";
import { Backoff } from "../base/backoff.ts";
import { integer } from "../base/checks.ts";
import { type Abortable, sleep, type TimeLimited } from "../base/deadline.ts";
import { check, fileCall, UnixError, UnsupportedError } from "../base/errors.ts";
import { Fd } from "../fd/fd.ts";
import { remaining } from "../syscalls/clock.ts";
import { copyOf, hasByteElements, isView } from "../syscalls/memory.ts";
import { FileLock, hasLocked } from "./file-lock.ts";
import type { Busy, Rules } from "./held.ts";
import { type LockHolder, listedHolders } from "./holders.ts";

/** How a file is locked. */
export interface LockOptions {
  /**
   * Let others have a shared lock at the same time, for readers: as long as one is held, no
   * exclusive one is given. Default false: exclusive, for a writer.
   */
  readonly shared?: boolean | undefined;
  /**
   * What a lock file says as long as the lock is held exclusively; it is emptied on release.
   * Default: the pid and a line break, by which `holders` can tell since when. Written only into a
   * file that a call of this library made as a lock file, never into any other. null: no file is
   * ever written to, and one that is made is a plain empty one: to lock data itself.
   */
  readonly content?: string | Uint8Array | null | undefined;
  /** Permissions of the file, if it has to be made. Default 0o600: others cannot hold its lock. */
  readonly mode?: number | undefined;
  /**
   * Remove the file on release and at exit, if a call of this library made it as a lock file.
   * Default false: the file stays, and is empty. Only for locks that are all taken by this library:
   * others (flock(1), Python, Go) do not look whether the file that they locked is still there. Not
   * with `shared`.
   */
  readonly unlinkOnRelease?: boolean | undefined;
}

/** How a file is locked, and how long that may take. */
export interface LockWaitOptions extends LockOptions, Abortable, TimeLimited {
  /** Milliseconds until it fails with ETIMEDOUT, naming the holder. Default: no limit. */
  readonly timeoutMs?: number | undefined;
}

/** Pauses between tries: there is nothing to poll for (facts: #flock-has-no-readiness). */
const LOCKED = { first: 1, max: 50 } as const;
const MODE_MASK = 0o777;
const PRIVATE_MODE = 0o600;

interface Wanted {
  readonly path: string | Uint8Array;
  readonly rules: Rules;
}

/** @throws TypeError, RangeError */
function wanted(path: string | Uint8Array, options: LockOptions, place: string): Wanted {
  const { shared = false, content, mode = PRIVATE_MODE, unlinkOnRelease = false } = options;
  for (const [name, value] of Object.entries({ shared, unlinkOnRelease })) {
    if (typeof value !== "boolean") throw new TypeError(`${name} must be true or false`);
  }
  if (shared && unlinkOnRelease) {
    throw new TypeError("unlinkOnRelease is for exclusive locks: others may share this one");
  }
  const rules = {
    ...({ place, shared, unlink: unlinkOnRelease, files: "any" } as const),
    mode: integer("mode", mode, { max: MODE_MASK }),
    content: contentOf(content),
  };
  return { path: lockPath(path), rules };
}

function contentOf(content: LockOptions["content"]): string | Uint8Array | null {
  if (content === undefined) return `${process.pid}\n`;
  if (content === null || typeof content === "string") return content;
  if (isView(content) && hasByteElements(content)) return copyOf(content);
  throw new TypeError("content is a string, a Uint8Array or null");
}

/** The path as it is now, even if the directory changes during the wait. */
function lockPath(path: string | Uint8Array): string | Uint8Array {
  const address = absolute(parseAddress({ path }));
  if (address.kind !== "path") throw new TypeError("the path of a lock is a string or Uint8Array");
  return address.path;
}

/**
 * Lock a file, which is made if it is not there, and wait for it as long as another holder has the
 * lock. The thread is not blocked: it is tried again and again, after pauses of 1 to 50 ms. The
 * order of waiters is not kept.
 *
 * The lock is flock(2)'s: flock(1), Python's `fcntl.flock` and Go's `syscall.Flock` keep out and
 * are kept out; `lockf` and other record locks know nothing of it. It binds only those who ask for
 * it. It is not inherited by children, and two calls in one process keep each other out as well.
 *
 * A file that is exchanged or removed before it is locked is noticed: what is locked has that name
 * at that moment. Only plain files are locked; a symbolic link is never followed, and a lock file
 * with a second name (hard link) is refused.
 *
 * @throws TypeError, RangeError before any system call
 * @throws UnixError ETIMEDOUT, naming who has it; the signal's reason
 * @throws UnixError ENOENT: no such directory; EACCES, EROFS; ELOOP: a symbolic link; EISDIR,
 *   EINVAL: no plain file, or a lock file with two names; ENOLCK, EOPNOTSUPP, …: the file system
 *   has no locks; EMFILE
 * @see flock(2)
 */
export async function lockFile(
  path: string | Uint8Array,
  options: LockWaitOptions = {},
): Promise<FileLock> {
  const { signal, timeoutMs } = options;
  const want = wanted(path, options, "lockFile");
  const left = remaining(timeoutMs);
  signal?.throwIfAborted();
  for (const pauses = new Backoff(LOCKED); ; ) {
    const taken = FileLock.tryTake(want.path, want.rules);
    if (taken instanceof FileLock) return taken;
    const wait = left();
    if (wait === 0) throw timedOut(want, taken);
    await sleep(pauses.next(wait), signal);
  }
}

/**
 * {@link lockFile}, if it is free now; null: it is locked, and {@link lockHolders} says by whom.
 *
 * @throws as lockFile
 * @see flock(2)
 */
export function tryLockFile(path: string | Uint8Array, options: LockOptions = {}): FileLock | null {
  const want = wanted(path, options, "tryLockFile");
  const taken = FileLock.tryTake(want.path, want.rules);
  return taken instanceof FileLock ? taken : null;
}

/**
 * {@link lockFile}, blocking the thread.
 *
 * @throws as lockFile; UnixError EDEADLK: this very thread has the lock, and could not release it
 * @see flock(2)
 */
export function lockFileSync(
  path: string | Uint8Array,
  options: LockOptions & TimeLimited = {},
): FileLock {
  const want = wanted(path, options, "lockFileSync");
  const left = remaining(options.timeoutMs);
  for (const pauses = new Backoff(LOCKED); ; ) {
    const taken = FileLock.tryTake(want.path, want.rules);
    if (taken instanceof FileLock) return taken;
    if (hasLocked(want.path)) throw deadlock(want);
    const wait = left();
    if (wait === 0) throw timedOut(want, taken);
    Bun.sleepSync(pauses.next(wait));
  }
}

const textOfPath = ({ path }: Pick<Wanted, "path">): string =>
  formatAddress({ kind: "path", path });

function timedOut(want: Wanted, { holder }: Busy): UnixError {
  const detail = { address: textOfPath(want), hint: `${holder} has the lock` };
  return new UnixError("flock", -errno.ETIMEDOUT, detail);
}

function deadlock(want: Wanted): UnixError {
  const hint = "this thread has the lock itself, and cannot release it while it is blocked";
  return new UnixError("flock", -errno.EDEADLK, { address: textOfPath(want), hint });
}

/**
 * Who has a file's lock, exclusive or shared, whatever took it. Empty: it is free, the file is not
 * there, or only processes have it that the kernel does not show to this one (of another pid
 * namespace). Nothing is locked and nothing is made.
 *
 * @throws TypeError for what is no path; UnixError EACCES: the file may not be read; ELOOP, EMFILE
 * @throws UnsupportedError if the kernel has no list: not on macOS
 * @see proc_locks(5)
 */
export function lockHolders(path: string | Uint8Array): LockHolder[] {
  const where = lockPath(path);
  using directory = Directory.of(where, "open", "lockHolders");
  const fd = directory.open(directory.name, file.O_RDONLY | file.O_NONBLOCK);
  if (fd === -errno.ENOENT) return [];
  const address = directory.text();
  using handle = Fd.adopt(check(fd, "open", { address }), "lockHolders");
  const listed = listedHolders(
    handle.fd,
    fileCall(() => fstatSync(handle.fd), { address }),
  );
  if (listed === null) throw new UnsupportedError("lockHolders", "there is no /proc/locks");
  return listed;
}

// A lock on a file, as its owner has it.

import { Directory } from "../address/directory.ts";
import { cleanUpAtExit, forgetCleanup } from "../fd/exit-cleanup.ts";
import { type Busy, HeldLock, isBusy, type Rules } from "./held.ts";
import type { LockHolder } from "./holders.ts";

/** The locks of this thread, to notice a wait that could not end. */
const held = new Set<WeakRef<HeldLock>>();
const forgotten = new FinalizationRegistry<WeakRef<HeldLock>>((one) => held.delete(one));

/** Whether this very thread has that file locked. */
export function hasLocked(path: string | Uint8Array): boolean {
  using directory = Directory.of(path, "open", "lockFile");
  const stats = directory.stat();
  if (stats === undefined) return false;
  return [...held].some((reference) => reference.deref()?.isOf(stats) === true);
}

/**
 * A lock on a file, made by `lockFile`, `tryLockFile` or `lockFileSync`. It is held until
 * `release`, or until the process or Worker that took it ends, for any reason: the kernel releases
 * it.
 *
 * Keep it: a forgotten lock is released when it is collected, with a warning.
 *
 * @see flock(2)
 */
export class FileLock implements Disposable {
  /** The file, as an absolute path in its text form. */
  readonly path: string;
  /** Whether others may have a shared lock at the same time. */
  readonly shared: boolean;
  readonly #lock: HeldLock;
  readonly #directory: Directory;
  readonly #reference: WeakRef<HeldLock>;

  private constructor(lock: HeldLock, directory: Directory, shared: boolean) {
    this.path = directory.text();
    this.shared = shared;
    this.#lock = lock;
    this.#directory = directory;
    this.#reference = new WeakRef(lock);
    held.add(this.#reference);
    forgotten.register(lock, this.#reference, this.#reference);
    cleanUpAtExit(this);
  }

  /** @internal One try. */
  static tryTake(path: string | Uint8Array, rules: Rules): FileLock | Busy {
    const directory = Directory.of(path, "open", rules.place);
    let taken: HeldLock | Busy | null = null;
    try {
      taken = HeldLock.tryTake(directory, directory.name, rules);
      return isBusy(taken) ? taken : new FileLock(taken, directory, rules.shared);
    } finally {
      if (taken === null || isBusy(taken)) directory[Symbol.dispose]();
    }
  }

  /**
   * The locked file's descriptor, to read and write it by; −1 once released. It is borrowed: do not
   * close it. A duplicate that other code keeps open does not keep the lock.
   */
  get fd(): number {
    return this.#lock.fd;
  }

  /** True once it is released. */
  get closed(): boolean {
    return this.fd < 0;
  }

  /**
   * Who has the lock now: this process, and with a shared one others too. Read from the kernel at
   * each look. Empty once it is released.
   */
  get holders(): readonly LockHolder[] {
    return this.#lock.holders;
  }

  /** @internal At exit. */
  remove(): void {
    this.release();
  }

  /** Release it. Does nothing the second time, never throws. */
  release(): void {
    forgetCleanup(this);
    held.delete(this.#reference);
    forgotten.unregister(this.#reference);
    this.#lock.release();
    this.#directory[Symbol.dispose]();
  }

  /** {@link release}, under the name that all owners of a descriptor have. */
  close(): void {
    this.release();
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

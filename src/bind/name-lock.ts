// The two locks of an address: one for its lifetime, on a file that the caller names, and a short
// one of its name.

import { errno } from "../../native/errno.ts";
import { absolute } from "../address/address.ts";
import { Directory } from "../address/directory.ts";
import { UnixError } from "../base/errors.ts";
import { type Busy, HeldLock, isBusy, isWithoutLocks, type Rules } from "../lock/held.ts";

const content = `${process.pid}\n`;
/** For its owner only, so that no other user can open it and hold its lock. */
const mode = 0o600;
const RULES = { shared: false, mode, content, unlink: true } as const;

/** A lock file that is held as long as an address. */
export class AddressLock {
  readonly #lock: HeldLock;
  readonly #directory: Directory;

  private constructor(lock: HeldLock, directory: Directory) {
    this.#lock = lock;
    this.#directory = directory;
  }

  /**
   * Take a lock file of the user's choice now, or say who has it. Used are a file that is made
   * here, one that looks as if it had been, and an empty one, which stays, all of this user.
   *
   * @throws UnixError EADDRINUSE naming the holder; ELOOP for a link; EACCES; EINVAL for any other
   *   file: it is not touched
   */
  static take(path: string, { address, place }: { address: string; place: string }): AddressLock {
    const whole = (absolute({ kind: "path", path }) as { path: string }).path;
    const directory = Directory.of(whole, "open", place);
    try {
      const rules: Rules = { ...RULES, place, files: "own" };
      const taken = HeldLock.tryTake(directory, directory.name, rules);
      if (!isBusy(taken)) return new AddressLock(taken, directory);
      const hint = `${taken.holder} holds the lock file ${path}`;
      throw new UnixError("bind", -errno.EADDRINUSE, { address, hint });
    } catch (error) {
      directory[Symbol.dispose]();
      throw error;
    }
  }

  /** Release it. Never throws. */
  release(): void {
    this.#lock.release();
    this.#directory[Symbol.dispose]();
  }
}

/**
 * One try to take the lock of a name in `directory`. A process holds it for a moment, while it
 * takes the name over or gives it up. Its file is hidden, and exists for that moment only.
 *
 * @returns the lock; who has it; null if there are no locks
 * @throws UnixError EACCES, EPERM, EROFS: the directory is not to be changed by this process;
 *   EMFILE, ENOSPC, …; EINVAL, ELOOP for what is no lock file
 */
export function tryLockName(directory: Directory): HeldLock | Busy | null {
  const rules: Rules = { ...RULES, place: "lock", files: "lock" };
  try {
    return HeldLock.tryTake(directory, `.bunix-lock.${directory.name}`, rules);
  } catch (error) {
    if (isWithoutLocks(error)) return null;
    throw error;
  }
}

// Processes as descriptors: a pidfd stays that process, even if another gets its pid.

import { readFileSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { poll as events } from "../../native/poll.ts";
import { integer } from "../base/checks.ts";
import type { Abortable } from "../base/deadline.ts";
import { check, fileCall, UnixError, UnsupportedError } from "../base/errors.ts";
import { Fd, type FdLike } from "../fd/fd.ts";
import { FdOwner } from "../fd/owner.ts";
import { attempt } from "../loop/attempt.ts";
import { LazyWatch } from "../loop/lazy-watch.ts";
import { type SignalName, signalName } from "../signals/names.ts";
import type { Ending } from "../structs/process.ts";
import { whyFailed } from "../syscalls/asked-calls.ts";
import { poll } from "../syscalls/fd.ts";
import { hasKqueue } from "../syscalls/kqueue.ts";
import { hasLibproc, shortInfo } from "../syscalls/libproc.ts";
import { endingOf, pidfdGetfd, pidfdOpen } from "../syscalls/process.ts";
import { knownGid, knownUid } from "../users/known-ids.ts";
import { openExitQueue, takeExit } from "./exit-queue.ts";
import { processInfo, processState } from "./proc-info.ts";
import { yamaScope } from "./ptrace.ts";
import { type SendSignalOptions, sendTo } from "./send-signal.ts";

/** How a process ended. */
export interface ExitStatus {
  /** What it gave to exit, 0 to 255; null if a signal ended it. */
  readonly code: number | null;
  /** The signal that ended it, "SIGKILL"; null if it exited. */
  readonly signal: string | null;
  /** Whether it left a core dump. */
  readonly coreDumped: boolean;
}

/** What /proc said of a process while it was certainly this one. */
export interface ProcessInfo {
  /** Its number in this pid namespace. */
  readonly pid: number;
  /** Its parent; 0 if that is outside of this pid namespace. */
  readonly ppid: number;
  /** The effective user and group; null: none that this user namespace can name. */
  readonly uid: number | null;
  /** The effective group; null: none that this user namespace can name. */
  readonly gid: number | null;
  /** Its name as the kernel keeps it, at most 15 bytes; a process chooses it itself. */
  readonly command: string | null;
  /** null if it may not be looked at. */
  readonly executable: string | null;
  /** Its command line, which it can change itself; null if it may not be looked at. */
  readonly arguments: readonly string[] | null;
}

/**
 * Another process's child is a zombie until its parent has waited for it; only then does the kernel
 * tell us how it ended. Most parents are quick.
 */
const PARENT_TAKES_MS = 500;

/**
 * A process, held by a pidfd: when it has ended, this handle says so for ever, and never means
 * another process that got the same pid.
 *
 * On macOS a kqueue that is told of the process's end takes its place: `alive` and `exited` mean
 * that very process, too. Signals go by pid there ({@link ProcessHandle.signal}).
 *
 * @see pidfd_open(2); kqueue(2), EVFILT_PROC
 */
export class ProcessHandle extends FdOwner {
  readonly #watch = new LazyWatch();
  /**
   * Its pid in this process's pid namespace; null if it has none, or if it had ended already when
   * the handle was made from a pidfd. Signals go by the descriptor, not by this number.
   */
  readonly pid: number | null;
  /** macOS: what its kqueue has told, once it has. */
  #exit: Ending | null | undefined;

  private constructor(handle: Fd, pid: number | null) {
    super(handle);
    this.pid = pid;
  }

  /**
   * The process that has `pid` now. Of a child of yours that you have not waited for, and of your
   * parent as long as getppid is the same, that is certainly the one you mean. On macOS a zombie is
   * ESRCH: also a child that has ended and that you have not waited for.
   *
   * @throws RangeError; UnixError ESRCH, EMFILE; EINVAL or ENOENT for the id of a thread
   * @throws UnsupportedError before Linux 5.3
   */
  static open(pid: number): ProcessHandle {
    integer("pid", pid, { min: 1 });
    if (hasKqueue) {
      const queue = check(openExitQueue(pid), "kevent");
      return new ProcessHandle(Fd.of(queue, "ProcessHandle.open", "ours"), pid);
    }
    const fd = pidfdOpen(pid);
    const why = fd < 0 ? whyFailed("pidfd_open", fd) : null;
    if (fd === -errno.ENOSYS) throw new UnsupportedError("pidfd", why ?? "pidfd_open: ENOSYS");
    const opened = check(fd, "pidfd_open", { hint: why ?? undefined });
    return new ProcessHandle(Fd.of(opened, "ProcessHandle.open", "ours"), pid);
  }

  /**
   * The process of a pidfd that came from elsewhere: `message.pidfd`, `peerPidfd()`,
   * `peer().pidfd`. It is borrowed: this object has a duplicate.
   *
   * @throws UnixError EBADF: not open, or no pidfd
   * @throws UnsupportedError Not on macOS: it has no pidfds.
   */
  static of(pidfd: FdLike): ProcessHandle {
    if (hasKqueue) throw new UnsupportedError("peerPidfd", "macOS has no pidfds");
    const handle = Fd.duplicate(pidfd);
    try {
      return new ProcessHandle(handle, pidOf(handle.fd));
    } catch (error) {
      handle.close();
      throw error;
    }
  }

  /**
   * "running"; "zombie": ended, but its parent has not waited for it; "gone" (told since Linux
   * 6.9).
   */
  #state(): "running" | "zombie" | "gone" {
    if (hasKqueue) {
      const queue = this.open("kevent");
      if (this.#exit === undefined) this.#exit = takeExit(queue);
      return this.#exit === undefined ? "running" : "gone";
    }
    const now = check(poll(this.open("poll"), events.POLLIN, 0), "poll");
    if ((now & events.POLLHUP) !== 0) return "gone";
    return (now & events.POLLIN) === 0 ? "running" : "zombie";
  }

  /** Whether it has not ended yet; a zombie has. */
  alive(): boolean {
    return this.#state() === "running";
  }

  /**
   * When it has ended, and how, as far as that can be known: undefined if it is another process's
   * child and the kernel does not tell (before Linux 6.15, or when its parent has not waited for it
   * half a second later). A child of yours stays to be waited for: this only looks. macOS tells it
   * of every process that you may signal.
   *
   * @throws UnixError ERR_CLOSED; the signal's reason
   */
  async exited(options: Abortable = {}): Promise<ExitStatus | undefined> {
    const { signal } = options;
    const state = await this.#until(signal, () => {
      const now = this.#state();
      return now === "running" ? undefined : now;
    });
    const status = this.#status();
    if (status !== undefined || state === "gone") return status;
    return await this.#whenReaped(signal);
  }

  #until<T>(signal: AbortSignal | undefined, tryOnce: () => T | undefined): Promise<T> {
    this.open("poll");
    return attempt({ watch: this.#watch.of(this.fd), direction: "read", signal }, { tryOnce });
  }

  #status(): ExitStatus | undefined {
    const ending = hasKqueue ? this.#exit : endingOf(this.open("waitid"));
    if (ending === null || ending === undefined) return undefined;
    const { code, signal, coreDumped } = ending;
    return { code, signal: signal === null ? null : signalName(signal), coreDumped };
  }

  async #whenReaped(signal: AbortSignal | undefined): Promise<ExitStatus | undefined> {
    const enough = AbortSignal.timeout(PARENT_TAKES_MS);
    const either = signal === undefined ? enough : AbortSignal.any([signal, enough]);
    try {
      await this.#until(either, () => (this.#state() === "gone" ? true : undefined));
    } catch (error) {
      if (signal?.aborted === true || this.closed) throw error;
    }
    return this.#status();
  }

  /**
   * Send it a signal: {@link sendSignal}. 0 sends nothing, and fails if a signal would.
   *
   * macOS has no signals by descriptor: the kqueue is asked whether the process lives, and then the
   * pid is used. Between the two it may end, be waited for, and another process get its pid, which
   * takes as many new processes as there are pids (99,998). Of a child of yours that you have not
   * waited for that cannot happen.
   *
   * @throws TypeError, RangeError; UnixError ESRCH (it is gone), EPERM, EAGAIN, ERR_CLOSED
   * @throws UnsupportedError with a value: not on macOS
   * @see pidfd_send_signal(2); kill(2)
   */
  signal(signal: SignalName | number, options: SendSignalOptions = {}): void {
    if (hasKqueue && this.pid !== null) {
      sendTo({ pid: this.pid, ended: this.#state() !== "running" }, signal, options);
      return;
    }
    sendTo({ pidfd: this.open("pidfd_send_signal") }, signal, options);
  }

  /**
   * A duplicate of its descriptor `number`, for the same open file, close-on-exec; yours to close.
   * Takes the right to trace it: the same user and a process that may be dumped, or CAP_SYS_PTRACE;
   * under Yama also being its ancestor, or its leave (PR_SET_PTRACER).
   *
   * @throws UnixError EBADF (it has no such descriptor), EPERM (not allowed), ESRCH (it has ended),
   *   EMFILE, ERR_CLOSED; the message says which and why
   * @throws UnsupportedError before Linux 5.6. Not on macOS: no call takes another's descriptor.
   * @see pidfd_getfd(2), ptrace(2)
   */
  duplicateFd(number: number): Fd {
    integer("a descriptor", number);
    if (hasKqueue) throw new UnsupportedError("pidfdGetfd", "only Linux has it");
    const fd = pidfdGetfd(this.open("pidfd_getfd"), number);
    if (fd >= 0) return Fd.adopt(fd, "ProcessHandle.duplicateFd");
    const why = whyFailed("pidfd_getfd", fd);
    if (fd === -errno.ENOSYS) {
      throw new UnsupportedError("pidfdGetfd", why ?? "pidfd_getfd: ENOSYS");
    }
    // of a zombie Linux 5.10 says that it has no such descriptor (facts: #zombies-look-alive)
    const ended = fd === -errno.EBADF && this.#state() !== "running";
    const failed = ended ? -errno.ESRCH : fd;
    throw new UnixError("pidfd_getfd", failed, { hint: why ?? this.#whyNot(-failed, number) });
  }

  #whyNot(number: number, fd: number): string | undefined {
    const who = `process ${this.pid ?? "?"}`;
    if (number === errno.EBADF) return `${who} has no descriptor ${fd}`;
    if (number === errno.ESRCH) {
      const zombie = this.#state() === "zombie" && processState(this.pid) === "Z";
      return `${who} ${zombie ? "has ended: a zombie has no descriptors" : "is gone"}`;
    }
    if (number !== errno.EPERM) return undefined;
    const scope = yamaScope();
    const yama =
      scope > 0 ? `; Yama's ptrace_scope is ${scope}: it can allow you (PR_SET_PTRACER)` : "";
    return `it takes the right to trace ${who}: same user and dumpable, or CAP_SYS_PTRACE${yama}`;
  }

  /**
   * What /proc says of it (on macOS libproc, without `arguments`), read first and believed only if
   * it was still alive afterwards; null if it has ended, or /proc does not show it.
   */
  info(): ProcessInfo | null {
    this.open("info");
    const named = processInfo(this.pid);
    const numbers = this.pid === null ? null : statusOf(this.pid);
    if (this.pid === null || named === null || numbers === null || !this.alive()) return null;
    return { pid: this.pid, ...numbers, ...named };
  }

  /** @internal */
  protected reference(on: boolean): void {
    this.#watch.referenced = on;
  }

  /** Close the pidfd; the process is left alone. `exited` gets ERR_CLOSED. Never throws. */
  close(): void {
    this.handle.close();
  }
}

/** What fdinfo says; null for a process without a pid here. @throws UnixError EBADF: no pidfd */
function pidOf(fd: number): number | null {
  const text = fileCall(() => readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"));
  const line = /^Pid:\s+(-?\d+)$/m.exec(text);
  if (line === null) throw new UnixError("pidfd", -errno.EBADF, { hint: "open, but no pidfd" });
  const pid = Number(line[1]);
  return pid > 0 ? pid : null;
}

function statusOf(pid: number): Pick<ProcessInfo, "ppid" | "uid" | "gid"> | null {
  if (hasLibproc) {
    const told = shortInfo(pid);
    return told && { ppid: told.ppid, uid: knownUid(told.uid), gid: knownGid(told.gid) };
  }
  try {
    const status = readFileSync(`/proc/${pid}/status`, "utf8");
    const field = (pattern: RegExp): number => Number(pattern.exec(status)?.[1]);
    return {
      ppid: field(/^PPid:\s+(\d+)/m),
      uid: knownUid(field(/^Uid:\s+\d+\s+(\d+)/m)),
      gid: knownGid(field(/^Gid:\s+\d+\s+(\d+)/m)),
    };
  } catch {
    return null; // ended, or hidden by /proc
  }
}

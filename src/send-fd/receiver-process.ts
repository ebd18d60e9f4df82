// The processes at both ends of `sendFd`, looked at before anything is sent.

import { readFileSync, readlinkSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { capability } from "../../native/process.ts";
import { fileCall, isShortage, UnixError, UnsupportedError } from "../base/errors.ts";
import type { FdLike } from "../fd/fd.ts";
import { ProcessHandle } from "../process/handle.ts";
import { yamaScope } from "../process/ptrace.ts";
import { type SignalName, signalName, signalNumber } from "../signals/names.ts";
import type { ProcessIdentity } from "../structs/fd-offer.ts";
import { decodeStart, decodeStatus, type ProcessStatus } from "../structs/process-status.ts";
import { whyRefused } from "../syscalls/asked-calls.ts";
import { dumpable } from "../syscalls/process.ts";
import { realTimeRange } from "../syscalls/signal.ts";

/** A real-time signal, counted from either end. */
export type RealtimeSignal = Extract<SignalName, `SIGRT${string}`>;

/** @throws TypeError, RangeError; UnsupportedError */
export function realtimeNumber(signal: RealtimeSignal | number): number {
  const range = realTimeRange();
  if (range === null) throw new UnsupportedError("sendFd", "this system has no real-time signals");
  const number = signalNumber(signal);
  if (number >= range.first && number <= range.last) return number;
  throw new RangeError(`${signalName(number)} is no real-time signal: only those queue`);
}

/** Why processes cannot be looked at: /proc must speak of our own pid namespace. Or null. */
export function whyNoProc(): string | null {
  try {
    if (readlinkSync("/proc/self") === String(process.pid)) return null;
    return "/proc is that of another pid namespace";
  } catch {
    return "there is no /proc";
  }
}

/**
 * The calls of each side: what a filter refuses would otherwise only be noticed at the deadline.
 */
const needed = {
  sender: ["pidfd_open", "pidfd_send_signal"],
  receiver: ["pidfd_open", "pidfd_getfd"],
} as const;

/** Why this process cannot be that side of it; null if it can. */
export function whyNot(side: keyof typeof needed): string | null {
  const proc = whyNoProc();
  if (proc !== null) return proc;
  for (const call of needed[side]) {
    const why = whyRefused(call);
    if (why !== null) return why;
  }
  return null;
}

/** @throws UnsupportedError */
export function mustBeAble(side: keyof typeof needed): void {
  const reason = whyNot(side);
  if (reason !== null) throw new UnsupportedError("sendFd", reason);
}

/** null if there is no such process, or none that is shown. @throws UnixError EMFILE, ENFILE */
function readProc(pid: number, file: "stat" | "status"): string | null {
  try {
    return fileCall(() => readFileSync(`/proc/${pid}/${file}`, "utf8"));
  } catch (error) {
    if (isShortage(error)) throw error;
    return null;
  }
}

/** When the process that has `pid` now started; null if there is none, or none that is shown. */
export function startOf(pid: number): string | null {
  const stat = readProc(pid, "stat");
  return stat === null ? null : decodeStart(stat);
}

function statusOf(pid: number): ProcessStatus | null {
  const status = readProc(pid, "status");
  return status === null ? null : decodeStatus(status);
}

let own: ProcessIdentity | undefined;

/** This process. */
export function ownIdentity(): ProcessIdentity {
  own ??= { pid: process.pid, start: startOf(process.pid) ?? "" };
  return own;
}

/** The process that a descriptor is for, held by a pidfd for as long as it is sent. */
export class ReceiverProcess implements Disposable {
  readonly handle: ProcessHandle;
  readonly #signal: number;
  /** Its name, for messages. */
  readonly name: string;

  constructor(to: number | Exclude<FdLike, number>, signal: number) {
    this.handle = typeof to === "number" ? ProcessHandle.open(to) : ProcessHandle.of(to);
    this.#signal = signal;
    this.name = `process ${this.handle.pid ?? "?"}`;
  }

  /** That it has ended, as an error. */
  get gone(): UnixError {
    const hint = `${this.name} has ended, or is in a pid namespace that this one cannot see`;
    return new UnixError("pidfd_send_signal", -errno.ESRCH, { hint });
  }

  /** Read by pid, and believed only if the process was still there afterwards. */
  #look(): { party: ProcessIdentity; status: ProcessStatus } {
    const { pid } = this.handle;
    const start = pid === null ? null : startOf(pid);
    const status = pid === null ? null : statusOf(pid);
    if (pid === null || !this.handle.alive()) throw this.gone;
    if (start !== null && status !== null) return { party: { pid, start }, status };
    const hint = `/proc does not show ${this.name} (hidepid?): it cannot be known if it listens`;
    throw new UnixError("pidfd_send_signal", -errno.EACCES, { hint });
  }

  /**
   * The process, after a check that it handles the signal: one that does not would be killed.
   * @throws UnixError ECONNREFUSED, ESRCH, EACCES
   */
  listening(): { party: ProcessIdentity; status: ProcessStatus } {
    const found = this.#look();
    const bit = 1n << BigInt(this.#signal - 1);
    if ((found.status.caught & bit) !== 0n) return found;
    const how = (found.status.ignored & bit) === 0n ? "would be ended by" : "ignores";
    const hint = `it does not listen: ${this.name} ${how} ${signalName(this.#signal)}`;
    throw new UnixError("pidfd_send_signal", -errno.ECONNREFUSED, { hint });
  }

  /** Whether there are calls that it may not make. */
  underFilter(): boolean {
    const { pid } = this.handle;
    return pid !== null && statusOf(pid)?.filtered === true;
  }

  /**
   * Whether it needs this process's permission to take something from it (Yama).
   * @throws UnixError EPERM if permission would not help; EOPNOTSUPP from another pid namespace
   * @see ptrace(2), "Ptrace access mode checking"
   */
  needsPtracer(target: ProcessStatus): boolean {
    const self = statusOf(process.pid);
    if (self === null) throw this.gone;
    if (target.pids.length !== self.pids.length) throw this.#elsewhere();
    if (this.handle.pid === process.pid) return false;
    const scope = yamaScope();
    if (scope < SCOPE_NO_ATTACH && mayTraceAll(target)) return false;
    if (scope > SCOPE_RESTRICTED || !mayTraceOwn(target, self)) throw this.#forbidden(scope);
    return scope === SCOPE_RESTRICTED;
  }

  #elsewhere(): UnixError {
    const hint = `${this.name} is in another pid namespace and cannot see this process`;
    return new UnixError("pidfd_getfd", -errno.EOPNOTSUPP, { hint });
  }

  #forbidden(scope: number): UnixError {
    const yama = scope > SCOPE_RESTRICTED ? `; Yama's ptrace_scope is ${scope}` : "";
    const hint =
      `${this.name} may take nothing from this one: it takes the right to trace it, that is the ` +
      `same user, with no fewer capabilities, and this process dumpable; or CAP_SYS_PTRACE${yama}`;
    return new UnixError("pidfd_getfd", -errno.EPERM, { hint });
  }

  [Symbol.dispose](): void {
    this.handle.close();
  }
}

/** Yama's ptrace_scope: 1, the named process may; 3, none may. */
const SCOPE_RESTRICTED = 1;
const SCOPE_NO_ATTACH = 3;

const TRACE = capability.CAP_SYS_PTRACE === null ? 0n : 1n << BigInt(capability.CAP_SYS_PTRACE);

const mayTraceAll = (target: ProcessStatus): boolean => (target.effective & TRACE) !== 0n;

/** The kernel's rules for a process without that capability. */
function mayTraceOwn(target: ProcessStatus, self: ProcessStatus): boolean {
  const [uid, gid] = [target.uids[0], target.gids[0]];
  const sameUser = self.uids.every((id) => id === uid) && self.gids.every((id) => id === gid);
  return sameUser && dumpable() === 1 && (self.permitted & ~target.permitted) === 0n;
}

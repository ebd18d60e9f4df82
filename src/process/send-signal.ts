// Signals sent: with a value or without, by pid or by pidfd.

import { errno } from "../../native/errno.ts";
import { nr } from "../../native/numbers.ts";
import { integer } from "../base/checks.ts";
import { UnixError, UnsupportedError } from "../base/errors.ts";
import { INT_MIN } from "../base/limits.ts";
import { type FdLike, fdNumber } from "../fd/fd.ts";
import { type SignalName, signalName, signalNumber } from "../signals/names.ts";
import { whyFailed } from "../syscalls/asked-calls.ts";
import { kill, pidfdQueueSignal, pidfdSendSignal, queueSignal } from "../syscalls/process.ts";
import { realTimeRange } from "../syscalls/signal.ts";

/** What goes with a signal. */
export interface SendSignalOptions {
  /**
   * A 32-bit integer for the receiver's handler (si_value.sival_int). Real-time signals with values
   * queue up; of a standard one the kernel keeps only the first until it is handled.
   */
  readonly value?: number | undefined;
}

/** 0 is no signal: it only asks whether one could be sent. @throws TypeError, RangeError */
function sendable(signal: SignalName | number): number {
  if (signal === 0) return 0;
  const number = signalNumber(signal);
  const name = signalName(number);
  if (name === "SIGPWR") {
    throw new RangeError("SIGPWR is not sent: JavaScriptCore stops its threads with it");
  }
  const first = realTimeRange()?.first ?? number;
  if (number < first && name === `SIG${number}`) {
    throw new RangeError(`${name} is not sent: libc keeps it for itself, SIGRTMIN is ${first}`);
  }
  return number;
}

const HINTS = new Map<number, string>([
  [errno.ESRCH, "the process has ended"],
  [errno.EPERM, "signals go to processes of the same user, or from root"],
  [errno.EAGAIN, "its queue of signals is full (RLIMIT_SIGPENDING)"],
]);

/** The target: by pid, which may be known to have ended, or by pidfd. */
type SignalTarget = { readonly pid: number; readonly ended?: boolean } | { readonly pidfd: number };

/** Whether signals can carry a value. The call is made by hand, for sigqueue(3) takes a union. */
const hasValues = nr.SYS_rt_sigqueueinfo !== null;

/** @internal */
export function sendTo(
  target: SignalTarget,
  signal: SignalName | number,
  { value }: SendSignalOptions,
): void {
  const number = sendable(signal);
  if (value !== undefined) integer("value", value, { min: INT_MIN });
  if (value !== undefined && number === 0) throw new RangeError("signal 0 carries no value");
  if (value !== undefined && !hasValues) {
    throw new UnsupportedError("signalSenders", "macOS has no sigqueue");
  }
  const sent = value === undefined ? plain(target, number) : queued(target, number, value);
  if (sent >= 0) return;
  const syscall =
    "pidfd" in target ? "pidfd_send_signal" : value === undefined ? "kill" : "sigqueue";
  const why = "pidfd" in target ? whyFailed("pidfd_send_signal", sent) : null;
  if (sent === -errno.ENOSYS && why !== null) throw new UnsupportedError("pidfdSignals", why);
  throw new UnixError(syscall, sent, { hint: why ?? HINTS.get(-sent) });
}

function plain(target: SignalTarget, number: number): number {
  if ("pidfd" in target) return pidfdSendSignal(target.pidfd, number);
  return target.ended === true ? -errno.ESRCH : kill(target.pid, number);
}

function queued(target: SignalTarget, number: number, value: number): number {
  const from = { number, value, pid: process.pid, uid: process.getuid?.() ?? 0 };
  return "pidfd" in target ? pidfdQueueSignal(target.pidfd, from) : queueSignal(target.pid, from);
}

/**
 * Send a signal to a process: by pid, or by pidfd (a ProcessHandle, or the Fd of one), which cannot
 * hit another process that has got the pid meanwhile. Signal 0 sends nothing and only fails if a
 * signal would.
 *
 * SIGPWR and the signals that libc keeps for itself are refused: a Bun process would stop, or
 * worse.
 *
 * @throws TypeError, RangeError before any call: no such signal, one that is not sent, a pid below
 *   1 (groups are not addressed)
 * @throws UnixError ESRCH, EPERM, EAGAIN (its queue is full), EBADF (no pidfd)
 * @throws UnsupportedError by pidfd before Linux 5.1; by pidfd, and with a value: not on macOS
 * @see kill(2), sigqueue(3), pidfd_send_signal(2)
 */
export function sendSignal(
  to: number | Exclude<FdLike, number>,
  signal: SignalName | number,
  options: SendSignalOptions = {},
): void {
  if (typeof to === "number") sendTo({ pid: integer("pid", to, { min: 1 }) }, signal, options);
  else sendTo({ pidfd: fdNumber(to) }, signal, options);
}

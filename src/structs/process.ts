// siginfo_t of a queued signal and of waitid, and pidfd_info: bytes ↔ values.

import { child, pidfdInfo, pidfdInfoV0, waitStatus } from "../../native/process.ts";
import { origin, siginfo } from "../../native/signal.ts";

/** How a process ended, by numbers. */
export interface Ending {
  /** What it gave to exit; null if a signal ended it. */
  readonly code: number | null;
  /** The signal's number; null if it exited. */
  readonly signal: number | null;
  readonly coreDumped: boolean;
}

export interface QueuedSignal {
  readonly number: number;
  readonly pid: number;
  readonly uid: number;
  readonly value: number;
}

export const siginfoBytes = siginfo.size;

/** A signal as sigqueue(3) makes it; `value` is its sival_int. */
export function encodeQueued(view: DataView, { number, pid, uid, value }: QueuedSignal): void {
  new Uint8Array(view.buffer, view.byteOffset, siginfoBytes).fill(0);
  view.setInt32(siginfo.at.si_signo, number, true);
  view.setInt32(siginfo.at.si_code, origin.SI_QUEUE, true);
  view.setInt32(siginfo.at.si_pid, pid, true);
  view.setUint32(siginfo.at.si_uid, uid, true);
  view.setInt32(siginfo.at.si_value, value, true);
}

/** What waitid said; null if it said nothing (WNOHANG). */
export function decodeWait(view: DataView): Ending | null {
  if (view.getInt32(siginfo.at.si_pid, true) === 0) return null;
  const status = view.getInt32(siginfo.at.si_status, true);
  const how = view.getInt32(siginfo.at.si_code, true);
  if (how === child.CLD_EXITED) return { code: status, signal: null, coreDumped: false };
  return { code: null, signal: status, coreDumped: how === child.CLD_DUMPED };
}

/** Ask for the exit status alone. */
export function encodePidfdInfo(view: DataView): void {
  new Uint8Array(view.buffer, view.byteOffset, pidfdInfoV0.bytes).fill(0);
  view.setUint32(pidfdInfoV0.mask, pidfdInfo.PIDFD_INFO_EXIT ?? 0, true);
}

/** The exit status out of what PIDFD_GET_INFO filled in: a wait status, as wait(2) has it. */
export function decodePidfdInfo(view: DataView): Ending | null {
  const told = view.getUint32(pidfdInfoV0.mask, true);
  if ((told & (pidfdInfo.PIDFD_INFO_EXIT ?? 0)) === 0) return null;
  return decodeWaitStatus(view.getInt32(pidfdInfoV0.exitCode, true));
}

/** A wait status, as wait(2) has it, of a process that has ended. */
export function decodeWaitStatus(status: number): Ending {
  const signal = status & waitStatus.signal;
  if (signal === 0) {
    const code = (status >> waitStatus.codeShift) & waitStatus.code;
    return { code, signal: null, coreDumped: false };
  }
  return { code: null, signal, coreDumped: (status & waitStatus.core) !== 0 };
}

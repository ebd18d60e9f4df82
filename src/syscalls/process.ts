// Calls on processes, by pid and by pidfd.

import { errno } from "../../native/errno.ts";
import { nr } from "../../native/numbers.ts";
import { pidfdInfoV0, prctl, wait } from "../../native/process.ts";
import {
  decodePidfdInfo,
  decodeWait,
  type Ending,
  encodePidfdInfo,
  encodeQueued,
  type QueuedSignal,
  siginfoBytes,
} from "../structs/process.ts";
import { libc } from "./libc.ts";
import { Memory } from "./memory.ts";
import { result, uninterrupted } from "./result.ts";

const info = new Memory(Math.max(siginfoBytes, pidfdInfoV0.bytes));

const call = (number: number | null, ...[a, b, c, d]: [number, number, number, number]): number =>
  number === null ? -errno.ENOSYS : result(libc.syscall(number, a, b, c, d, 0, 0));

export const pidfdOpen = (pid: number): number => call(nr.SYS_pidfd_open, pid, 0, 0, 0);

export const pidfdGetfd = (pidfd: number, fd: number): number =>
  call(nr.SYS_pidfd_getfd, pidfd, fd, 0, 0);

export const kill = (pid: number, signal: number): number => result(libc.kill(pid, signal));

export const pidfdSendSignal = (pidfd: number, signal: number): number =>
  call(nr.SYS_pidfd_send_signal, pidfd, signal, 0, 0);

export function pidfdQueueSignal(pidfd: number, signal: QueuedSignal): number {
  encodeQueued(info.view, signal);
  return call(nr.SYS_pidfd_send_signal, pidfd, signal.number, info.address, 0);
}

/** Whether processes of the same user may trace this one: 1, unless it has changed its user. */
export const dumpable = (): number => call(nr.SYS_prctl, prctl.PR_GET_DUMPABLE ?? -1, 0, 0, 0);

/** Yama's one process that may trace this one; 0: none any more. */
export const setTracer = (pid: number): number =>
  call(nr.SYS_prctl, prctl.PR_SET_PTRACER ?? -1, pid, 0, 0);

/** sigqueue(3), whose last argument is a union by value: made by hand instead. */
export function queueSignal(pid: number, signal: QueuedSignal): number {
  encodeQueued(info.view, signal);
  return call(nr.SYS_rt_sigqueueinfo, pid, signal.number, info.address, 0);
}

const PEEK = wait.WEXITED | wait.WNOHANG | wait.WNOWAIT;

/** How a child of ours ended, left for its owner to wait for; null: none of ours, or reaped. */
function peekChild(pidfd: number): Ending | null {
  if (wait.P_PIDFD === null) return null;
  const which = wait.P_PIDFD;
  info.bytes.fill(0);
  if (uninterrupted(() => libc.waitid(which, pidfd, info.address, PEEK)) < 0) return null;
  return decodeWait(info.view);
}

/** How a process ended, as far as the kernel tells us. */
export const endingOf = (pidfd: number): Ending | null => peekChild(pidfd) ?? reaped(pidfd);

/** What the kernel keeps of a process that has been waited for (Linux 6.15). */
function reaped(pidfd: number): Ending | null {
  encodePidfdInfo(info.view);
  if (call(nr.SYS_ioctl, pidfd, pidfdInfoV0.request, info.address, 0) < 0) return null;
  return decodePidfdInfo(info.view);
}

// write(2) to a pipe that may have no reader. Bun ignores SIGPIPE, but a library that this process
// has loaded may have set it back to its default: the write would then kill the process. There is
// no MSG_NOSIGNAL for pipes.

import { errno } from "../../native/errno.ts";
import { nr } from "../../native/numbers.ts";
import { blocking, handlers, kernelSignalSet, sigaction, signals } from "../../native/signal.ts";
import { timespec } from "../../native/time.ts";
import { write } from "./fd.ts";
import { libc } from "./libc.ts";
import { Memory } from "./memory.ts";
import { result } from "./result.ts";

const now = new Memory(sigaction.size);
const SIGPIPE = signals.SIGPIPE;
const IGNORED = handlers["(long)SIG_IGN"];

/** Whether the kernel would do nothing about SIGPIPE at this moment. */
function ignored(): boolean {
  if (result(libc.sigaction(SIGPIPE, null, now.address)) < 0) return false;
  return now.words[0] === IGNORED && now.words[1] === 0;
}

/** The kernel's sigset_t: SIGPIPE alone; what was blocked before; no time to wait. */
const set = new Memory(kernelSignalSet.bytes);
const before = new Memory(kernelSignalSet.bytes);
const noTime = new Memory(timespec.size);
set.words[0] = 1 << (SIGPIPE - 1);

/** As `write`, EPIPE included; no signal comes of it, whatever is set for SIGPIPE. */
export function writePipe(fd: number, address: number, bytes: number): number {
  return ignored() ? write(fd, address, bytes) : guarded(fd, address, bytes);
}

/** SIGPIPE goes to the thread that writes: it is blocked there, and discarded. */
function guarded(fd: number, address: number, bytes: number): number {
  if (nr.SYS_rt_sigprocmask === null || nr.SYS_rt_sigtimedwait === null) {
    return write(fd, address, bytes);
  }
  const how = blocking.SIG_BLOCK;
  const size = kernelSignalSet.bytes;
  const blocked = libc.syscall(nr.SYS_rt_sigprocmask, how, set.address, before.address, size, 0, 0);
  const written = write(fd, address, bytes);
  if (blocked < 0) return written;
  if (written === -errno.EPIPE) {
    libc.syscall(nr.SYS_rt_sigtimedwait, set.address, 0, noTime.address, size, 0, 0);
  }
  libc.syscall(nr.SYS_rt_sigprocmask, blocking.SIG_SETMASK, before.address, 0, size, 0, 0);
  return written;
}

// A descriptor handed to a process by its pid, announced with a real-time signal: nothing is set up
// between the two but the receiver's handler. What they write to each other: docs/send-fd.md.

import { errno } from "../../native/errno.ts";
import { integer } from "../base/checks.ts";
import { type Abortable, Deadline, type TimeLimited } from "../base/deadline.ts";
import { UnixError } from "../base/errors.ts";
import type { FdLike } from "../fd/fd.ts";
import { allowTracer } from "../process/ptrace.ts";
import { signalName } from "../signals/names.ts";
import { checkFds, closeTransferred } from "../socket/send.ts";
import { Offer } from "./offer.ts";
import {
  mustBeAble,
  ownIdentity,
  type RealtimeSignal,
  ReceiverProcess,
  realtimeNumber,
} from "./receiver-process.ts";

/** How a descriptor is sent to a process. */
export interface SendFdOptions extends Abortable, TimeLimited {
  /** What the receiver listens to: "SIGRTMIN+3". Each program has its own, as with a port. */
  readonly realtimeSignal: RealtimeSignal | number;
  /** Milliseconds until the receiver must have taken it, then ETIMEDOUT. Default 10,000. */
  readonly timeoutMs?: number | undefined;
  /**
   * The descriptor is transferred: it is closed here once the receiver has it. Else it stays yours.
   */
  readonly transfer?: boolean | undefined;
}

const TIMEOUT_MS = 10_000;

interface Sending {
  readonly target: ReceiverProcess;
  readonly offer: Offer;
  readonly number: number;
  readonly signal: AbortSignal;
}

/** null when it was taken, the receiver's answer if it was not. @throws if it was not taken */
async function hand({ target, offer, number, signal }: Sending): Promise<UnixError | null> {
  try {
    signal.throwIfAborted();
    target.handle.signal(number, { value: offer.number });
    target.listening(); // one that stopped just before ignores signals: it will not answer
    return await offer.answered(target, signal);
  } catch (error) {
    if (offer.withdraw()) throw error;
    // it has been read: what the receiver says of it holds; if it says nothing, it has it
    const alive = target.handle.alive();
    const answer = offer.answer();
    if (answer === undefined && !alive) throw error;
    return answer ?? null;
  }
}

/**
 * Give process `to` a duplicate of `fd`: resolves when the receiver has it, and has said so. It is
 * announced with a real-time signal that the receiver, `receiveFds` or a program that does as
 * docs/send-fd.md says, listens to. `to` is a pid, or better a ProcessHandle or pidfd, which cannot
 * mean a later process with the same pid. `fd` is looked at before this returns: close it any time.
 *
 * The receiver takes it from this process (pidfd_getfd), so it must have the right to trace it: the
 * same user with no fewer capabilities, or CAP_SYS_PTRACE. Under Yama this process allows the one
 * receiver, one send at a time, and none afterwards (which undoes a PR_SET_PTRACER of your own).
 *
 * Either it is taken, or it fails, is told why, and nothing is left anywhere. A process without a
 * handler for the signal is left alone: the signal would end it. One that has a handler of another
 * kind there gets a signal that it does not expect, and does not answer. Both must be in the same
 * pid namespace.
 *
 * @throws TypeError, RangeError before any call
 * @throws UnixError ESRCH (it has ended), ECONNREFUSED (it does not listen), EPERM (no right to
 *   signal it, or it has none to take it), EAGAIN (its queue of signals is full), EACCES (it
 *   refused), ETIMEDOUT, EOPNOTSUPP (another pid namespace), EBADF, EMFILE, ETOOMANYREFS; the
 *   signal's reason
 * @throws UnsupportedError without pidfds (also if a seccomp filter refuses the calls), without
 *   /proc, and if Yama asks for it in a Worker; not on macOS
 * @see pidfd_getfd(2), pidfd_send_signal(2), sigqueue(3)
 */
export async function sendFd(
  to: number | Exclude<FdLike, number>,
  fd: FdLike,
  options: SendFdOptions,
): Promise<void> {
  const number = realtimeNumber(options.realtimeSignal);
  const ms = integer("timeoutMs", options.timeoutMs ?? TIMEOUT_MS);
  const { transfer = false } = options;
  const numbers = checkFds([fd], transfer);
  options.signal?.throwIfAborted();
  mustBeAble("sender");
  using target = new ReceiverProcess(to, number);
  const { party, status } = target.listening();
  const needsLeave = target.needsPtracer(status);
  using offer = new Offer({ from: ownIdentity(), to: party, fd: numbers[0]! });
  using deadline = new Deadline(options.signal, ms, () => late(target, { number, ms }));
  const { signal } = deadline;
  const tracer = { pid: party.pid, alive: () => target.handle.alive() };
  using _leave = needsLeave ? await allowTracer(tracer, signal) : null;
  const refusal = await hand({ target, offer, number, signal });
  if (refusal !== null) throw refusal;
  closeTransferred({ fds: [fd], numbers, transfer });
}

function late(target: ReceiverProcess, { number, ms }: { number: number; ms: number }): UnixError {
  const filter = target.underFilter() ? "; its seccomp filter may refuse pidfd_getfd" : "";
  const took = `${target.name} handles ${signalName(number)}, but took nothing for ${ms} ms`;
  const hint = `${took}${filter}`;
  return new UnixError("pidfd_getfd", -errno.ETIMEDOUT, { hint });
}

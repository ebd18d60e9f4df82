// Whether the kernel makes a call for us, asked without harm: a filter (seccomp) may kill the
// process that makes it. So under a filter another process makes it, with arguments that have no
// effect.

import { errno } from "../../native/errno.ts";
import { nr } from "../../native/numbers.ts";
import { socket as c, protocol } from "../../native/socket.ts";
import { errnoName } from "../base/errors.ts";
import { REFUSED, underFilter } from "../base/filter.ts";
import { type KernelVersion, kernelIsAtLeast } from "../base/kernel.ts";
import { libc } from "./libc.ts";
import { smallText } from "./proc.ts";
import { result } from "./result.ts";
import { type TriedCall, tryCall } from "./try-call.ts";

const NOTHING = -1;

/** A call, the kernel that brought it, and arguments that it refuses before it does anything. */
interface Asked {
  readonly number: number | null;
  readonly since: KernelVersion;
  readonly args: readonly (number | null)[];
}

const calls = {
  io_setup: { number: nr.SYS_io_setup, since: "4.19", args: [0, 0, 0] },
  memfd_create: { number: nr.SYS_memfd_create, since: "3.17", args: [0, NOTHING, 0] },
  mq_open: { number: nr.SYS_mq_open, since: "2.6.6", args: [0, 0, 0] },
  pidfd_getfd: { number: nr.SYS_pidfd_getfd, since: "5.6", args: [NOTHING, NOTHING, 0] },
  pidfd_open: { number: nr.SYS_pidfd_open, since: "5.3", args: [NOTHING, 0, 0] },
  pidfd_send_signal: { number: nr.SYS_pidfd_send_signal, since: "5.1", args: [NOTHING, 0, 0] },
  socket: {
    number: nr.SYS_socket,
    since: "3.3",
    args: [c.AF_NETLINK, c.SOCK_DGRAM, protocol.NETLINK_SOCK_DIAG],
  },
} as const satisfies Readonly<Record<string, Asked>>;

export type AskedCall = keyof typeof calls;

/** The kernel that brought a call. */
export const sinceOf = (name: AskedCall): KernelVersion => calls[name].since;

/** Errors that the kernel gives for such arguments, and a filter would not. */
const answers = new Set([0, errno.EBADF, errno.EFAULT, errno.EINVAL]);

function ask(name: AskedCall): TriedCall {
  const { number, args } = calls[name];
  const [first = NOTHING, second = NOTHING, third = NOTHING] = args.map((one) => one ?? NOTHING);
  if (number === null) return { unknown: "only Linux has it" };
  if (underFilter()) return tryCall(number, first, second, third);
  if (name === "socket") return 0; // it would be open then
  const value = result(libc.syscall(number, first, second, third, 0, 0, 0));
  return Math.min(value, 0);
}

const known = new Map<AskedCall, string | null>();

/**
 * Why this process must not make the call, which would kill it; null if it may. Asked once: filters
 * come when a program is started, and are never taken away.
 */
export function whyFatal(name: AskedCall): string | null {
  let why = known.get(name);
  if (why === undefined) {
    const found = underFilter(smallText) ? ask(name) : 0;
    why = typeof found === "object" && "endedBy" in found ? reasonOf(name, found) : null;
    known.set(name, why);
  }
  return why;
}

const made = new Set<AskedCall>();

/** Why it is not made; null if it is. It is asked without harm, under a filter by another. */
export function whyRefused(name: AskedCall): string | null {
  if (made.has(name)) return null;
  const why = reasonOf(name, ask(name));
  if (why === null) made.add(name);
  return why;
}

function reasonOf(name: AskedCall, found: TriedCall): string | null {
  if (typeof found === "number") {
    return answers.has(-found) ? null : (explain(name, found) ?? `${name}: ${errnoName(-found)}`);
  }
  if ("endedBy" in found) return `${name}: the seccomp filter in force kills its caller`;
  const why = "unknown, a seccomp filter is in force and it could not be tried";
  return `${name}: ${why}: ${found.unknown}`;
}

/** What a failure means that may be a filter's, or the age of the kernel; null: neither. */
function explain(name: AskedCall, failed: number): string | null {
  const { since } = calls[name];
  const code = errnoName(-failed);
  if (failed === -errno.ENOSYS && !kernelIsAtLeast(since))
    return `${name} came with Linux ${since}`;
  if (failed === -errno.EAFNOSUPPORT) {
    return `${name}: ${code}: RestrictAddressFamilies= of the unit leaves AF_NETLINK out, perhaps`;
  }
  if (failed !== -errno.ENOSYS && failed !== -errno.EPERM) return null;
  if (underFilter()) return `${name}: ${code}: ${REFUSED}`;
  return failed === -errno.ENOSYS ? `${name}: ENOSYS: not implemented by this kernel` : null;
}

/**
 * The same of a call that has just failed, for its error. EPERM may have other reasons, so the call
 * is tried again, without harm; null: there is nothing about it that a filter or an age explains.
 */
export function whyFailed(name: AskedCall, failed: number): string | null {
  if (failed === -errno.EPERM && (!underFilter() || whyRefused(name) === null)) return null;
  return explain(name, failed);
}

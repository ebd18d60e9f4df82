// Whether the kernel makes a call for us, asked without harm: a filter (seccomp) may end whoever
// makes it. So under a filter another process does, with arguments that lead to nothing.

import { readFileSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { netlink } from "../../native/netlink.ts";
import { nr } from "../../native/numbers.ts";
import { socket as c } from "../../native/socket.ts";
import { errnoName } from "../base/errors.ts";
import { type Attempt, tryCall } from "../syscalls/try-call.ts";

/** Whether this thread is under a seccomp filter; without /proc it may be. @see seccomp(2) */
export function underFilter(): boolean {
  try {
    const status = readFileSync("/proc/thread-self/status", "utf8");
    return /^Seccomp:\s*0/m.exec(status) === null;
  } catch {
    return true;
  }
}

const NOTHING = -1;

/** Calls, and arguments with which the kernel refuses them before it does anything. */
const calls = {
  io_setup: [nr.SYS_io_setup, 0, 0, 0],
  memfd_create: [nr.SYS_memfd_create, 0, NOTHING, 0],
  mq_open: [nr.SYS_mq_open, 0, 0, 0],
  pidfd_getfd: [nr.SYS_pidfd_getfd, NOTHING, NOTHING, 0],
  pidfd_open: [nr.SYS_pidfd_open, NOTHING, 0, 0],
  pidfd_send_signal: [nr.SYS_pidfd_send_signal, NOTHING, 0, 0],
  socket: [nr.SYS_socket, c.AF_NETLINK, c.SOCK_DGRAM, netlink.NETLINK_SOCK_DIAG],
} as const;

export type AskedCall = keyof typeof calls;

/** What the kernel says of such arguments, and no filter would. */
const answers = new Set([0, errno.EBADF, errno.EFAULT, errno.EINVAL]);

function ask(name: AskedCall): Attempt {
  const [number, ...args] = calls[name];
  const [first = NOTHING, second = NOTHING, third = NOTHING] = args.map((one) => one ?? NOTHING);
  if (number === null) return { unknown: "only Linux has it" };
  return tryCall(number, first, second, third);
}

/** Why this process is not to make the call, which would be its end; null where it may. */
export function whyFatal(name: AskedCall): string | null {
  if (!underFilter()) return null;
  const found = ask(name);
  return typeof found === "object" && "endedBy" in found ? reasonOf(name, found) : null;
}

/** Why it is not made, as another process found out; null where it is. */
export const whyRefused = (name: AskedCall): string | null => reasonOf(name, ask(name));

function reasonOf(name: AskedCall, found: Attempt): string | null {
  if (typeof found === "number") {
    if (answers.has(-found)) return null;
    return `${name}: ${errnoName(-found)}, perhaps from the seccomp filter that is in force`;
  }
  if ("endedBy" in found) return `${name}: the seccomp filter in force ends whoever calls it`;
  const why = "unknown, a seccomp filter is in force and it could not be tried";
  return `${name}: ${why}: ${found.unknown}`;
}

// The beginning of a siginfo_t: which signal, from where, and what its sender said.

import { origin, siginfo, signals } from "../../native/signal.ts";

/**
 * What sent a signal: "user" kill(2), "thread" tgkill(2), "queue" sigqueue(3), "timer"
 * timer_create(2), "message-queue" mq_notify(3), "async-io" aio(7), "io" fcntl(2) F_SETSIG, "child"
 * a child process that ended or stopped, "kernel" the kernel itself (a terminal, alarm(2), …),
 * "other" a code that has no name here, "unknown" the origin was not told.
 */
export type SignalOrigin =
  | "user"
  | "thread"
  | "queue"
  | "timer"
  | "message-queue"
  | "async-io"
  | "io"
  | "child"
  | "kernel"
  | "other"
  | "unknown";

/** One decoded siginfo_t. What a signal of its origin does not have is undefined. */
export interface SignalInfo {
  readonly number: number;
  readonly origin: SignalOrigin;
  /** si_code as it is; undefined if it was not told. */
  readonly siCode: number | undefined;
  readonly pid: number | undefined;
  readonly uid: number | undefined;
  readonly value: number | undefined;
  readonly pointer: bigint | undefined;
  readonly status: number | undefined;
}

const origins = new Map<number | null, SignalOrigin>([
  [origin.SI_USER, "user"],
  [origin.SI_TKILL, "thread"],
  [origin.SI_QUEUE, "queue"],
  [origin.SI_TIMER, "timer"],
  [origin.SI_MESGQ, "message-queue"],
  [origin.SI_ASYNCIO, "async-io"],
  [origin.SI_SIGIO, "io"],
  [origin.SI_KERNEL, "kernel"],
]);

function originOf(number: number, code: number): SignalOrigin {
  const known = origins.get(code);
  if (known !== undefined) return known;
  if (code < 0) return "other";
  if (number === signals.SIGCHLD) return "child";
  return number === signals.SIGIO ? "io" : "kernel";
}

const withSender: ReadonlySet<SignalOrigin> = new Set([
  "user",
  "thread",
  "queue",
  "message-queue",
  "async-io",
  "child",
  "other",
]);
const withValue: ReadonlySet<SignalOrigin> = new Set([
  "queue",
  "timer",
  "message-queue",
  "async-io",
  "other",
]);

/** Decode the siginfo_t that begins at byte `at`; 32 bytes of it are read. */
export function decodeSiginfo(view: DataView, at: number): SignalInfo {
  const number = view.getInt32(at + siginfo.at.si_signo, true);
  const siCode = view.getInt32(at + siginfo.at.si_code, true);
  const from = originOf(number, siCode);
  const valued = withValue.has(from);
  const sent = withSender.has(from);
  const pid = view.getInt32(at + siginfo.at.si_pid, true);
  const value = view.getInt32(at + siginfo.at.si_value, true);
  return {
    number,
    origin: from,
    siCode,
    pid: sent && pid > 0 ? pid : undefined, // 0: a process that this pid namespace does not see
    uid: sent ? view.getUint32(at + siginfo.at.si_uid, true) : undefined,
    value: valued ? value : undefined,
    pointer: valued ? view.getBigUint64(at + siginfo.at.si_value, true) : undefined,
    status: from === "child" ? view.getInt32(at + siginfo.at.si_status, true) : undefined,
  };
}

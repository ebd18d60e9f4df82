// Limits of message queues, and which one a call met.

import { readFileSync } from "node:fs";
import { errno } from "../../native/errno.ts";
import { file } from "../../native/file.ts";
import { type ErrorDetail, UnixError, UnsupportedError } from "../base/errors.ts";
import { toJson } from "../base/printable.ts";
import { whyFailed } from "../syscalls/asked-calls.ts";
import { close, open } from "../syscalls/fd.ts";

/** Which limit a queue or a message met. */
export type QueueLimit =
  | "RLIMIT_MSGQUEUE"
  | "RLIMIT_NOFILE"
  | "queues_max"
  | "msg_max"
  | "msgsize_max"
  | "messageBytes";

/**
 * A queue cannot be made, or a message not be sent, because of a limit. The message says which,
 * what it is, and how it is raised.
 *
 * `code` is the kernel's: EMFILE (RLIMIT_MSGQUEUE or RLIMIT_NOFILE), ENOSPC (`queues_max`), EINVAL
 * (`msg_max`, `msgsize_max`), EMSGSIZE (the queue's own `messageBytes`).
 *
 * @see mq_overview(7)
 */
export class QueueLimitError extends UnixError {
  /** Always the class's name. */
  override readonly name = "QueueLimitError";
  /** Which limit. */
  readonly limit: QueueLimit;
  /** Its value if that can be told, in messages or bytes; null otherwise. */
  readonly value: number | null;

  /** @internal */
  constructor(
    syscall: string,
    result: number,
    detail: ErrorDetail & { limit: QueueLimit; value: number | null },
  ) {
    super(syscall, result, detail);
    this.limit = detail.limit;
    this.value = detail.value;
  }
}

/** @internal The size that a new queue gets. */
export interface QueueSize {
  readonly maxMessages: number;
  readonly messageBytes: number;
}

type Sysctl = "msg_default" | "msg_max" | "msgsize_default" | "msgsize_max" | "queues_max";

function sysctl(name: Sysctl): number | null {
  try {
    return Number(readFileSync(`/proc/sys/fs/mqueue/${name}`, "utf8"));
  } catch {
    return null; // no /proc
  }
}

/** The kernel's own (ipc/msgutil.c, ipc_namespace.h), for when /proc does not say. */
const DEFAULT_MESSAGES = 10;
const DEFAULT_BYTES = 8192;

/** @internal A size with what was left out as the kernel would have it; undefined: all of it. */
export function completeSize({
  maxMessages,
  messageBytes,
}: {
  maxMessages?: number | undefined;
  messageBytes?: number | undefined;
}): QueueSize | undefined {
  if (maxMessages === undefined && messageBytes === undefined) return undefined;
  return {
    maxMessages: maxMessages ?? sysctl("msg_default") ?? DEFAULT_MESSAGES,
    messageBytes: messageBytes ?? sysctl("msgsize_default") ?? DEFAULT_BYTES,
  };
}

const NO_QUEUES = "this kernel has no POSIX message queues";

const raise = (name: Sysctl): string => `sysctl fs.mqueue.${name} raises it`;

/** @internal mq_open's errno as an error that says what to do. */
export function openError(result: number, name: string, size: QueueSize | undefined): Error {
  switch (-result) {
    case errno.ENOSYS:
      return new UnsupportedError("messageQueues", whyFailed("mq_open", result) ?? NO_QUEUES);
    case errno.EMFILE:
      return tooManyOpen(result, name);
    case errno.ENOSPC:
      return tooManyQueues(result, name);
    case errno.EINVAL:
      return tooLarge(result, name, size);
    default: {
      const hint = whyFailed("mq_open", result) ?? hints.get(-result);
      return new UnixError("mq_open", result, { address: name, hint });
    }
  }
}

const hints = new Map<number, string>([
  [errno.ENOENT, "no queue has this name; create: true makes one"],
  [errno.EEXIST, "a queue has this name already, and a new one was asked for"],
  [errno.EACCES, "the queue's mode does not let this user in"],
]);

/** RLIMIT_MSGQUEUE and RLIMIT_NOFILE say the same: is there room for any descriptor? */
function tooManyOpen(result: number, address: string): QueueLimitError {
  const other = open("/", file.O_RDONLY);
  if (other < 0) {
    const hint = "this process has as many descriptors as RLIMIT_NOFILE lets it; ulimit -n";
    const limit = "RLIMIT_NOFILE";
    return new QueueLimitError("mq_open", result, { address, hint, limit, value: null });
  }
  close(other);
  const value = rlimit("Max msgqueue size");
  const bytes = value === null ? "" : ` of ${value} bytes`;
  const hint =
    `all queues of this user together exceed RLIMIT_MSGQUEUE${bytes}; make smaller ones, ` +
    "unlink those left behind, or raise it (prlimit --msgqueue)";
  const limit = "RLIMIT_MSGQUEUE";
  return new QueueLimitError("mq_open", result, { address, hint, limit, value });
}

function rlimit(title: string): number | null {
  try {
    const limits = readFileSync("/proc/self/limits", "utf8");
    const soft = limits.split("\n").find((line) => line.startsWith(title));
    const value = Number(soft?.slice(title.length).trim().split(/\s+/)[0]);
    return Number.isNaN(value) ? null : value;
  } catch {
    return null; // no /proc
  }
}

function tooManyQueues(result: number, address: string): QueueLimitError {
  const value = sysctl("queues_max");
  const hint = `there are ${value ?? "too many"} queues on this system; ${raise("queues_max")}`;
  return new QueueLimitError("mq_open", result, { address, hint, limit: "queues_max", value });
}

function tooLarge(result: number, address: string, size: QueueSize | undefined): UnixError {
  const limits = { msg_max: sysctl("msg_max"), msgsize_max: sysctl("msgsize_max") };
  const limit = size !== undefined && beyond(size, limits);
  if (!limit) return new UnixError("mq_open", result, { address });
  const [asked, value] =
    limit === "msg_max"
      ? [`maxMessages ${size.maxMessages}`, limits.msg_max]
      : [`messageBytes ${size.messageBytes}`, limits.msgsize_max];
  const hint = `${asked} is more than ${value ?? limit}; ${raise(limit)}`;
  return new QueueLimitError("mq_open", result, { address, hint, limit, value });
}

function beyond(
  { maxMessages, messageBytes }: QueueSize,
  limits: { msg_max: number | null; msgsize_max: number | null },
): "msg_max" | "msgsize_max" | null {
  if (limits.msg_max !== null && maxMessages > limits.msg_max) return "msg_max";
  return limits.msgsize_max !== null && messageBytes > limits.msgsize_max ? "msgsize_max" : null;
}

/** @internal A message does not fit into its queue. */
export function messageTooLong(bytes: number, value: number): QueueLimitError {
  const hint = `${bytes} bytes in one message; this queue was made for ${value} at most`;
  const limit = "messageBytes";
  return new QueueLimitError("mq_timedsend", -errno.EMSGSIZE, { hint, limit, value });
}

const MAX_NAME_BYTES = 255;
const encoder = new TextEncoder();

/**
 * @internal Check a queue's name; musl would let through what glibc and the kernel refuse (facts:
 *   #libcs-disagree).
 * @throws TypeError, RangeError
 */
export function checkQueueName(name: unknown): asserts name is string {
  if (typeof name !== "string") {
    throw new TypeError(`a queue's name is a string, not ${name === null ? "null" : typeof name}`);
  }
  const rest = name.slice(1);
  const bytes = encoder.encode(rest).length;
  const special = rest === "." || rest === ".." || /[/\0]/.test(rest);
  if (name.startsWith("/") && bytes > 0 && bytes <= MAX_NAME_BYTES && !special) return;
  const rule = `"/" and then 1 to ${MAX_NAME_BYTES} bytes, no "/" or NUL among them`;
  const given = toJson(name.length > 40 ? `${name.slice(0, 40)}…` : name);
  throw new RangeError(`a queue's name is ${rule}, and not "/." or "/..": not ${given}`);
}

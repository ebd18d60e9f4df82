// Which of libc's functions are traced, in which group, and what each argument is.

import { lock, memfd } from "../../../native/file.ts";
import { mapping } from "../../../native/mapping.ts";
import { nr } from "../../../native/numbers.ts";
import { eventfd } from "../../../native/poll.ts";
import { prctl, wait } from "../../../native/process.ts";
import { socket } from "../../../native/socket.ts";
import type { linux, posix } from "../../../native/symbols.ts";
import {
  acceptFlags,
  command,
  epollFlags,
  epollIn,
  epollOp,
  epollOut,
  family,
  fcntlArgument,
  fcntlResult,
  level,
  nameIn,
  nameOut,
  openFlags,
  opening,
  optionIn,
  optionOut,
  pollfds,
  seconds,
  socketOption,
  socketType,
} from "./arguments.ts";
import {
  dataIn,
  dataOut,
  decimal,
  flags,
  headerIn,
  headerOut,
  headers,
  hex,
  length,
  type Made,
  messageFlags,
  named,
  octal,
  type Show,
  signalNumber,
  text,
  two,
} from "./values.ts";

/** What `BUNIX_DEBUG=…` can ask for, beside everything. */
export const groups = [
  "socket",
  "message",
  "poll",
  "fd",
  "file",
  "memory",
  "process",
  "queue",
] as const;
export type Group = (typeof groups)[number];

/** A function: its group, its arguments, and its result if that is more than a number. */
export interface Traced {
  readonly group: Group;
  readonly args: readonly Show[];
  readonly result?: (made: Made) => string;
}

const call = (group: Group, args: readonly Show[]): Traced => ({ group, args });
const fd = decimal;

/** No system calls: libc's own, and what the vDSO answers. */
type Untraced =
  | "__errno_location"
  | "__libc_current_sigrtmax"
  | "__libc_current_sigrtmin"
  | "clock_gettime"
  | "dlsym"
  | "getgrgid_r"
  | "getgrnam_r"
  | "getpwnam_r"
  | "getpwuid_r"
  | "malloc"
  | "pthread_attr_init"
  | "pthread_attr_setstacksize"
  | "pthread_create"
  | "pthread_timedjoin_np"
  | "pthread_tryjoin_np"
  | "syscall";

type Name = Exclude<keyof typeof posix | keyof typeof linux, Untraced>;

/** Each function that is traced. Made when it is asked for, which most programs never do. */
export const tracedCalls = (): Readonly<Record<Name, Traced>> => ({
  accept: call("socket", [fd, hex, hex]),
  accept4: call("socket", [fd, hex, hex, acceptFlags]),
  bind: call("socket", [fd, nameIn, decimal]),
  chmod: call("file", [text, octal]),
  chown: call("file", [text, decimal, decimal]),
  close: call("fd", [fd]),
  connect: call("socket", [fd, nameIn, decimal]),
  dup3: call("fd", [fd, fd, openFlags]),
  epoll_create1: call("poll", [epollFlags]),
  epoll_ctl: call("poll", [fd, epollOp, fd, epollIn]),
  epoll_wait: call("poll", [fd, epollOut, decimal, decimal]),
  eventfd: call("poll", [decimal, flags(eventfd, "EFD_")]),
  fchmod: call("file", [fd, octal]),
  fcntl: { group: "fd", args: [fd, command, fcntlArgument], result: fcntlResult },
  flock: call("file", [fd, flags(lock, "LOCK_")]),
  ftruncate: call("memory", [fd, decimal]),
  getpeername: call("socket", [fd, nameOut, length]),
  getsockname: call("socket", [fd, nameOut, length]),
  getsockopt: call("socket", [fd, level, socketOption, optionOut, length]),
  kill: call("process", [decimal, signalNumber]),
  listen: call("socket", [fd, decimal]),
  memfd_create: call("memory", [text, flags(memfd, "MFD_")]),
  mkfifo: call("file", [text, octal]),
  mq_getattr: call("queue", [fd, hex]),
  mq_notify: call("queue", [fd, hex]),
  mq_open: call("queue", [text, opening, octal, hex]),
  mq_timedreceive: call("queue", [fd, dataOut, decimal, hex, seconds]),
  mq_timedsend: call("queue", [fd, dataIn, decimal, decimal, seconds]),
  mq_unlink: call("queue", [text]),
  munmap: call("memory", [hex, decimal]),
  open: call("file", [text, opening, octal]),
  pipe2: call("fd", [two, openFlags]),
  poll: call("poll", [pollfds, decimal, decimal]),
  read: call("fd", [fd, dataOut, decimal]),
  recv: call("message", [fd, dataOut, decimal, messageFlags]),
  recvmmsg: call("message", [fd, headers(true), decimal, messageFlags, hex]),
  recvmsg: call("message", [fd, headerOut, messageFlags]),
  sched_yield: call("process", []),
  send: call("message", [fd, dataIn, decimal, messageFlags]),
  sendmmsg: call("message", [fd, headers(false), decimal, messageFlags]),
  sendmsg: call("message", [fd, headerIn, messageFlags]),
  setsockopt: call("socket", [fd, level, socketOption, optionIn, decimal]),
  shutdown: call("socket", [fd, named(socket, "SHUT_")]),
  sigaction: call("process", [signalNumber, hex, hex]),
  socket: call("socket", [family, socketType, decimal]),
  socketpair: call("socket", [family, socketType, decimal, two]),
  waitid: call("process", [named(wait, "P_"), decimal, hex, flags(wait, "W")]),
  write: call("fd", [fd, dataIn, decimal]),
});

/** A call that libc does not wrap, or not as we need it: its name and what it is, by its number. */
export interface Direct extends Traced {
  readonly name: string;
}

function directCalls(): ReadonlyMap<number, Direct> {
  const direct = new Map<number, Direct>();
  const add = (name: string, nr: number | null, traced: Traced): void => {
    if (nr !== null) direct.set(nr, { name, ...traced });
  };
  const { sendmsg, sendmmsg } = tracedCalls();
  const { SYS_io_setup, SYS_io_submit, SYS_sendmsg, SYS_sendmmsg, SYS_close_range } = nr;
  const { SYS_epoll_pwait2 } = nr;
  add("io_setup", SYS_io_setup, call("poll", [decimal, hex]));
  add("io_submit", SYS_io_submit, call("poll", [hex, decimal, hex]));
  add("epoll_pwait2", SYS_epoll_pwait2, call("poll", [fd, epollOut, decimal, seconds]));
  add("sendmsg", SYS_sendmsg, sendmsg);
  add("sendmmsg", SYS_sendmmsg, sendmmsg);
  add("close_range", SYS_close_range, call("fd", [decimal, decimal, decimal]));
  add("ioctl", nr.SYS_ioctl, call("fd", [fd, hex, hex]));
  add("pidfd_getfd", nr.SYS_pidfd_getfd, call("process", [fd, fd, decimal]));
  add("pidfd_open", nr.SYS_pidfd_open, call("process", [decimal, decimal]));
  add(
    "pidfd_send_signal",
    nr.SYS_pidfd_send_signal,
    call("process", [fd, signalNumber, hex, decimal]),
  );
  add("fcntl", nr.SYS_fcntl, call("fd", [fd, decimal, hex]));
  add("statx", nr.SYS_statx, call("file", [fd, hex, hex, hex, hex]));
  add("prctl", nr.SYS_prctl, call("process", [named(prctl, "PR_"), decimal]));
  add("rt_sigqueueinfo", nr.SYS_rt_sigqueueinfo, call("process", [decimal, signalNumber, hex]));
  add("mmap", nr.SYS_mmap, {
    group: "memory",
    args: [hex, decimal, flags(mapping, "PROT_"), flags(mapping, "MAP_"), fd, decimal],
    result: ({ result }) => `0x${result.toString(16)}`,
  });
  return direct;
}

let direct: ReadonlyMap<number, Direct> | undefined;

/** What `syscall(number, …)` is; null for a number that is not in the tables. */
export const directCall = (number: number): Direct | null => {
  direct ??= directCalls();
  return direct.get(number) ?? null;
};

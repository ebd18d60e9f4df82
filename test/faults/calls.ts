// Which faults each call may return, from the manual pages of sections 2, 3 and 7. A name in
// capital letters is an errno; the others change what the real call does:
//
//   short   only the first byte is taken or given
//   one     only the first message of a batch
//   few     room for one descriptor: the kernel closes the others and says MSG_CTRUNC
//   none    no room for control data
//   flag    MSG_CTRUNC, although all of it is there
//   absent  it says that there is no such file

/** By the call, with what it does or what it is made on where that matters. */
const faults: Readonly<Record<string, string>> = {
  accept4: "EINTR EAGAIN ECONNABORTED EMFILE ENFILE ENOBUFS ENOMEM EPERM",
  bind: "EACCES EADDRINUSE ENOMEM EROFS",
  chmod: "EPERM EIO",
  chown: "EPERM EIO",
  close: "EINTR EIO",
  connect: "EAGAIN ECONNREFUSED EACCES EPERM ENOENT ENOMEM",
  dup3: "EINTR EBUSY EMFILE",
  epoll_create1: "EMFILE ENFILE ENOMEM",
  epoll_ctl: "ENOMEM ENOSPC",
  epoll_wait: "EINTR",
  eventfd: "EMFILE ENFILE ENOMEM",
  fchmod: "EPERM EIO",
  "fcntl F_DUPFD_CLOEXEC": "EMFILE ENOMEM",
  "fcntl F_GETFD": "EBADF",
  "fcntl F_SETFD": "EBADF",
  "fcntl F_GETFL": "EBADF",
  "fcntl F_SETFL": "EPERM",
  "fcntl F_SETPIPE_SZ": "EPERM ENOMEM",
  "fcntl F_GET_SEALS": "EINVAL",
  "fcntl F_ADD_SEALS": "EBUSY EPERM",
  flock: "EINTR EAGAIN ENOLCK",
  ftruncate: "EINTR EPERM EIO",
  getgrgid_r: "EINTR ENOENT EIO EMFILE ENFILE ENOMEM ERANGE",
  getgrnam_r: "EINTR ENOENT EIO EMFILE ENFILE ENOMEM ERANGE",
  getpwnam_r: "EINTR ENOENT EIO EMFILE ENFILE ENOMEM ERANGE",
  getpwuid_r: "EINTR ENOENT EIO EMFILE ENFILE ENOMEM ERANGE",
  getpeername: "ENOBUFS ENOTCONN",
  getsockname: "ENOBUFS",
  getsockopt: "ENOPROTOOPT ENOMEM EMFILE",
  kill: "EPERM ESRCH",
  listen: "EADDRINUSE EOPNOTSUPP",
  memfd_create: "EMFILE ENFILE ENOMEM",
  mkfifo: "EACCES ENOSPC",
  mq_getattr: "EBADF",
  mq_notify: "EBUSY ENOMEM",
  mq_open: "EACCES EMFILE ENFILE ENOMEM ENOSPC",
  mq_timedreceive: "EINTR EAGAIN ETIMEDOUT EBADF",
  mq_timedsend: "EINTR EAGAIN ETIMEDOUT EBADF",
  mq_unlink: "EACCES",
  open: "EINTR EACCES EMFILE ENFILE ENOENT ENOMEM",
  pipe2: "EMFILE ENFILE",
  poll: "EINTR ENOMEM",
  pthread_create: "EAGAIN",
  pthread_timedjoin_np: "ETIMEDOUT",
  read: "EINTR EAGAIN EIO short",
  "read pipe": "EINTR EAGAIN",
  recv: "EINTR EAGAIN ENOBUFS ENOMEM",
  "recvmmsg datagram": "EINTR EAGAIN ENOMEM one few none flag",
  "recvmmsg seqpacket": "EINTR EAGAIN ECONNRESET ENOMEM one few none flag",
  "recvmsg datagram": "EINTR EAGAIN ENOBUFS ENOMEM few none flag",
  "recvmsg seqpacket": "EINTR EAGAIN ECONNRESET ENOMEM few none flag",
  "recvmsg stream": "EINTR EAGAIN ECONNRESET ENOMEM short few none flag",
  send: "EINTR EAGAIN ECONNREFUSED ENOBUFS ENOMEM",
  "send datagram": "EINTR EAGAIN ECONNREFUSED ECONNRESET EMSGSIZE ENOBUFS ENOMEM",
  "send seqpacket": "EINTR EAGAIN ECONNRESET EPIPE EMSGSIZE ENOBUFS ENOMEM",
  "send stream": "EINTR EAGAIN ECONNRESET EPIPE ENOBUFS ENOMEM short",
  "sendmmsg datagram": "EINTR EAGAIN ECONNREFUSED ENOBUFS ENOMEM one",
  "sendmmsg seqpacket": "EINTR EAGAIN ECONNRESET EPIPE ENOBUFS ENOMEM one",
  "sendmsg datagram": "EINTR EAGAIN ECONNREFUSED EPERM ETOOMANYREFS ENOBUFS ENOMEM",
  "sendmsg seqpacket": "EINTR EAGAIN ECONNRESET EPIPE ETOOMANYREFS ENOBUFS ENOMEM",
  "sendmsg stream": "EINTR EAGAIN ECONNRESET EPIPE ETOOMANYREFS ENOBUFS ENOMEM short",
  setsockopt: "ENOPROTOOPT ENOMEM EPERM",
  shutdown: "ENOTCONN",
  sigaction: "EINVAL",
  socket: "EACCES EMFILE ENFILE ENOBUFS ENOMEM",
  socketpair: "EMFILE ENFILE ENOMEM",
  SYS_close_range: "ENOSYS EPERM ENOMEM",
  SYS_epoll_pwait2: "EINTR ENOSYS",
  SYS_fcntl: "EINVAL ENOLCK",
  SYS_getdents64: "ENOENT ENOMEM",
  SYS_ioctl: "EPERM ENOTTY",
  SYS_mmap: "EAGAIN ENFILE ENOMEM",
  SYS_pidfd_getfd: "EMFILE EPERM ESRCH",
  SYS_pidfd_open: "EMFILE ENFILE ENOMEM ENOSYS ESRCH",
  SYS_pidfd_send_signal: "EPERM ESRCH",
  SYS_prctl: "EINVAL",
  SYS_readlinkat: "EACCES ENOENT ENOMEM",
  SYS_rt_sigqueueinfo: "EAGAIN EPERM ESRCH",
  SYS_statx: "ENOSYS ENOMEM EACCES",
  waitid: "EINTR ECHILD",
  write: "EINTR EAGAIN EIO ENOSPC EPIPE short",

  // node:fs's
  closeSync: "EINTR EIO",
  existsSync: "absent",
  fchmodSync: "EPERM EROFS EIO",
  fstatSync: "EIO ENOMEM",
  ftruncateSync: "EINTR EIO ENOSPC",
  futimesSync: "EPERM EROFS EIO",
  linkSync: "EACCES EEXIST EIO EMLINK ENOSPC EROFS",
  lstatSync: "EACCES EIO ENOENT ENOMEM",
  mkdirSync: "EACCES EIO ENOSPC EROFS",
  mkdtempSync: "EACCES EIO ENOSPC EROFS",
  openSync: "EINTR EACCES EIO EMFILE ENFILE ENOENT ENOMEM",
  readFileSync: "EINTR EACCES EIO EMFILE ENFILE ENOENT ENOMEM",
  readdirSync: "EINTR EACCES EIO EMFILE ENFILE ENOENT ENOMEM",
  readlinkSync: "EACCES EIO ENOENT ENOMEM",
  realpathSync: "EACCES EIO ENOMEM",
  renameSync: "EACCES EIO ENOENT ENOSPC EROFS",
  rmSync: "EACCES EIO EROFS",
  readSync: "EINTR EIO ENOMEM",
  rmdirSync: "EACCES EIO EROFS",
  statSync: "EACCES EIO ENOENT ENOMEM",
  statfsSync: "EIO ENOMEM ENOSYS",
  unlinkSync: "EACCES EIO ENOENT EROFS",
  writeSync: "EINTR EIO ENOSPC",
};

/**
 * Left alone: the loop's own calls, which its first start has made already (loop.test.ts starts it
 * anew); what cannot fail.
 */
const sound = new Set([
  "SYS_io_destroy",
  "SYS_io_setup",
  "SYS_io_submit",
  "clock_gettime",
  "dlsym",
  "malloc",
  "munmap",
  "pthread_attr_init",
  "pthread_attr_setstacksize",
  "pthread_tryjoin_np",
  "sched_yield",
  "write eventfd",
]);

/** The faults of a call. Throws for a call that the table does not know. */
export function faultsOf(call: string): readonly string[] {
  const known = faults[call] ?? faults[call.split(" ")[0]!];
  if (known !== undefined && !sound.has(call)) return known.split(" ");
  if (sound.has(call)) return [];
  throw new Error(`add ${call} to the table of faults`);
}

/** What the library calls a call in its errors: its own name, or what stands for it there. */
const aliases: Readonly<Record<string, readonly string[]>> = {
  accept4: ["accept"],
  lstat: ["bind"], // what was bound is not there: its directory is another by now
  mq_timedreceive: ["mq_receive"],
  mq_timedsend: ["mq_send"],
  open: ["bind"], // the directory of a socket's file
  recvmmsg: ["recvmsg"],
  send: ["sendmsg"],
  sendmmsg: ["sendmsg"],
};

/** What node:fs calls its calls in its errors, where that is not their name. */
const saidByFs: Readonly<Record<string, string>> = {
  futimes: "futime",
  readFile: "open",
  realpath: "lstat",
  readdir: "scandir",
};

/** What node:fs says has failed in one of its functions: "lstat" for lstatSync. */
export function saidOf(name: string): string {
  const call = name.replace(/Sync$/, "");
  return saidByFs[call] ?? call;
}

/** Whether an error may say `syscall` where `call` failed. */
export function names(syscall: string, call: string): boolean {
  const name = saidOf(call.split(" ")[0]!.replace(/^SYS_/, ""));
  return syscall === name || (aliases[name] ?? []).includes(syscall);
}

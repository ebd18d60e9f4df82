// FFI signatures of libc, grouped by subject. Data only: src/syscalls/libc.ts opens them. "ptr"
// takes an address or a typed array; an array's address is taken inside the call
// (facts: #small-arrays-move). What is called for each message has the types that cost least
// (facts: #ffi-call-cost): a length goes as "ptr", which is as wide, and a ssize_t comes as its
// lower half, for no call moves 2³¹ bytes at once. No result is boxed, which would allocate
// (facts: #errno-right-after-the-call).

type Type = "i32" | "u32" | "u64" | "i64" | "i64_fast" | "ptr" | "void";
export interface Signature {
  readonly args: readonly Type[];
  readonly returns: Type;
}

const i32 = "i32";
const u32 = "u32";
const u64 = "u64";
const ptr = "ptr";
/** size_t, nfds_t, and the arguments of syscall(). */
const word = "ptr";
/** ssize_t: Linux cuts a transfer at 2³¹ − 4096 bytes, XNU answers an int. */
const size = "i32";

/** POSIX: there on every system. */
export const posix = {
  accept: { args: [i32, ptr, ptr], returns: i32 },
  bind: { args: [i32, ptr, u32], returns: i32 },
  chmod: { args: [ptr, u32], returns: i32 },
  chown: { args: [ptr, u32, u32], returns: i32 },
  clock_gettime: { args: [i32, ptr], returns: i32 },
  close: { args: [i32], returns: i32 },
  sched_yield: { args: [], returns: i32 },
  connect: { args: [i32, ptr, u32], returns: i32 },
  flock: { args: [i32, i32], returns: i32 },
  fchmod: { args: [i32, u32], returns: i32 },
  // variadic: see below
  fcntl: { args: [i32, i32, i32], returns: i32 },
  ftruncate: { args: [i32, "i64"], returns: i32 },
  // Not through errno: they return it.
  getgrgid_r: { args: [u32, ptr, ptr, u64, ptr], returns: i32 },
  getgrnam_r: { args: [ptr, ptr, ptr, u64, ptr], returns: i32 },
  getpwnam_r: { args: [ptr, ptr, ptr, u64, ptr], returns: i32 },
  getpwuid_r: { args: [u32, ptr, ptr, u64, ptr], returns: i32 },
  getpeername: { args: [i32, ptr, ptr], returns: i32 },
  getsockname: { args: [i32, ptr, ptr], returns: i32 },
  getsockopt: { args: [i32, i32, i32, ptr, ptr], returns: i32 },
  kill: { args: [i32, i32], returns: i32 },
  listen: { args: [i32, i32], returns: i32 },
  mkfifo: { args: [ptr, u32], returns: i32 },
  munmap: { args: [ptr, u64], returns: i32 },
  open: { args: [ptr, i32, u32], returns: i32 },
  poll: { args: [ptr, word, i32], returns: i32 },
  read: { args: [i32, ptr, word], returns: size },
  recv: { args: [i32, ptr, word, i32], returns: size },
  recvmsg: { args: [i32, ptr, i32], returns: size },
  send: { args: [i32, ptr, word, i32], returns: size },
  sendmsg: { args: [i32, ptr, i32], returns: size },
  setsockopt: { args: [i32, i32, i32, ptr, u32], returns: i32 },
  sigaction: { args: [i32, ptr, ptr], returns: i32 },
  shutdown: { args: [i32, i32], returns: i32 },
  socket: { args: [i32, i32, i32], returns: i32 },
  socketpair: { args: [i32, i32, i32, ptr], returns: i32 },
  waitid: { args: [i32, u32, ptr, i32], returns: i32 },
  write: { args: [i32, ptr, word], returns: size },
} as const satisfies Record<string, Signature>;

/** In glibc and musl, not in macOS. */
export const linux = {
  __errno_location: { args: [], returns: ptr },
  __libc_current_sigrtmax: { args: [], returns: i32 },
  __libc_current_sigrtmin: { args: [], returns: i32 },
  accept4: { args: [i32, ptr, ptr, i32], returns: i32 },
  dlsym: { args: [ptr, ptr], returns: ptr },
  dup3: { args: [i32, i32, i32], returns: i32 },
  epoll_create1: { args: [i32], returns: i32 },
  epoll_ctl: { args: [i32, i32, i32, ptr], returns: i32 },
  epoll_wait: { args: [i32, ptr, i32, i32], returns: i32 },
  eventfd: { args: [u32, i32], returns: i32 },
  malloc: { args: [u64], returns: ptr },
  memfd_create: { args: [ptr, u32], returns: i32 },
  mq_getattr: { args: [i32, ptr], returns: i32 },
  mq_notify: { args: [i32, ptr], returns: i32 },
  mq_open: { args: [ptr, i32, u32, ptr], returns: i32 },
  mq_timedreceive: { args: [i32, ptr, word, ptr, ptr], returns: size },
  mq_timedsend: { args: [i32, ptr, word, u32, ptr], returns: i32 },
  mq_unlink: { args: [ptr], returns: i32 },
  pipe2: { args: [ptr, i32], returns: i32 },
  // Not through errno: they return it. pthread_t is an unsigned long here, and an address.
  pthread_attr_init: { args: [ptr], returns: i32 },
  pthread_attr_setstacksize: { args: [ptr, u64], returns: i32 },
  pthread_create: { args: [ptr, ptr, ptr, ptr], returns: i32 },
  pthread_timedjoin_np: { args: [u64, ptr, ptr], returns: i32 },
  pthread_tryjoin_np: { args: [u64, ptr], returns: i32 },
  recvmmsg: { args: [i32, ptr, u32, i32, ptr], returns: i32 },
  sendmmsg: { args: [i32, ptr, u32, i32], returns: i32 },
  syscall: { args: [word, word, word, word, word, word, word], returns: "i64_fast" },
} as const satisfies Record<string, Signature>;

/** Of `linux`, what glibc before 2.34 keeps in a library of its own. */
export const inLibrt = [
  "mq_getattr",
  "mq_notify",
  "mq_open",
  "mq_timedreceive",
  "mq_timedsend",
  "mq_unlink",
] as const satisfies readonly (keyof typeof linux)[];

/** The same of libpthread. */
export const inLibpthread = [
  "pthread_attr_init",
  "pthread_attr_setstacksize",
  "pthread_create",
  "pthread_timedjoin_np",
  "pthread_tryjoin_np",
] as const satisfies readonly (keyof typeof linux)[];

/** On macOS. Where others have it too, it is not called there. */
export const darwin = {
  __error: { args: [], returns: ptr },
  dlsym: { args: [ptr, ptr], returns: ptr },
  dup2: { args: [i32, i32], returns: i32 },
  free: { args: [ptr], returns: "void" },
  kevent: { args: [i32, ptr, i32, ptr, i32, ptr], returns: i32 },
  kqueue: { args: [], returns: i32 },
  // Not through errno: it returns it.
  launch_activate_socket: { args: [ptr, ptr, ptr], returns: i32 },
  mmap: { args: [ptr, u64, i32, i32, i32, "i64"], returns: ptr },
  pipe: { args: [ptr], returns: i32 },
  // libproc's: 0 is a failure, and errno says which
  proc_listpids: { args: [u32, u32, ptr, i32], returns: i32 },
  proc_pidfdinfo: { args: [i32, i32, i32, ptr, i32], returns: i32 },
  proc_pidinfo: { args: [i32, i32, u64, ptr, i32], returns: i32 },
  proc_pidpath: { args: [i32, ptr, u32], returns: i32 },
  // the one without a bound for descriptors (sys/_select.h)
  select$DARWIN_EXTSN: { args: [i32, ptr, ptr, ptr, ptr], returns: i32 },
  // variadic: see below
  shm_open: { args: [ptr, i32, u32], returns: i32 },
  shm_unlink: { args: [ptr], returns: i32 },
} as const satisfies Record<string, Signature>;

/**
 * Variadic in C, and how many arguments have a name there. A fixed signature is right on Linux.
 * Apple's arm64 passes what has no name on the stack, and a fixed signature in a register (facts:
 * #variadic-functions): src/syscalls/variadic.ts fills the registers up.
 */
export const variadic: Readonly<Record<string, number>> = {
  fcntl: 2,
  mq_open: 2,
  open: 2,
  shm_open: 2,
  syscall: 1,
};

/** Arguments that Apple's arm64 passes in registers; those behind them go to the stack. */
export const ARGUMENT_REGISTERS = 8;

/** There in glibc, absent in musl: how the two are told apart. */
export const glibcOnly = {
  gnu_get_libc_version: { args: [], returns: ptr },
} as const satisfies Record<string, Signature>;

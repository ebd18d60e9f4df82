// The numbers of system calls that do not go through libc's own function: libc has none, or it
// takes or gives what bun:ffi cannot (a pointer where our fcntl takes a number, MAP_FAILED, a
// sigset_t of libc's). Others are only asked for (src/capabilities).

import { constants } from "./table.ts";

export const nr = constants(["sys/syscall.h"], {
  SYS_clone: [{ x64: 56, arm64: 220 }, null],
  SYS_close_range: [436, null],
  SYS_epoll_pwait2: [441, null],
  SYS_exit_group: [{ x64: 231, arm64: 94 }, null],
  SYS_fcntl: [{ x64: 72, arm64: 25 }, null],
  SYS_getdents64: [{ x64: 217, arm64: 61 }, null],
  SYS_gettid: [{ x64: 186, arm64: 178 }, null],
  SYS_io_destroy: [{ x64: 207, arm64: 1 }, null],
  SYS_io_setup: [{ x64: 206, arm64: 0 }, null],
  SYS_io_submit: [{ x64: 209, arm64: 2 }, null],
  SYS_ioctl: [{ x64: 16, arm64: 29 }, null],
  SYS_memfd_create: [{ x64: 319, arm64: 279 }, null],
  SYS_mmap: [{ x64: 9, arm64: 222 }, null],
  SYS_mq_open: [{ x64: 240, arm64: 180 }, null],
  SYS_pidfd_getfd: [438, null],
  SYS_pidfd_open: [434, null],
  SYS_pidfd_send_signal: [424, null],
  SYS_prctl: [{ x64: 157, arm64: 167 }, null],
  SYS_readlinkat: [{ x64: 267, arm64: 78 }, null],
  SYS_rt_sigprocmask: [{ x64: 14, arm64: 135 }, null],
  SYS_rt_sigqueueinfo: [{ x64: 129, arm64: 138 }, null],
  SYS_rt_sigtimedwait: [{ x64: 128, arm64: 137 }, null],
  SYS_sendmmsg: [{ x64: 307, arm64: 269 }, null],
  SYS_sendmsg: [{ x64: 46, arm64: 211 }, null],
  SYS_socket: [{ x64: 41, arm64: 198 }, null],
  SYS_statx: [{ x64: 332, arm64: 291 }, null],
  SYS_wait4: [{ x64: 61, arm64: 260 }, null],
});

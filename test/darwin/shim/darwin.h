// Darwin's numbers and layouts, for a library that answers as macOS does. Each `D_NAME` is compared
// with NAME in Apple's headers by test/abi/apple.test.ts. Layouts are offsets: nothing here includes
// a header of Apple's.
#ifndef BUNIX_DARWIN_H
#define BUNIX_DARWIN_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define D_EPERM 1
#define D_ESRCH 3
#define D_EACCES 13
#define D_EEXIST 17
#define D_EALREADY 37
#define D_ENAMETOOLONG 63
#define D_EAGAIN 35
#define D_EDEADLK 11
#define D_EINVAL 22
#define D_EBADF 9
#define D_ENOENT 2
#define D_EMFILE 24
#define D_EPIPE 32
#define D_EMSGSIZE 40
#define D_EPROTOTYPE 41
#define D_ENOPROTOOPT 42
#define D_EPROTONOSUPPORT 43
#define D_ENOBUFS 55
#define D_ENOTCONN 57

#define D_O_ACCMODE 3
#define D_O_NONBLOCK 0x4
#define D_O_APPEND 0x8
#define D_O_NOFOLLOW 0x100
#define D_O_CREAT 0x200
#define D_O_EXCL 0x800
#define D_O_DIRECTORY 0x100000
#define D_O_CLOEXEC 0x1000000
#define D_F_DUPFD_CLOEXEC 67
#define D_CLOCK_MONOTONIC 6

#define D_AF_UNIX 1
#define D_AF_INET 2
#define D_AF_INET6 30
#define D_SOL_SOCKET 0xffff
#define D_SO_ACCEPTCONN 0x2
#define D_SO_LINGER 0x80
#define D_SO_SNDBUF 0x1001
#define D_SO_RCVBUF 0x1002
#define D_SO_ERROR 0x1007
#define D_SO_TYPE 0x1008
#define D_SO_NOSIGPIPE 0x1022
#define D_SOL_LOCAL 0
#define D_LOCAL_PEERCRED 1
#define D_LOCAL_PEERPID 2
#define D_LOCAL_PEEREPID 3
#define D_LOCAL_PEERTOKEN 6

#define D_MSG_PEEK 0x2
#define D_MSG_TRUNC 0x10
#define D_MSG_CTRUNC 0x20
#define D_MSG_DONTWAIT 0x80
#define D_MSG_NOSIGNAL 0x80000
#define D_SCM_RIGHTS 1

#define D_EVFILT_READ (-1)
#define D_EVFILT_WRITE (-2)
#define D_EVFILT_PROC (-5)
#define D_NOTE_EXIT 0x80000000
#define D_NOTE_EXITSTATUS 0x04000000
#define D_EV_ADD 0x1
#define D_EV_DELETE 0x2
#define D_EV_ONESHOT 0x10
#define D_EV_RECEIPT 0x40
#define D_EV_CLEAR 0x20
#define D_EV_ERROR 0x4000
#define D_EV_EOF 0x8000

#define D_WNOHANG 1
#define D_WEXITED 4
#define D_WNOWAIT 0x20
#define D_SA_ONSTACK 1
#define D_SA_RESTART 2
#define D_SA_SIGINFO 0x40

#define D_MAP_SHARED 0x1
#define D_MAP_PRIVATE 0x2
#define D_MAP_FIXED 0x10
#define D_MAP_NORESERVE 0x40
#define D_PROC_ALL_PIDS 1
#define D_PROC_PIDLISTFDS 1
#define D_PROC_PIDT_SHORTBSDINFO 13
#define D_PROC_PIDFDSOCKETINFO 3
#define D_PROX_FDTYPE_VNODE 1
#define D_PROX_FDTYPE_SOCKET 2
#define D_SOCKINFO_UN 3
#define D_SRUN 2

// sys/socket_private.h, which programs do not get: no compiler confirms it
#define PRIVATE_MSG_NBIO 0x20000

int d_munmap(void *address, size_t bytes) __asm__("munmap");

#define EXPORT __attribute__((visibility("default")))

// What Linux answered: its errno becomes Darwin's, in this thread.
long done(long result);
// −1 with Darwin's errno.
int refuse(int darwin_errno);
// An end of what can be emulated: says so, and ends the process, for a test to notice.
void broken(const char *what) __attribute__((noreturn));

int signal_to_linux(int darwin);
int signal_to_darwin(int linux_number);
int address_to_linux(const unsigned char *from, unsigned length, unsigned char *to);
unsigned address_to_darwin(const unsigned char *from, unsigned length, unsigned char *to);
// Descriptors that are about to be closed, or were opened anew.
// Of /proc/PID/stat: the state, field 3 on, and how many; 0 where there is no such process.
int process_stat(int pid, char *state, long long *fields, int count);
int is_named_fifo(int fd);
void fifo_forgets(int fd);
void kqueue_forgets(int fd);
void socket_forgets(int fd);

#endif

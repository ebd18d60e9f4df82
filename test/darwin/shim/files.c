// Descriptors, files, processes. A variadic function takes its argument as Apple's arm64 does: from
// the stack, where the ninth of nine declared ones is.
#include "darwin.h"
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

static const int open_flags[][2] = {
    {D_O_NONBLOCK, O_NONBLOCK}, {D_O_APPEND, O_APPEND},       {D_O_NOFOLLOW, O_NOFOLLOW},
    {D_O_CREAT, O_CREAT},       {D_O_EXCL, O_EXCL},           {D_O_DIRECTORY, O_DIRECTORY},
    {D_O_CLOEXEC, O_CLOEXEC},
};
#define OPEN_FLAGS (sizeof open_flags / sizeof *open_flags)

static int flags_to_linux(int flags) {
  int all = flags & D_O_ACCMODE;
  for (size_t i = 0; i < OPEN_FLAGS; i++)
    if (flags & open_flags[i][0]) all |= open_flags[i][1];
  return all;
}

static int flags_to_darwin(int flags) {
  int all = flags & O_ACCMODE;
  for (size_t i = 0; i < OPEN_FLAGS; i++)
    if (flags & open_flags[i][1]) all |= open_flags[i][0];
  return all;
}

#define SIX long a, long b, long c, long d, long e, long f

EXPORT int d_open(const char *path, int flags, SIX, long mode) __asm__("open");
int d_open(const char *path, int flags, SIX, long mode) {
  if (a || b || c || d || e || f) broken("open: its mode is not on the stack");
  long made = done(syscall(SYS_openat, AT_FDCWD, path, flags_to_linux(flags), mode));
  if (made >= 0) fifo_forgets(made);
  return made;
}

EXPORT int d_fcntl(int fd, int command, SIX, long argument) __asm__("fcntl");
int d_fcntl(int fd, int command, SIX, long argument) {
  if (a || b || c || d || e || f) broken("fcntl: its argument is not on the stack");
  long got;
  switch (command) {
    case 1: // F_GETFD and F_SETFD, as on Linux
    case 2:
      return done(syscall(SYS_fcntl, fd, command, argument));
    case 3: // F_GETFL
      got = done(syscall(SYS_fcntl, fd, F_GETFL, 0));
      return got < 0 ? got : flags_to_darwin(got);
    case 4: // F_SETFL
      return done(syscall(SYS_fcntl, fd, F_SETFL, flags_to_linux(argument)));
    case D_F_DUPFD_CLOEXEC:
      return done(syscall(SYS_fcntl, fd, F_DUPFD_CLOEXEC, argument));
    default:
      return refuse(D_EINVAL);
  }
}

EXPORT int d_close(int fd) __asm__("close");
int d_close(int fd) {
  kqueue_forgets(fd);
  socket_forgets(fd);
  fifo_forgets(fd);
  return done(syscall(SYS_close, fd));
}

EXPORT int d_dup2(int fd, int onto) __asm__("dup2");
int d_dup2(int fd, int onto) {
  if (fd != onto) kqueue_forgets(onto), socket_forgets(onto);
  if (fd == onto) return done(syscall(SYS_fcntl, fd, F_GETFD, 0)) < 0 ? -1 : fd;
  return done(syscall(SYS_dup3, fd, onto, 0));
}

EXPORT int d_pipe(int ends[2]) __asm__("pipe");
int d_pipe(int ends[2]) { return done(syscall(SYS_pipe2, ends, 0)); }

EXPORT long d_write(int fd, const void *from, size_t bytes) __asm__("write");
long d_write(int fd, const void *from, size_t bytes) {
  return done(syscall(SYS_write, fd, from, bytes));
}

EXPORT int d_chmod(const char *path, unsigned mode) __asm__("chmod");
int d_chmod(const char *path, unsigned mode) {
  return done(syscall(SYS_fchmodat, AT_FDCWD, path, mode));
}

// Of a socket it is EINVAL there.
EXPORT int d_fchmod(int fd, unsigned mode) __asm__("fchmod");
int d_fchmod(int fd, unsigned mode) {
  struct stat about;
  if (fstat(fd, &about) == 0 && S_ISSOCK(about.st_mode)) return refuse(D_EINVAL);
  return done(syscall(SYS_fchmod, fd, mode));
}

EXPORT int d_chown(const char *path, unsigned user, unsigned group) __asm__("chown");
int d_chown(const char *path, unsigned user, unsigned group) {
  return done(syscall(SYS_fchownat, AT_FDCWD, path, user, group, 0));
}

EXPORT int d_mkfifo(const char *path, unsigned mode) __asm__("mkfifo");
int d_mkfifo(const char *path, unsigned mode) {
  return done(syscall(SYS_mknodat, AT_FDCWD, path, S_IFIFO | mode, 0));
}

EXPORT int d_flock(int fd, int operation) __asm__("flock");
int d_flock(int fd, int operation) { return done(syscall(SYS_flock, fd, operation)); }

EXPORT int d_sched_yield(void) __asm__("sched_yield");
int d_sched_yield(void) { return done(syscall(SYS_sched_yield)); }

EXPORT int d_clock_gettime(int clock, struct timespec *now) __asm__("clock_gettime");
int d_clock_gettime(int clock, struct timespec *now) {
  if (clock != 0 && clock != D_CLOCK_MONOTONIC) return refuse(D_EINVAL);
  return done(syscall(SYS_clock_gettime, clock == 0 ? CLOCK_REALTIME : CLOCK_MONOTONIC, now));
}

EXPORT int d_kill(int pid, int number) __asm__("kill");
int d_kill(int pid, int number) { return done(syscall(SYS_kill, pid, signal_to_linux(number))); }

// siginfo_t: si_signo, si_errno, si_code, si_pid, si_uid, si_status at 0, 4, 8, 12, 16, 20.
static void info_to_darwin(const siginfo_t *from, int32_t to[26]) {
  memset(to, 0, 26 * 4);
  to[0] = signal_to_darwin(from->si_signo);
  to[2] = from->si_code == SI_USER ? 0x10001 : from->si_code;
  to[3] = from->si_pid;
  to[4] = from->si_uid;
  if (from->si_signo == SIGCHLD) to[5] = from->si_status;
}

EXPORT int d_waitid(int type, unsigned id, int32_t *to, int options) __asm__("waitid");
int d_waitid(int type, unsigned id, int32_t *to, int options) {
  siginfo_t info = {0};
  int flags = (options & D_WNOHANG ? WNOHANG : 0) | (options & D_WEXITED ? WEXITED : 0) |
              (options & D_WNOWAIT ? WNOWAIT : 0);
  long got = done(syscall(SYS_waitid, type, id, &info, flags, NULL));
  if (got == 0 && to != NULL) info_to_darwin(&info, to);
  return got;
}

typedef void handler(int, void *, void *);
static handler *volatile handlers[65];

static void called(int number, siginfo_t *info, void *context) {
  int32_t said[26];
  info_to_darwin(info, said);
  handler *known = handlers[number];
  if (known != NULL) known(said[0], said, context);
}

// struct sigaction: the handler, a mask of 32 bits at 8, flags at 12.
EXPORT int d_sigaction(int darwin, const unsigned char *now, unsigned char *old) __asm__("sigaction");
int d_sigaction(int darwin, const unsigned char *now, unsigned char *old) {
  extern int __sigaction(int, const struct sigaction *, struct sigaction *);
  int number = signal_to_linux(darwin);
  if (number <= 0 || number > 64) return refuse(D_EINVAL);
  struct sigaction before, next = {0};
  handler *given = NULL;
  if (now != NULL) {
    int32_t flags;
    memcpy(&given, now, 8);
    memcpy(&flags, now + 12, 4);
    int own = given != NULL && given != (handler *)1;
    if (own) next.sa_sigaction = called;
    else next.sa_handler = given == NULL ? SIG_DFL : SIG_IGN;
    next.sa_flags = (own ? SA_SIGINFO : 0) | (flags & D_SA_RESTART ? SA_RESTART : 0) |
                    (flags & D_SA_ONSTACK ? SA_ONSTACK : 0);
  }
  handler *known = handlers[number];
  if (now != NULL) handlers[number] = given;
  long got = done(__sigaction(number, now == NULL ? NULL : &next, &before));
  if (got < 0 || old == NULL) return got;
  void *address = before.sa_sigaction == called ? (void *)known : (void *)before.sa_handler;
  memset(old, 0, 16);
  memcpy(old, &address, 8);
  int32_t flags = before.sa_flags & SA_SIGINFO ? D_SA_SIGINFO : 0;
  memcpy(old + 12, &flags, 4);
  return got;
}

// RTLD_DEFAULT is −2 there. Only what is asked for by name.
EXPORT void *d_dlsym(void *handle, const char *name) __asm__("dlsym");
void *d_dlsym(void *handle, const char *name) {
  static const struct {
    const char *name;
    void *address;
  } known[] = {{"close", d_close}, {"munmap", d_munmap}, {"write", d_write}};
  if (handle != (void *)-2) return NULL;
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strcmp(known[i].name, name) == 0) return known[i].address;
  return NULL;
}

// One system call, made by a process of its own: a filter (seccomp) may end the caller. Compiled
// in memory (src/syscalls/try-call.ts) without headers or libc. The new process is a copy of this
// one with a single thread, of which only what stands here runs.

typedef long word;
enum { INTERRUPTED = 4, DUMPABLE = 4 /* PR_SET_DUMPABLE */, ANY = 0x40000000 /* __WALL */ };
enum { SIGNAL_BITS = 0x7f, CODE_SHIFT = 8, CODE_BITS = 0xff, NO_PROCESS = 1000 };

static word (*call)(word, word, word, word, word, word, word);
static int *(*error_location)(void);
static int clone_number, wait_number, exit_number, control_number;

void configure(void *syscall, void *errno_location) {
  call = syscall;
  error_location = errno_location;
}

void configure_numbers(int clone, int wait4, int exit_group, int prctl) {
  clone_number = clone;
  wait_number = wait4;
  exit_number = exit_group;
  control_number = prctl;
}

/* 0 or the errno of the call; minus the signal that it ended with; -1000 - errno: there was none. */
int attempt(int number, int a, int b, int c) {
  word pid = call(clone_number, 0, 0, 0, 0, 0, 0); /* no SIGCHLD: only this waits for it */
  if (pid == 0) {
    call(control_number, DUMPABLE, 0, 0, 0, 0, 0); /* its end leaves no core file */
    word done = call(number, a, b, c, 0, 0, 0);
    int code = done < 0 ? *error_location() : 0;
    for (;;) call(exit_number, code, 0, 0, 0, 0, 0);
  }
  if (pid < 0) return -NO_PROCESS - *error_location();
  int status = 0;
  while (call(wait_number, pid, (word)&status, ANY, 0, 0, 0) < 0)
    if (*error_location() != INTERRUPTED) return -NO_PROCESS - *error_location();
  if ((status & SIGNAL_BITS) != 0) return -(status & SIGNAL_BITS);
  return (status >> CODE_SHIFT) & CODE_BITS;
}

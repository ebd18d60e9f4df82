// Shared memory as XNU has it (bsd/kern/posix_shm.c): sized once, mapped shared or not at all.
#include "darwin.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define MAX_NAME 31
#define MAX_NAMES 64
static char names[MAX_NAMES][MAX_NAME + 1];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int find(const char *name) {
  for (int i = 0; i < MAX_NAMES; i++)
    if (strcmp(names[i], name) == 0) return i;
  return -1;
}

#define SIX long a, long b, long c, long d, long e, long f

// Only what is new, for nobody here opens what others made.
EXPORT int d_shm_open(const char *name, int flags, SIX, long mode) __asm__("shm_open");
int d_shm_open(const char *name, int flags, SIX, long mode) {
  if (a || b || c || d || e || f) broken("shm_open: its mode is not on the stack");
  if (mode != 0600) broken("shm_open: it is open to others for as long as it has a name");
  if (strlen(name) > MAX_NAME) return refuse(D_ENAMETOOLONG);
  if ((flags & (D_O_CREAT | D_O_EXCL)) != (D_O_CREAT | D_O_EXCL)) return refuse(D_ENOENT);
  pthread_mutex_lock(&lock);
  int taken = find(name) >= 0, made = -1;
  if (!taken && (made = memfd_create(name, 0)) >= 0) strcpy(names[find("")], name);
  pthread_mutex_unlock(&lock);
  if (made >= 0 && (flags & D_O_ACCMODE) != O_RDWR) broken("shm_open: not to be written to");
  return taken ? refuse(D_EEXIST) : done(made);
}

EXPORT int d_shm_unlink(const char *name) __asm__("shm_unlink");
int d_shm_unlink(const char *name) {
  pthread_mutex_lock(&lock);
  int at = *name == 0 ? -1 : find(name);
  if (at >= 0) names[at][0] = 0;
  pthread_mutex_unlock(&lock);
  return at < 0 ? refuse(D_ENOENT) : 0;
}

static int is_shared_memory(int fd) {
  char link[32], target[16] = {0};
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  return readlink(link, target, sizeof target - 1) > 0 && strncmp(target, "/memfd:/", 8) == 0;
}

EXPORT int d_ftruncate(int fd, long bytes) __asm__("ftruncate");
int d_ftruncate(int fd, long bytes) {
  struct stat about;
  if (is_shared_memory(fd) && fstat(fd, &about) == 0 && about.st_size > 0) return refuse(D_EINVAL);
  return done(syscall(SYS_ftruncate, fd, bytes));
}

EXPORT void *d_mmap(void *at, size_t bytes, int protection, int flags, int fd, long from)
    __asm__("mmap");
void *d_mmap(void *at, size_t bytes, int protection, int flags, int fd, long from) {
  if (!(flags & D_MAP_SHARED) && is_shared_memory(fd)) return (void *)(long)refuse(D_EINVAL);
  int own = (flags & D_MAP_SHARED ? MAP_SHARED : MAP_PRIVATE) |
            (flags & D_MAP_FIXED ? MAP_FIXED : 0) | (flags & D_MAP_NORESERVE ? MAP_NORESERVE : 0);
  return (void *)done(syscall(SYS_mmap, at, bytes, protection, own, fd, from));
}

EXPORT int d_munmap(void *address, size_t bytes) { return done(syscall(SYS_munmap, address, bytes)); }

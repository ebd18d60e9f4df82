// Processes: what libproc tells of them, and the sockets that launchd has for this one.
#include "darwin.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

int process_stat(int pid, char *state, long long *fields, int count) {
  char path[64], text[2048];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  long bytes = syscall(SYS_read, fd, text, sizeof text - 1);
  syscall(SYS_close, fd);
  if (bytes <= 0) return 0;
  text[bytes] = 0;
  char *at = strrchr(text, ')');
  if (at == NULL) return 0;
  *state = at[2];
  at += 3;
  int read = 0;
  while (read < count && *at != 0) fields[read++] = strtoll(at, &at, 10);
  return count == 0 ? 1 : read;
}

static int entries(const char *path, void (*each)(int number, void *to), void *to) {
  DIR *all = opendir(path);
  if (all == NULL) return done(-1);
  for (struct dirent *one; (one = readdir(all)) != NULL;)
    if (*one->d_name >= '0' && *one->d_name <= '9') each(atoi(one->d_name), to);
  closedir(all);
  return 0;
}

// /proc/net/unix, read anew for each list of processes.
static char *sockets;

static void read_sockets(void) {
  size_t bytes = 0, room = 1 << 16;
  int fd = open("/proc/net/unix", O_RDONLY | O_CLOEXEC);
  char *text = malloc(room);
  for (long got = 1; fd >= 0 && got > 0; bytes += got > 0 ? got : 0) {
    if (room - bytes < 4096) text = realloc(text, room *= 2);
    got = syscall(SYS_read, fd, text + bytes, room - bytes - 1);
  }
  text[bytes] = 0;
  if (fd >= 0) syscall(SYS_close, fd);
  sockets = text; // what was read before stays: another thread may look at it
}

// The line of a socket: its flags, its type and its name. 0: it is none of Unix's.
static int find_socket(unsigned long inode, unsigned *flags, int *type, char name[108]) {
  char wanted[32];
  int length = snprintf(wanted, sizeof wanted, " %lu", inode);
  if (sockets == NULL) read_sockets();
  for (char *at = sockets; (at = strstr(at, wanted)) != NULL; at += length) {
    if (at[length] != ' ' && at[length] != '\n') continue;
    char *line = at;
    while (line > sockets && line[-1] != '\n') line--;
    if (sscanf(line, "%*s %*s %*s %x %d", flags, type) != 2) continue;
    size_t bytes = at[length] == ' ' ? strcspn(at + length + 1, "\n") : 0;
    if (bytes > 107) bytes = 0;
    memcpy(name, at + length + 1, bytes);
    name[bytes] = 0;
    return 1;
  }
  return 0;
}

struct list {
  unsigned char *to;
  unsigned bytes, room, pid;
};

static void add_number(int number, void *to) {
  struct list *list = to;
  if (list->to != NULL && list->bytes + 4 <= list->room) memcpy(list->to + list->bytes, &number, 4);
  list->bytes += 4;
}

EXPORT int d_listpids(unsigned type, unsigned of, void *to, int room) __asm__("proc_listpids");
int d_listpids(unsigned type, unsigned of, void *to, int room) {
  if (type != D_PROC_ALL_PIDS || of != 0) return refuse(D_EINVAL), 0;
  struct list list = {to, 0, room, 0};
  if (to != NULL) read_sockets();
  if (entries("/proc", add_number, &list) < 0) return 0;
  return to != NULL && list.bytes > list.room ? list.room : list.bytes;
}

static int is_socket(int pid, int fd, unsigned long *inode) {
  char path[64], target[64] = {0};
  snprintf(path, sizeof path, "/proc/%d/fd/%d", pid, fd);
  if (readlink(path, target, sizeof target - 1) <= 0) return 0;
  return sscanf(target, "socket:[%lu]", inode) == 1;
}

static void add_fd(int number, void *to) {
  struct list *list = to;
  unsigned long inode;
  int made[2] = {number,
                 is_socket(list->pid, number, &inode) ? D_PROX_FDTYPE_SOCKET : D_PROX_FDTYPE_VNODE};
  if (list->to != NULL && list->bytes + 8 <= list->room) memcpy(list->to + list->bytes, made, 8);
  list->bytes += 8;
}

// struct proc_bsdshortinfo: pid, ppid, status, command, user and group at 0, 4, 12, 16, 36, 40.
static int short_info(int pid, unsigned char *to) {
  char state, path[64], text[32] = {0};
  long long fields[1];
  if (process_stat(pid, &state, fields, 1) != 1 || state == 'Z') return refuse(D_ESRCH), 0;
  struct stat about;
  snprintf(path, sizeof path, "/proc/%d", pid);
  if (stat(path, &about) < 0) return refuse(D_ESRCH), 0;
  snprintf(path, sizeof path, "/proc/%d/comm", pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    if (syscall(SYS_read, fd, text, 16) < 0) text[0] = 0;
    syscall(SYS_close, fd);
  }
  text[strcspn(text, "\n")] = 0;
  uint32_t parent = fields[0], status = D_SRUN, user = about.st_uid, group = about.st_gid;
  memset(to, 0, 64);
  memcpy(to, &pid, 4);
  memcpy(to + 4, &parent, 4);
  memcpy(to + 12, &status, 4);
  strncpy((char *)to + 16, text, 15);
  memcpy(to + 36, &user, 4);
  memcpy(to + 40, &group, 4);
  return 64;
}

EXPORT int d_pidinfo(int pid, int what, uint64_t of, void *to, int room) __asm__("proc_pidinfo");
int d_pidinfo(int pid, int what, uint64_t of, void *to, int room) {
  char path[64];
  if (of != 0) broken("proc_pidinfo: zombies");
  if (what == D_PROC_PIDT_SHORTBSDINFO) return room < 64 ? 0 : short_info(pid, to);
  if (what != D_PROC_PIDLISTFDS) return refuse(D_EINVAL), 0;
  struct list list = {to, 0, room, pid};
  snprintf(path, sizeof path, "/proc/%d/fd", pid);
  if (entries(path, add_fd, &list) < 0) return 0;
  return to != NULL && list.bytes > list.room ? list.room : list.bytes;
}

// struct socket_fdinfo, 792 bytes: type, options, kind and the bound address at 176, 188, 256, 280.
EXPORT int d_pidfdinfo(int pid, int fd, int what, unsigned char *to, int room)
    __asm__("proc_pidfdinfo");
int d_pidfdinfo(int pid, int fd, int what, unsigned char *to, int room) {
  unsigned long inode;
  if (what != D_PROC_PIDFDSOCKETINFO || room < 792) return refuse(D_EINVAL), 0;
  if (!is_socket(pid, fd, &inode)) return refuse(D_EBADF), 0;
  memset(to, 0, 792);
  unsigned flags;
  int type, kind = D_SOCKINFO_UN;
  struct sockaddr_un linux_name = {.sun_family = AF_UNIX};
  if (!find_socket(inode, &flags, &type, linux_name.sun_path)) return 792;
  int16_t options = flags & 0x10000 ? D_SO_ACCEPTCONN : 0;
  memcpy(to + 176, &type, 4);
  memcpy(to + 188, &options, 2);
  memcpy(to + 256, &kind, 4);
  size_t bytes = strlen(linux_name.sun_path);
  if (bytes > 0) {
    unsigned char name[256];
    unsigned made = address_to_darwin((void *)&linux_name, 2 + bytes + 1, name);
    memcpy(to + 280, name, made);
  }
  return 792;
}

EXPORT int d_pidpath(int pid, char *to, unsigned room) __asm__("proc_pidpath");
int d_pidpath(int pid, char *to, unsigned room) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/exe", pid);
  long bytes = done(readlink(path, to, room - 1));
  return bytes < 0 ? 0 : bytes;
}

static void *lent;

EXPORT void d_free(void *array) __asm__("free");
void d_free(void *array) {
  extern void __libc_free(void *);
  if (array == lent) lent = NULL;
  __libc_free(array);
}

// What is in BUNIX_LAUNCHD ("web=3,4;admin=5") stands for the Sockets of a launchd.plist(5).
EXPORT int d_activate(const char *name, int **to, size_t *count) __asm__("launch_activate_socket");
int d_activate(const char *name, int **to, size_t *count) {
  static char taken[1024];
  const char *all = getenv("BUNIX_LAUNCHD");
  if (all == NULL) return D_ESRCH; // not started by launchd
  if (lent != NULL) broken("launch_activate_socket: the array before was not freed");
  char wanted[128];
  snprintf(wanted, sizeof wanted, "%s=", name);
  for (const char *at = all; at != NULL; at = strchr(at, ';')) {
    if (*at == ';') at++;
    if (strncmp(at, wanted, strlen(wanted)) != 0) continue;
    if (strstr(taken, wanted) != NULL) return D_EALREADY;
    strncat(taken, wanted, sizeof taken - strlen(taken) - 1);
    int *fds = lent = malloc(64 * sizeof *fds);
    size_t found = 0;
    char *next = (char *)at + strlen(wanted);
    while (found < 64 && *next >= '0' && *next <= '9') {
      fds[found++] = strtol(next, &next, 10);
      if (*next == ',') next++;
    }
    *to = fds;
    *count = found;
    return 0;
  }
  return D_ENOENT;
}

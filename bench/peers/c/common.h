/* What the C peers share: the clock, addresses, and giving up. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 64, BACKLOG = 4096, EVENTS = 256, TRIES = 500, PAUSE_US = 10000 };

static inline long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000L + t.tv_nsec;
}

static inline void fail(const char *what) {
  perror(what);
  exit(1);
}

static inline struct sockaddr_un address_of(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  return address;
}

/* A connection; waits for the server to come up. */
static inline int connect_to(const char *path) {
  struct sockaddr_un address = address_of(path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket");
  for (int i = 0; connect(fd, (struct sockaddr *)&address, sizeof address); i++) {
    if (i == TRIES || (errno != ENOENT && errno != ECONNREFUSED)) fail("connect");
    usleep(PAUSE_US);
  }
  return fd;
}

static inline int listen_on(const char *path, int flags) {
  struct sockaddr_un address = address_of(path);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
  if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, BACKLOG))
    fail(path);
  return fd;
}

static inline void send_all(int fd, const char *bytes, long size) {
  for (long sent = 0; sent < size;) {
    ssize_t n = send(fd, bytes + sent, size - sent, MSG_NOSIGNAL);
    if (n < 0) fail("send");
    sent += n;
  }
}

static inline void receive_all(int fd, char *bytes, long size) {
  for (long got = 0; got < size;) {
    ssize_t n = recv(fd, bytes + got, size - got, 0);
    if (n <= 0) fail("recv");
    got += n;
  }
}

/* One message of 64 bytes there and back. */
static inline void round_trip(int fd) {
  static char bytes[SIZE];
  send_all(fd, bytes, SIZE);
  receive_all(fd, bytes, SIZE);
}

static int ascending(const void *a, const void *b) {
  long x = *(const long *)a, y = *(const long *)b;
  return (x > y) - (x < y);
}

/* Print the median and the 99th percentile. */
static inline void print_percentiles(long *took, long count) {
  qsort(took, count, sizeof *took, ascending);
  printf("%ld %ld\n", took[count / 2], took[count * 99 / 100]);
}

// What FIFOs are to XNU (bsd/miscfs/fifofs/fifo_vnops.c): kqueue, and poll(2), which is made of it,
// tell of bytes only. select(2) tells of the last writer, until a read has said it, and a writer of
// the last reader.
#include "darwin.h"
#include <poll.h>
#include <stdlib.h>
#include <sys/select.h>
#include <time.h>

#define MAX_FDS 65536
#define SLICE_NS 2000000L
static unsigned char told[MAX_FDS]; // that the last writer has left

void fifo_forgets(int fd) {
  if (fd >= 0 && fd < MAX_FDS) told[fd] = 0;
}

EXPORT long d_read(int fd, void *to, size_t bytes) __asm__("read");
long d_read(int fd, void *to, size_t bytes) {
  long got = done(syscall(SYS_read, fd, to, bytes));
  if (got == 0 && bytes > 0 && fd < MAX_FDS && is_named_fifo(fd)) told[fd] = 1;
  return got;
}

static long poll_linux(struct pollfd *fds, unsigned count, const struct timespec *limit) {
  struct timespec left = limit == NULL ? (struct timespec){0, 0} : *limit;
  return syscall(SYS_ppoll, fds, (unsigned long)count, limit == NULL ? NULL : &left, NULL, 0);
}

static int milliseconds_since(const struct timespec *from) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (now.tv_sec - from->tv_sec) * 1000 + (now.tv_nsec - from->tv_nsec) / 1000000;
}

// What poll(2) says of a FIFO there: of bytes and of room, of no end.
static int without_ends(struct pollfd *fds, unsigned count) {
  int ready = 0;
  for (unsigned i = 0; i < count; i++) {
    if (fds[i].revents & (POLLHUP | POLLERR) && is_named_fifo(fds[i].fd))
      fds[i].revents &= fds[i].revents & POLLERR ? 0 : POLLIN;
    ready += fds[i].revents != 0;
  }
  return ready;
}

// Its events have the same numbers on both.
EXPORT int d_poll(struct pollfd *fds, unsigned count, int timeout) __asm__("poll");
int d_poll(struct pollfd *fds, unsigned count, int timeout) {
  struct timespec begun, slice = {0, SLICE_NS};
  clock_gettime(CLOCK_MONOTONIC, &begun);
  for (;;) {
    int left = timeout < 0 ? -1 : timeout - milliseconds_since(&begun);
    if (timeout >= 0 && left < 0) left = 0;
    struct timespec limit = {left / 1000, left % 1000 * 1000000L};
    long got = done(poll_linux(fds, count, left < 0 ? NULL : &limit));
    if (got <= 0) return got;
    int ready = without_ends(fds, count);
    if (ready > 0 || left == 0) return ready;
    poll_linux(NULL, 0, &slice); // an end that nobody is told of
  }
}

static int in_set(const fd_set *set, int fd) {
  return set != NULL && ((const uint32_t *)set)[fd / 32] >> (fd % 32) & 1;
}

static void put(fd_set *set, int fd, int on) {
  if (set == NULL) return;
  uint32_t *word = &((uint32_t *)set)[fd / 32], bit = 1u << (fd % 32);
  *word = on ? *word | bit : *word & ~bit;
}

// Of what poll said: whether it can be read without waiting, the end included.
static int readable(const struct pollfd *one) {
  int end = one->revents & POLLHUP;
  if (one->fd >= MAX_FDS || !is_named_fifo(one->fd))
    return (one->revents & (POLLIN | POLLHUP | POLLERR)) != 0;
  if (!end || one->revents & POLLIN) told[one->fd] = 0;
  return one->revents & POLLIN || (end && !told[one->fd]);
}

EXPORT int d_select(int count, fd_set *reading, fd_set *writing, void *other,
                    const struct timeval *limit) __asm__("select$DARWIN_EXTSN");
int d_select(int count, fd_set *reading, fd_set *writing, void *other,
             const struct timeval *limit) {
  if (other != NULL) broken("select: a third set");
  struct pollfd *fds = calloc(count + 1, sizeof *fds);
  struct timespec begun, slice = {0, SLICE_NS};
  long made = 0, asked = 0, wait = limit == NULL ? -1 : limit->tv_sec * 1000 + limit->tv_usec / 1000;
  clock_gettime(CLOCK_MONOTONIC, &begun);
  for (int fd = 0; fd < count; fd++) {
    int events = (in_set(reading, fd) ? POLLIN : 0) | (in_set(writing, fd) ? POLLOUT : 0);
    if (events != 0) fds[asked++] = (struct pollfd){fd, events, 0};
  }
  for (;;) {
    int all_told = 0;
    struct timespec none = {0, 0};
    long got = done(poll_linux(fds, asked, &none));
    made = 0;
    for (long i = 0; i < asked && got >= 0; i++) {
      if (fds[i].revents & POLLNVAL) got = refuse(D_EBADF);
      int in = fds[i].events & POLLIN && readable(&fds[i]);
      int out = fds[i].events & POLLOUT && fds[i].revents & (POLLOUT | POLLERR);
      fds[i].events = (fds[i].events & ~0x3000) | (in ? 0x1000 : 0) | (out ? 0x2000 : 0);
      made += in + out;
      all_told |= fds[i].revents != 0 && !in && !out;
    }
    if (got < 0) made = -1;
    long left = wait < 0 ? 1000000 : wait - milliseconds_since(&begun);
    if (made != 0 || left <= 0) break;
    for (long i = 0; i < asked; i++) fds[i].events &= ~0x3000;
    struct timespec rest = {left / 1000, left % 1000 * 1000000L};
    // an end that was told is no reason to wake
    if (poll_linux(all_told ? NULL : fds, all_told ? 0 : asked, all_told ? &slice : &rest) < 0) {
      made = done(-1);
      break;
    }
  }
  for (long i = 0; i < asked && made >= 0; i++) {
    put(reading, fds[i].fd, (fds[i].events & 0x1000) != 0);
    put(writing, fds[i].fd, (fds[i].events & 0x2000) != 0);
  }
  free(fds);
  return made;
}

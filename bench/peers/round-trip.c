/* round-trip PATH COUNT: send 64 bytes, wait for their echo, COUNT times after a warm-up.
 * Prints the median and the 99th percentile in nanoseconds. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 64, WARM_UP = 20000, TRIES = 300 };

static long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000L + t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
  long x = *(const long *)a, y = *(const long *)b;
  return (x > y) - (x < y);
}

static int connect_to(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, path, sizeof address.sun_path - 1);
  for (int i = 0; i < TRIES; i++) {
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
    close(fd);
    usleep(20000);
  }
  perror("connect");
  exit(1);
}

static void round_trip(int fd) {
  char bytes[SIZE] = {0};
  if (send(fd, bytes, SIZE, 0) != SIZE) exit(2);
  for (int got = 0; got < SIZE;) {
    int n = recv(fd, bytes, SIZE - got, 0);
    if (n <= 0) exit(3);
    got += n;
  }
}

int main(int argc, char **argv) {
  if (argc != 3) return 64;
  int fd = connect_to(argv[1]), count = atoi(argv[2]);
  long *took = malloc(count * sizeof *took);
  for (int i = 0; i < WARM_UP; i++) round_trip(fd);
  for (int i = 0; i < count; i++) {
    long begin = now();
    round_trip(fd);
    took[i] = now() - begin;
  }
  qsort(took, count, sizeof *took, ascending);
  printf("%ld %ld\n", took[count / 2], took[(long)count * 99 / 100]);
  return 0;
}

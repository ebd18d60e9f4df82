/* pass-descriptor FDS COUNT: send FDS descriptors over a pair, receive them, close them, COUNT
 * times. Prints nanoseconds per round, one line for each of five runs. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { RUNS = 5, ROOM = 262144, CONTROL = 2048 };

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

static void give(int to, int fd, int count) {
  static char control[CONTROL] __attribute__((aligned(8)));
  char byte = 0;
  struct iovec part = {&byte, 1};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
                           .msg_controllen = CMSG_SPACE(count * sizeof(int))};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(count * sizeof(int));
  for (int i = 0; i < count; i++) ((int *)CMSG_DATA(header))[i] = fd;
  if (sendmsg(to, &message, MSG_DONTWAIT | MSG_NOSIGNAL) != 1) exit(2);
}

static void take(int from, int count) {
  static char control[CONTROL] __attribute__((aligned(8))), bytes[ROOM];
  struct iovec part = {bytes, sizeof bytes};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
                           .msg_controllen = sizeof control};
  if (recvmsg(from, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != 1) exit(3);
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  for (int i = 0; i < count; i++) close(((int *)CMSG_DATA(header))[i]);
}

int main(int argc, char **argv) {
  if (argc != 3) return 64;
  int fds = atoi(argv[1]), count = atoi(argv[2]), pair[2], file = open("/dev/null", O_RDONLY);
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair)) return 1;
  for (int run = 0; run < RUNS; run++) {
    double begin = now();
    for (int i = 0; i < count; i++) {
      give(pair[0], file, fds);
      take(pair[1], fds);
    }
    printf("%.1f\n", (now() - begin) / count);
  }
  return 0;
}

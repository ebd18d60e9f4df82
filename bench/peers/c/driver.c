/* driver PATH CONNS COUNT: listens, accepts CONNS connections, and sends each in turn 64 bytes with
 * a descriptor beside them, then waits for 64 bytes back. Prints "listening", then "open" when all
 * are there and were asked often enough to be warm, waits for a line of input, prints the median and p99 in ns, waits for another. */
#include "common.h"
#include <fcntl.h>

static int file;

static void give_and_wait(int fd) {
  static char bytes[SIZE], control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8)));
  struct iovec part = {bytes, SIZE};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
                           .msg_controllen = sizeof control};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(header), &file, sizeof file);
  if (sendmsg(fd, &message, MSG_NOSIGNAL) != SIZE) fail("sendmsg");
  receive_all(fd, bytes, SIZE);
}

static void await_line(void) {
  char line[SIZE];
  if (fgets(line, sizeof line, stdin) == NULL) exit(0);
}

int main(int argc, char **argv) {
  if (argc != 4) return 64;
  long conns = atol(argv[2]), count = atol(argv[3]), *took = malloc(count * sizeof *took);
  int listener = listen_on(argv[1], 0), *fds = malloc(conns * sizeof *fds);
  file = open("/dev/null", O_RDONLY | O_CLOEXEC);
  puts("listening");
  fflush(stdout);
  for (long i = 0; i < conns; i++) {
    fds[i] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fds[i] < 0) fail("accept");
  }
  for (long i = 0; i < conns || i < count; i++) give_and_wait(fds[i % conns]);
  puts("open");
  fflush(stdout);
  await_line();
  for (long i = 0; i < count; i++) {
    long begin = now();
    give_and_wait(fds[i % conns]);
    took[i] = now() - begin;
  }
  print_percentiles(took, count);
  fflush(stdout);
  await_line();
  return 0;
}

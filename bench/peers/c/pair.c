/* pair WHAT SAMPLES: work inside one process, over a pair of sockets, 50 times in each sample.
 * Prints the median of the samples in nanoseconds per message: what tinybench's p50 is for ours.
 *
 *   stream, seqpacket     sendmsg and recvmsg of 64 bytes
 *   credentials           the same with SO_PASSCRED at the receiver
 *   single, batch         datagrams of 64 bytes: one by one; 32 with sendmmsg and recvmmsg
 *   fds-N                 pass N descriptors with one byte, receive them, close them
 *   asked-N               the same; of each it is asked first what it is, as close may wait
 *   shared-WHAT           any of these as a program in Bun must do it: the process has another
 *                         thread, so that each look at a descriptor counts its users, and a
 *                         receiver of seqpacket asks for time stamps, which alone tell an empty
 *                         message from the end */
#include "common.h"
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

enum { SAMPLE = 50, ROOM = 262144, CONTROL = 2048, BATCH = 32, NAMES = 128 };

static char bytes[SIZE], room[ROOM], control[CONTROL] __attribute__((aligned(8)));
static int file, fds, asking;

static void send_one(int to) {
  struct iovec part = {bytes, SIZE};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
  if (sendmsg(to, &message, MSG_DONTWAIT | MSG_NOSIGNAL) != SIZE) fail("sendmsg");
}

static struct msghdr receive_one(int from, struct iovec *part, ssize_t expected) {
  *part = (struct iovec){room, sizeof room};
  struct msghdr message = {.msg_iov = part, .msg_iovlen = 1, .msg_control = control,
                           .msg_controllen = sizeof control};
  if (recvmsg(from, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != expected) fail("recvmsg");
  return message;
}

static void plain(int to, int from) {
  struct iovec part;
  send_one(to);
  receive_one(from, &part, SIZE);
}

static void with_credentials(int to, int from) {
  struct iovec part;
  send_one(to);
  struct msghdr message = receive_one(from, &part, SIZE);
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  if (header == NULL || header->cmsg_type != SCM_CREDENTIALS) exit(2);
  if (((struct ucred *)CMSG_DATA(header))->pid == 0) exit(3);
}

static void give(int to) {
  static char out[CONTROL] __attribute__((aligned(8)));
  struct iovec part = {bytes, 1};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = out,
                           .msg_controllen = CMSG_SPACE(fds * sizeof(int))};
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(fds * sizeof(int));
  for (int i = 0; i < fds; i++) ((int *)CMSG_DATA(header))[i] = file;
  if (sendmsg(to, &message, MSG_DONTWAIT | MSG_NOSIGNAL) != 1) fail("sendmsg");
}

static void pass(int to, int from) {
  struct iovec part;
  give(to);
  struct msghdr message = receive_one(from, &part, 1);
  struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  for (int i = 0; i < fds; i++) {
    int fd = ((int *)CMSG_DATA(header))[i];
    struct statx found;
    int flags = AT_EMPTY_PATH | AT_STATX_DONT_SYNC;
    if (asking && statx(fd, "", flags, STATX_TYPE, &found)) fail("statx");
    close(fd);
  }
}

static void single(int to, int from) {
  for (int i = 0; i < BATCH; i++) send_one(to);
  struct iovec part;
  for (int i = 0; i < BATCH; i++) receive_one(from, &part, SIZE);
}

static void batch(int to, int from) {
  static struct mmsghdr out[BATCH], in[BATCH];
  static struct iovec parts[BATCH], rooms[BATCH];
  static struct sockaddr_storage names[BATCH];
  for (int i = 0; i < BATCH; i++) {
    parts[i] = (struct iovec){bytes, SIZE};
    rooms[i] = (struct iovec){room + i * (ROOM / BATCH), ROOM / BATCH};
    out[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
    in[i].msg_hdr = (struct msghdr){.msg_iov = &rooms[i], .msg_iovlen = 1, .msg_name = &names[i],
                                    .msg_namelen = NAMES};
  }
  if (sendmmsg(to, out, BATCH, MSG_DONTWAIT | MSG_NOSIGNAL) != BATCH) fail("sendmmsg");
  if (recvmmsg(from, in, BATCH, MSG_DONTWAIT | MSG_CMSG_CLOEXEC, NULL) != BATCH) fail("recvmmsg");
}

static void *idle(void *unused) {
  for (;;) pause();
  return unused;
}

static const char *share(const char *what) {
  static const char prefix[] = "shared-";
  if (strncmp(what, prefix, sizeof prefix - 1) != 0) return what;
  pthread_t thread;
  if (pthread_create(&thread, NULL, idle, NULL)) fail("pthread_create");
  return what + sizeof prefix - 1;
}

int main(int argc, char **argv) {
  if (argc != 3) return 64;
  const char *what = share(argv[1]);
  int many = strcmp(what, "single") == 0 || strcmp(what, "batch") == 0;
  int type = strcmp(what, "seqpacket") == 0 ? SOCK_SEQPACKET : many ? SOCK_DGRAM : SOCK_STREAM;
  void (*work)(int, int) = plain;
  if (strcmp(what, "single") == 0) work = single;
  if (strcmp(what, "batch") == 0) work = batch;
  if (strcmp(what, "credentials") == 0) work = with_credentials;
  if (strncmp(what, "fds-", 4) == 0) work = pass, fds = atoi(what + 4);
  if (strncmp(what, "asked-", 6) == 0) work = pass, fds = atoi(what + 6), asking = 1;
  int samples = atoi(argv[2]), pair[2], on = 1;
  file = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair)) fail("socketpair");
  if (work == with_credentials && setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on))
    fail("SO_PASSCRED");
  if (type == SOCK_SEQPACKET && what != argv[1] &&
      setsockopt(pair[1], SOL_SOCKET, SO_TIMESTAMP, &on, sizeof on))
    fail("SO_TIMESTAMP");
  long *took = malloc(samples * sizeof *took);
  for (int sample = 0; sample < samples; sample++) {
    long begin = now();
    for (int i = 0; i < SAMPLE; i++) work(pair[0], pair[1]);
    took[sample] = now() - begin;
  }
  qsort(took, samples, sizeof *took, ascending);
  printf("%.2f\n", (double)took[samples / 2] / SAMPLE / (many ? BATCH : 1));
  return 0;
}

/* The C servers, each one epoll loop that runs until it is killed.
 *
 *   server echo PATH            sends back what it receives
 *   server poll PATH            the same, and never sleeps
 *   server sink PATH TOTAL      receives; answers one byte after every TOTAL bytes
 *   server accept PATH          accepts, asks who it is, closes */
#include "common.h"

enum { ROOM = 262144, MOST = 65536 };

static int epoll;
static long total, counts[MOST];
static char bytes[ROOM];

static void watch(int fd) {
  struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) fail("epoll_ctl");
}

static void echo(int fd) {
  ssize_t got = recv(fd, bytes, sizeof bytes, 0);
  if (got > 0 && send(fd, bytes, got, MSG_NOSIGNAL) == got) return;
  if (got < 0 && errno == EAGAIN) return;
  close(fd);
}

static void sink(int fd) {
  ssize_t got = recv(fd, bytes, sizeof bytes, 0);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) {
    close(fd);
    counts[fd] = 0;
    return;
  }
  counts[fd] += got;
  if (counts[fd] < total) return;
  counts[fd] -= total;
  send_all(fd, "", 1);
}

static void ask(int fd) {
  struct ucred who;
  socklen_t size = sizeof who;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) || who.pid == 0) fail("SO_PEERCRED");
  close(fd);
}

int main(int argc, char **argv) {
  if (argc < 3) return 64;
  int asks = strcmp(argv[1], "accept") == 0, sinks = strcmp(argv[1], "sink") == 0;
  int timeout = strcmp(argv[1], "poll") == 0 ? 0 : -1;
  if (argc > 3) total = atol(argv[3]);
  int listener = listen_on(argv[2], SOCK_NONBLOCK);
  epoll = epoll_create1(EPOLL_CLOEXEC);
  watch(listener);
  for (;;) {
    struct epoll_event events[EVENTS];
    int count = epoll_wait(epoll, events, EVENTS, timeout);
    for (int i = 0; i < count; i++) {
      int fd = events[i].data.fd, client;
      if (fd != listener) {
        if (sinks) sink(fd);
        else echo(fd);
        continue;
      }
      while ((client = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (asks) ask(client);
        else watch(client);
      }
    }
  }
}

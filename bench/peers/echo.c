/* echo PATH: an epoll server that sends back what it receives, until its last client has gone. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { EVENTS = 256, ROOM = 65536 };

static void watch(int epoll, int fd) {
  struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
  if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) exit(1);
}

int main(int argc, char **argv) {
  if (argc != 2) return 64;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
  int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024)) {
    perror(argv[1]);
    return 1;
  }
  int epoll = epoll_create1(0), clients = 0;
  watch(epoll, listener);
  static char bytes[ROOM];
  for (;;) {
    struct epoll_event events[EVENTS];
    int count = epoll_wait(epoll, events, EVENTS, -1);
    for (int i = 0; i < count; i++) {
      int fd = events[i].data.fd;
      if (fd == listener) {
        for (int client; (client = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0; clients++)
          watch(epoll, client);
        continue;
      }
      int got = recv(fd, bytes, sizeof bytes, 0);
      if (got > 0) {
        if (send(fd, bytes, got, MSG_NOSIGNAL) != got) return 2;
        continue;
      }
      close(fd);
      if (--clients == 0) return 0;
    }
  }
}
